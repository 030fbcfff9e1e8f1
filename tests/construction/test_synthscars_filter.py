"""Labels by the order of the criteria, replies that are refused, what the model is shown."""

import json
from itertools import product

import pytest
from chat_server import ChatServer, Status
from PIL import Image

from forgescope.construction.synthscars_filter import (
    FILTER_PROMPT,
    Label,
    NoLabel,
    judge_image,
    read_judgement,
)
from forgescope.construction.synthscars_settings import CurationSettings
from forgescope.construction.vision_language import ServerVisionLanguage

SETTINGS = CurationSettings(samples=1)
FINE = {"clarity": True, "safety": True, "realism": True}


@pytest.fixture(autouse=True)
def online(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


@pytest.mark.parametrize(("clarity", "safety", "realism"), list(product((True, False), repeat=3)))
def test_the_first_criterion_that_is_not_met_gives_the_label(clarity, safety, realism):
    judgement = read_judgement({"clarity": clarity, "safety": safety, "realism": realism, "reason": " as  it is "})
    if clarity and safety and realism:
        assert judgement.outcome.value == "Acceptable"
        assert judgement.detail is None
    else:
        name = "Clarity" if not clarity else "Safety" if not safety else "Realism"
        assert judgement.outcome.value == f"Rejected[{name}]"
        assert judgement.detail == "as it is"
    assert judgement.criteria == {"clarity": clarity, "safety": safety, "realism": realism}


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ({"clarity": True, "safety": True}, '"realism" must be true or false'),
        (FINE | {"safety": "true"}, '"safety" must be true or false'),
        (FINE | {"clarity": 1}, '"clarity" must be true or false'),
        (FINE | {"clarity": False}, '"reason" must be a text of 1 to 500 characters, got '),
        (FINE | {"clarity": False, "reason": ""}, '"reason" must be a text of 1 to 500 characters, got '),
        ({}, '"clarity" must be true or false'),
    ],
)
def test_replies_that_are_refused(reply, message):
    with pytest.raises(ValueError, match=message):
        read_judgement(reply)


def test_the_prompt_names_what_is_read():
    asked = FILTER_PROMPT[FILTER_PROMPT.index("{") :].replace("true or false", "true")
    assert read_judgement(json.loads(asked)).outcome is Label.ACCEPTABLE


@pytest.mark.parametrize(
    ("size", "most", "expected"),
    [
        ((300, 200), 300, (300, 200)),
        ((300, 200), 150, (150, 100)),
        ((1, 900), 300, (1, 300)),
        ((40, 30), 99, (40, 30)),
    ],
)
def test_what_the_model_is_shown(size, most, expected):
    image = Image.effect_noise(size, 50).convert("RGB")
    shown = []

    def model(images, prompt):
        shown.extend(images)
        return json.dumps(FINE)

    assert judge_image(image, model, CurationSettings(samples=1, max_side=most)).outcome is Label.ACCEPTABLE
    assert [one.size for one in shown] == [expected]
    assert (shown[0].tobytes() == image.tobytes()) == (size == expected)


def test_a_server_is_asked_until_a_reply_is_of_use():
    image = Image.new("RGB", (20, 10), (200, 30, 30))
    replies = iter(["fine", json.dumps(FINE | {"realism": False}), json.dumps(FINE)])
    with ChatServer(lambda request: next(replies)) as server:
        judgement = judge_image(image, ServerVisionLanguage(server.url, "tiny"), SETTINGS)
    assert judgement.outcome is Label.ACCEPTABLE
    asked = [body["messages"][0]["content"][-1]["text"] for body in server.bodies]
    assert asked[0] == FILTER_PROMPT
    assert "could not be used: it is not JSON, it begins 'fine'" in asked[1]
    assert 'could not be used: "reason" must be a text' in asked[2]


def test_images_without_a_label():
    image = Image.new("RGB", (20, 10))
    with ChatServer(lambda request: '{"label": "Acceptable"}') as server:
        judgement = judge_image(image, ServerVisionLanguage(server.url, "tiny"), SETTINGS)
    assert (judgement.outcome, judgement.criteria, len(server.bodies)) == (NoLabel.UNUSABLE_REPLY, None, 3)
    assert judgement.detail == 'no usable reply in 3 tries; the last: "clarity" must be true or false'
    with ChatServer(lambda request: Status(400, body="policy")) as server:
        judgement = judge_image(image, ServerVisionLanguage(server.url, "tiny"), SETTINGS)
    assert (judgement.outcome, judgement.criteria, len(server.bodies)) == (NoLabel.REFUSED, None, 1)
    assert judgement.detail.endswith("answers 400 to model 'tiny': policy")
