import numpy as np
import pytest
from chat_server import ChatServer, Status, completion
from PIL import Image
from tiny_vision_language import tiny_llava

from forgescope.construction.vision_language import (
    RefusedRequest,
    ServerError,
    ServerVisionLanguage,
    TransformersVisionLanguage,
    Usage,
    VisionLanguageSettings,
    load_vision_language,
    usage_of,
)


@pytest.fixture(autouse=True)
def online(monkeypatch):
    """The client refuses every server while HF_HUB_OFFLINE is set, as the tests set it."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


def client(server: ChatServer, **settings) -> ServerVisionLanguage:
    return ServerVisionLanguage(server.url, "some-model", **{"retries": 2, "first_wait": 0.0, **settings})


def noise(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (9, 7, 3), dtype=np.uint8))


def test_what_is_sent_and_what_comes_back():
    received = []

    def answer(request):
        received.extend(request.images)
        return f"I see {len(request.images)} pictures: {request.prompt}"

    with ChatServer(answer) as server:
        ask = client(server, temperature=0.5, seed=3, max_new_tokens=99)
        assert ask([noise(1), noise(2)], "What is there?") == "I see 2 pictures: What is there?"
        assert ask([], "And now?") == "I see 0 pictures: And now?"
    for image, seed in zip(received, (1, 2), strict=True):
        assert np.array_equal(np.asarray(image), np.asarray(noise(seed)))
    assert server.paths == ["/v1/chat/completions"] * 2
    body = server.bodies[0]
    assert {key: body[key] for key in ("model", "temperature", "seed", "max_tokens")} == {
        "model": "some-model",
        "temperature": 0.5,
        "seed": 3,
        "max_tokens": 99,
    }
    assert [part["type"] for part in body["messages"][0]["content"]] == ["image_url", "image_url", "text"]
    assert ask.usage == Usage(2, 3 + 2, 7 + 6)


def test_the_hub_token_is_never_sent(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with ChatServer(lambda request: "ok") as server:
        client(server)([], "x")
        client(server, api_key="of-the-server")([], "x")
    assert [headers["authorization"] for headers in server.headers] == ["Bearer none", "Bearer of-the-server"]
    assert not any("hf_secret" in value for headers in server.headers for value in headers.values())


@pytest.mark.parametrize("first", [Status(500), Status(429), Status(503), Status(200, delay=1.0)])
def test_passing_errors_are_tried_again(first):
    with ChatServer(lambda request: "fine" if request.seen else first) as server:
        ask = client(server, timeout=0.3)
        assert ask([], "x") == "fine"
    assert len(server.bodies) == 2
    assert ask.usage.calls == 1


@pytest.mark.parametrize(
    ("answer", "requests", "message"),
    [
        (Status(500, body="out of memory"), 3, "answers 500 to model 'some-model': out of memory"),
        (Status(401), 1, "answers 401"),
        (Status(404), 1, "answers 404"),
        (Status(200, body="<html>"), 1, "does not answer as a chat server"),
        ({"error": "what?"}, 1, "does not answer as a chat server"),
        (Status(200, delay=0.6), 3, "does not answer as a chat server .*timed out"),
    ],
)
def test_a_server_that_cannot_be_used(answer, requests, message):
    with ChatServer(lambda request: answer) as server, pytest.raises(ServerError, match=message):
        client(server, timeout=0.2)([], "x")
    assert len(server.bodies) == requests


def test_a_server_that_is_not_there():
    with ChatServer(lambda request: "ok") as server:
        ask = client(server)
    with pytest.raises(ServerError, match=f"{server.url} does not answer"):
        ask([], "x")


def test_a_request_that_is_refused_is_an_error_of_its_own():
    with (
        ChatServer(lambda request: Status(400, body="too many images")) as server,
        pytest.raises(RefusedRequest, match="answers 400 .*too many images"),
    ):
        client(server)([], "x")
    assert len(server.bodies) == 1


def test_a_reply_without_text_or_usage():
    empty = completion("x", "y")
    empty["choices"][0]["message"]["content"] = None
    del empty["usage"]
    with ChatServer(lambda request: empty if request.seen else {**empty, "choices": []}) as server:
        ask = client(server)
        assert [ask([], "x"), ask([], "x")] == ["", ""]
    assert ask.usage == Usage(2, 0, 0)


def test_offline_mode_is_named(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with ChatServer(lambda request: "ok") as server, pytest.raises(ServerError, match="HF_HUB_OFFLINE forbids"):
        client(server)([], "x")
    assert server.bodies == []


def test_settings_of_a_server(monkeypatch):
    url = "http://localhost:1/v1"
    settings = VisionLanguageSettings("m", base_url=url, api_key_env="MY_KEY", timeout=7, retries=1)
    with pytest.raises(ValueError, match="MY_KEY holds no key"):
        load_vision_language(settings)
    monkeypatch.setenv("MY_KEY", "secret")
    ask = load_vision_language(settings)
    assert (ask.client.token, ask.client.timeout, ask.retries, ask.arguments["max_tokens"]) == ("secret", 7, 1, 512)
    assert settings.decisive() == {
        "model": "m",
        "dtype": "auto",
        "temperature": 0.0,
        "seed": 0,
        "max_new_tokens": 512,
        "server": True,
    }
    with pytest.raises(ValueError, match="base_url must begin with http"):
        load_vision_language(VisionLanguageSettings("m", base_url="localhost:8000"))
    with pytest.raises(ValueError, match="timeout must be above 0 seconds, got 0"):
        VisionLanguageSettings("m", timeout=0)
    with pytest.raises(ValueError, match="retries must be at least 0, got -1"):
        VisionLanguageSettings("m", retries=-1)


def test_a_model_of_transformers(tmp_path):
    model, processor = tiny_llava()
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    ask = load_vision_language(VisionLanguageSettings(str(tmp_path), device="cpu", max_new_tokens=12))
    replies = [ask([noise(1), noise(2)], "What?"), ask([noise(1)], "What?"), ask([noise(1), noise(2)], "What?")]
    assert replies[0] == replies[2]
    assert ask.usage.calls == 3
    assert 0 < ask.usage.completion_tokens <= 36
    # "user: ", 4 patches an image, "What?", "assistant: "
    assert ask.usage.prompt_tokens == 3 * (6 + 5 + 11) + 5 * 4
    assert replies[0] == TransformersVisionLanguage(model, processor, max_new_tokens=12)([noise(1), noise(2)], "What?")


def test_sampling_depends_on_seed_and_request_alone():
    model, processor = tiny_llava()
    ask = TransformersVisionLanguage(model, processor, temperature=2.0, max_new_tokens=12)
    first = ask([noise(1)], "What?")
    assert ask([noise(2)], "What?") != first
    assert ask([noise(1)], "What?") == first
    assert TransformersVisionLanguage(model, processor, 2.0, seed=1, max_new_tokens=12)([noise(1)], "What?") != first


def test_usage():
    def plain(images, prompt):
        return "ok"

    assert usage_of(plain) == Usage()
    with ChatServer(lambda request: "one two") as server:
        ask = client(server)
        ask([], "x")
        before = usage_of(ask)
        ask([], "x y")
    assert before == Usage(1, 1, 2)
    assert usage_of(ask).since(before) == {"calls": 1, "prompt_tokens": 2, "completion_tokens": 2}
