import dataclasses
import json
import threading
import time

import pytest
from chat_server import ChatServer, Status
from mmfr_answers import lines, mmfr_client, mmfr_image_folder, mmfr_job, plain_model, reply_to
from PIL import Image
from tiny_vision_language import tiny_llava

from forgescope.construction.mmfr import write_mmfr
from forgescope.construction.mmfr_images import find_labelled_images
from forgescope.construction.mmfr_interpretation import MMFRSettings, describe_image, shrunk
from forgescope.construction.vision_language import TransformersVisionLanguage
from forgescope.datasets_scripts.load import load_corpus

REAL, FAKE = 20, 20


@pytest.fixture(autouse=True)
def online(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return find_labelled_images([mmfr_image_folder(tmp_path_factory.mktemp("images"), REAL, FAKE)])


def test_links(images, tmp_path):
    job = mmfr_job(images, tmp_path / "out", plain_model, link=True)
    row = write_mmfr(job).rows[0]
    link = tmp_path / "out" / row["file_name"]
    assert link.is_symlink()
    assert link.resolve() == images[row["index"]].path.resolve()
    link.unlink()
    link.symlink_to(tmp_path / "gone")
    assert write_mmfr(job).made == 0
    assert link.read_bytes() == images[row["index"]].path.read_bytes()
    assert len(load_corpus("mmfr", tmp_path / "out", split="train", cache_dir=tmp_path / "cache")) > 0


def test_a_reviewer_moves_rows_to_the_rejects(images, tmp_path):
    job = mmfr_job(images, tmp_path / "out", plain_model)
    first = write_mmfr(job)
    kept, bad = first.rows[1:], {**first.rows[0], "reason": "review"}
    kept[0]["attributes"][0]["text"] = "Corrected by hand."
    (tmp_path / "out" / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kept))
    with (tmp_path / "out" / "rejects.jsonl").open("a") as file:
        file.write(json.dumps(bad) + "\n")
    result = write_mmfr(job)
    assert (result.made, result.rows) == (0, kept)
    assert result.statistics["rejected"]["review"] == 1
    assert not (tmp_path / "out" / bad["file_name"]).exists()
    texts = (tmp_path / "out" / "forgery_reasoning_cot.json").read_text()
    assert bad["file_name"] not in texts
    assert "Corrected by hand." in texts


def test_a_source_without_rows_has_no_texts(images, tmp_path):
    job = mmfr_job(images[:1], tmp_path / "out", lambda images, prompt: reply_to(prompt, 4))
    row = write_mmfr(job).rows[0]
    assert (tmp_path / "out" / "pets" / "pets_reasoning.json").exists()
    (tmp_path / "out" / "rejects.jsonl").write_text(json.dumps({**row, "reason": "review"}) + "\n")
    (tmp_path / "out" / "metadata.jsonl").write_text("")
    assert write_mmfr(job).rows == []
    assert not (tmp_path / "out" / "pets" / "pets_reasoning.json").exists()
    assert json.loads((tmp_path / "out" / "forgery_reasoning_cot.json").read_text()) == []


def test_bad_images_and_failing_models_are_named_and_tried_again(images, tmp_path):
    bad = tmp_path / "1_fake" / "bad.png"
    bad.parent.mkdir()
    bad.write_text("no image")
    broken = []

    def sometimes(pictures, prompt):
        if not broken:
            broken.append(1)
            raise RuntimeError("out of memory")
        return reply_to(prompt, 4)

    some = [*images[:3], *find_labelled_images([bad])]
    job = mmfr_job(some, tmp_path / "out", sometimes)
    result = write_mmfr(job)
    assert [row["index"] for row in result.rows] == [1, 2]
    assert result.failed == {
        str(images[0].path): f"{images[0].path}: RuntimeError: out of memory",
        str(bad): f"{bad} is not an image",
    }
    assert result.statistics["failed"] == 2
    again = write_mmfr(job)
    assert [row["index"] for row in again.rows] == [0, 1, 2]
    assert (again.made, list(again.failed)) == (1, [str(bad)])


def test_a_request_that_is_refused_rejects_the_image(images, tmp_path):
    with ChatServer(lambda request: Status(400, body="too long")) as server:
        result = write_mmfr(mmfr_job(images[:2], tmp_path / "out", mmfr_client(server)))
    assert [row["reason"] for row in result.rejects] == ["request was refused"] * 2
    assert "too long" in result.rejects[0]["detail"]


@pytest.mark.parametrize("workers", [1, 6])
def test_a_server_that_is_gone_ends_the_run_and_loses_nothing(images, tmp_path, workers):
    def answer(request):
        return reply_to(request.prompt, 4) if len(server.bodies) <= 20 else Status(500)

    with ChatServer(answer) as server:
        job = mmfr_job(images, tmp_path / "out", mmfr_client(server, retries=0), workers=workers)
        result = write_mmfr(job)
    done = len(result.rows)
    assert 10 - workers <= done <= 10
    assert "answers 500" in result.stopped
    # what was in flight is waited for, and nothing new is begun
    assert len(server.bodies) <= 20 + max(3, workers) + 2 * workers
    assert len(result.failed) == result.statistics["failed"] >= max(3, workers)
    assert len(lines(tmp_path / "out" / "metadata.jsonl")) == done
    with ChatServer(lambda request: reply_to(request.prompt, 4)) as server:
        again = write_mmfr(dataclasses.replace(job, model=mmfr_client(server)))
    assert (len(again.rows), again.made, again.stopped) == (REAL + FAKE, REAL + FAKE - done, None)
    assert len(server.bodies) == 2 * again.made


def test_requests_are_in_flight_together(images, tmp_path):
    running, most, lock = [], [], threading.Lock()

    def answer(request):
        with lock:
            running.append(1)
            most.append(len(running))
        time.sleep(0.05)
        with lock:
            running.pop()
        return reply_to(request.prompt, 4)

    with ChatServer(answer) as server:
        result = write_mmfr(mmfr_job(images[:8], tmp_path / "out", mmfr_client(server), workers=4))
    assert 2 <= max(most) <= 4
    # each image counts its own calls, however many others are asked about meanwhile
    assert [row["vision_language"]["calls"] for row in result.rows] == [2] * 8


def test_a_local_model(images, tmp_path):
    """Random weights say nothing of use: every image is rejected, none fails, and tokens are counted."""
    model = TransformersVisionLanguage(*tiny_llava(), max_new_tokens=4)
    settings = MMFRSettings(tries=2)
    result = write_mmfr(mmfr_job(images[:2], tmp_path / "out", model, settings=settings))
    assert (result.rows, result.failed) == ([], {})
    assert [row["reason"] for row in result.rejects] == ["reply could not be used"] * 2
    for row in result.rejects:
        assert row["vision_language"]["calls"] == 2
        assert row["vision_language"]["completion_tokens"] <= 8
        assert row["vision_language"]["prompt_tokens"] > 1000  # a character is a token
    assert result.statistics["words"] == {"caption": None, "reasoning": None}


def test_what_the_model_is_shown():
    shown = []

    def look(images, prompt):
        shown.append(images[0].size)
        return reply_to(prompt, 4)

    picture = Image.new("RGB", (100, 50))
    assert describe_image(picture, "fake", look, MMFRSettings(max_side=40)).caption
    assert describe_image(picture, "fake", look, MMFRSettings()).caption
    assert shown == [(40, 20)] * 2 + [(100, 50)] * 2
    assert picture.size == (100, 50)
    assert shrunk(picture, 100) is picture


def test_a_reject_costs_no_caption():
    prompts = []

    def undecided(images, prompt):
        prompts.append(prompt)
        return '{"answer": "undecided"}'

    described = describe_image(Image.new("RGB", (8, 8)), "real", undecided, MMFRSettings())
    assert (described.reject.value, len(prompts)) == ("cannot be told", 1)


def test_what_cannot_begin(images, tmp_path):
    job = mmfr_job(images, tmp_path / "out", plain_model)
    write_mmfr(job)
    for change in (
        {"settings": MMFRSettings(tries=1)},
        {"description": {"model": "other"}},
        {"images": images[:-1]},
        {"images": [dataclasses.replace(image, source="x") for image in images]},
    ):
        with pytest.raises(ValueError, match="was begun with other"):
            write_mmfr(dataclasses.replace(job, **change))
    with pytest.raises(ValueError, match="workers must be at least 1, got 0"):
        dataclasses.replace(job, workers=0)
    with pytest.raises(ValueError, match="tries and max_side must be at least 1, got 1 and 0"):
        MMFRSettings(tries=1, max_side=0)
