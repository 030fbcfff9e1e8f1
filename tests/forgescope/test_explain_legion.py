"""LEGION explains: artifacts with masks in Python and on the command line, streamed, in pictures and in files."""

import json
import os
import pty
import re
import sys

import numpy as np
import pytest
import torch
from answering_fakereasoning import plain_photo
from answering_legion import ANSWERS
from PIL import Image
from transformers.utils import logging as transformers_logging

from forgescope.artifact_explanation import NO_TRAINED_HEAD
from forgescope.cli import main
from forgescope.examination import Failure
from forgescope.explain import Explainer
from forgescope.grounded_answers import read_grounded_answers
from forgescope.phrase_overlay import phrase_color
from forgescope.processing.grounded_text import QUESTION
from forgescope.refinement.artifacts import check_artifacts, read_artifacts

COLORS = list(ANSWERS)
ESCAPES = re.compile(r"\x1b\[[\d;]*m")
RED_LINES = "(1) The left hand: The fingers are fused.\n(2) The sign: Its letters are wrong.\n"


@pytest.fixture(scope="module")
def explainer(legion_checkpoint):
    return Explainer(legion_checkpoint, device="cpu", batch_size=2)


@pytest.fixture(scope="module")
def explained(explainer):
    return dict(zip(COLORS, explainer.explain_many(map(plain_photo, COLORS)), strict=True))


def asked_otherwise(explainer, **settings):
    """The same network with other settings."""
    return Explainer(explainer.model, explainer.processor, **settings)


def test_artifacts_with_their_masks(explainer, explained):
    red = explained["red"]
    assert red.text == "I found artifacts. The left hand: The fingers are fused. The sign: Its letters are wrong."
    assert [(one.phrase, one.explanation) for one in red.phrases] == [
        ("The left hand", "The fingers are fused."),
        ("The sign", "Its letters are wrong."),
    ]
    assert (red.overview, red.problems, red.model) == ("I found artifacts.", [], explainer.name)
    assert red.describe().splitlines() == [
        "I found artifacts.",
        "1. The left hand: The fingers are fused.",
        "2. The sign: Its letters are wrong.",
    ]
    hand, sign = red.phrases
    assert not np.array_equal(hand.mask, sign.mask)
    for one in red.phrases:
        assert (one.mask.shape, one.mask.dtype) == ((40, 48), np.uint8)
        assert 0.05 < one.mask.mean() < 0.95
    np.testing.assert_array_equal(red.mask, hand.mask | sign.mask)
    np.testing.assert_array_equal(red.probability_map > 0.5, red.mask == 1)
    assert red.probability_map.dtype == np.float32


def test_the_verdict_is_the_head_s(explainer, explained, monkeypatch):
    chances = torch.tensor([4.0, -4.0, 1.0]).sigmoid().tolist()
    assert [explained[color].fake_probability for color in COLORS] == pytest.approx(chances, abs=1e-4)
    assert [explained[color].verdict for color in COLORS] == ["fake", "real", "fake"]
    monkeypatch.setattr(explainer.model.config, "forged_threshold", 0.9)
    monkeypatch.setattr(explainer.model.config, "authentic_threshold", 0.6)
    assert [explainer.explain(plain_photo(color)).verdict for color in COLORS] == ["fake", "real", None]


def test_an_image_without_artifacts(explained):
    green = explained["green"]
    assert (green.phrases, green.text, green.overview) == ([], "I found nothing.", "")
    assert green.describe() == green.text
    assert (green.mask.shape, green.mask.any(), green.probability_map.any()) == ((40, 48), False, False)


def test_an_answer_in_another_form_is_reported(explained):
    blue = explained["blue"]
    assert [(one.phrase, one.explanation, one.score is None) for one in blue.phrases] == [
        ("The eye", "Too large.", False),
        ("The wall", "Blurred.", True),
    ]
    assert not blue.phrases[1].mask.any()
    assert blue.problems == ["phrase 1 ('The eye') has no </p>", "phrase 2 ('The wall') has no [SEG]"]


def test_values_for_json(explained):
    values = json.loads(json.dumps(explained["red"].to_dict()))
    hand = explained["red"].phrases[0]
    assert values["phrases"][0] == {
        "phrase": "The left hand",
        "explanation": "The fingers are fused.",
        "score": hand.score,
        "area_fraction": hand.mask.mean(),
        "mask": None,
    }
    assert values["area_fraction"] == explained["red"].mask.mean()


def test_batches_equal_single_images(explainer, explained):
    for color in ("red", "blue"):
        alone, batched = explainer.explain(plain_photo(color)), explained[color]
        assert (alone.text, alone.problems) == (batched.text, batched.problems)
        assert alone.fake_probability == pytest.approx(batched.fake_probability, abs=1e-5)
        np.testing.assert_allclose(alone.probability_map, batched.probability_map, atol=1e-3)
    sizes = [(64, 20), (20, 64), (100, 100)]
    shapes = [one.mask.shape for one in explainer.explain_many(plain_photo("red", size) for size in sizes)]
    assert shapes == [(20, 64), (64, 20), (100, 100)]


def test_a_streamed_answer_is_the_answer_with_its_tags(explainer):
    pieces: list[str] = []
    explainer.explain(plain_photo("red"), explainer.stream(pieces.append))
    assert "".join(pieces) == ANSWERS["red"].replace("[SEG]:", "[SEG] :")
    assert len(pieces) > 10


def test_a_head_that_is_not_trained_gives_no_verdict(explainer, monkeypatch):
    monkeypatch.setattr(explainer.model.config, "detection_head_trained", False)
    found = explainer.explain(plain_photo("red"))
    assert (found.verdict, found.fake_probability, found.problems) == (None, None, [NO_TRAINED_HEAD])
    assert len(found.phrases) == 2


def test_the_threshold_of_masks(explainer, explained):
    strict, lenient = (
        asked_otherwise(explainer, mask_threshold=threshold).explain(plain_photo("red")) for threshold in (0.9, 0.1)
    )
    assert strict.mask.sum() < explained["red"].mask.sum() < lenient.mask.sum()
    np.testing.assert_array_equal(strict.probability_map > 0.9, strict.mask == 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mask_threshold": 1.0}, "expected a mask_threshold between 0 and 1, got 1"),
        ({"longest_edge": 65}, "expected a longest_edge of 1 to 64 pixels, the input of SAM, got 65"),
    ],
)
def test_wrong_settings_are_refused(explainer, settings, message):
    with pytest.raises(ValueError, match=message):
        asked_otherwise(explainer, **settings)


def test_what_does_not_fit_is_refused(explainer, legion_checkpoint, answering_checkpoint, monkeypatch):
    with pytest.raises(ValueError, match="type 'legion', which cannot be used here; expected fakereasoning"):
        Explainer(legion_checkpoint, model_types=("fakereasoning",))
    with pytest.raises(ValueError, match="this model outlines nothing: leave mask_threshold and longest_edge out"):
        Explainer(answering_checkpoint, mask_threshold=0.4, longest_edge=64)
    monkeypatch.setattr(explainer.model.config, "seg_token_id", 7)
    with pytest.raises(ValueError, match="seg_token_id 7 instead of 32004"):
        asked_otherwise(explainer)


def test_values_that_are_no_numbers_are_a_failure(explainer, monkeypatch):
    last = explainer.model.prompt_projector.linear_2
    monkeypatch.setattr(last, "bias", torch.nn.Parameter(torch.full_like(last.bias, float("nan"))))
    red, green = explainer.results([plain_photo("red"), plain_photo("green")])
    assert isinstance(red, Failure)
    assert "48 x 40 pixels (the model returned values that are not numbers" in red.error
    assert green.text == ANSWERS["green"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    for color in COLORS:
        plain_photo(color).save(tmp_path / f"photos/{color}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(monkeypatch, legion_checkpoint):
    def run(*arguments):
        options = ["--model", str(legion_checkpoint), "--device", "cpu"]
        monkeypatch.setattr(sys, "argv", ["forgescope", "explain", *map(str, arguments), *options])
        with pytest.raises(SystemExit) as status:
            main()
        return status.value.code

    verbosity = transformers_logging.get_verbosity()
    yield run
    transformers_logging.set_verbosity(verbosity)
    transformers_logging.enable_progress_bar()


def test_one_image_in_a_pipe(folder, run, capsys):
    assert run("photos/red.png") == 0
    out = capsys.readouterr().out
    assert re.sub(r"  [\d.]+% of the pixels", "", out) == (
        f"fake, probability to be fake 0.982\nI found artifacts.\n{RED_LINES}"
    )
    assert out.count("% of the pixels") == 2
    assert run("photos/green.png") == 0
    assert capsys.readouterr().out == ("real, probability to be fake 0.018\nI found nothing.\nNo artifact is named.\n")


def test_one_image_on_a_terminal_is_streamed_in_the_colours_of_its_phrases(folder, run, monkeypatch):
    ours, terminal = pty.openpty()
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")
    with os.fdopen(terminal, "w") as screen, monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", screen)
        assert run("photos/red.png") == 0
        screen.flush()
        shown = os.read(ours, 10_000).decode().replace("\r\n", "\n")
    os.close(ours)
    answer = "I found artifacts. (1) The left hand: The fingers are fused. (2) The sign: Its letters are wrong."
    assert ESCAPES.sub("", shown) == f"{answer}\n\nfake, probability to be fake 0.982\n"
    for number, word in ((1, "hand"), (2, "sign")):
        red, green, blue = phrase_color(number)
        assert re.search(rf"\x1b\[1;38;2;{red};{green};{blue}m[^\x1b]*{word}\x1b\[0m", shown)


def test_a_streamed_answer_in_another_form(folder, run, capsys):
    assert run("photos/blue.png", "--stream") == 0
    out = capsys.readouterr().out
    assert out.startswith("(1) The eye: Too large. (2) The wall: Blurred.\n\nfake, probability to be fake 0.731\n")
    assert "problem: phrase 1 ('The eye') has no </p>\n" in out


def test_a_folder_of_pictures_masks_and_artifacts(folder, run, capsys):
    (folder / "photos/broken.png").write_bytes(b"no picture")
    assert run("photos", "--out", "out") == 1
    printed = capsys.readouterr()
    assert "fake, probability to be fake 0.982  photos/red.png  artifacts: 2\n" in printed.out
    assert "real, probability to be fake 0.018  photos/green.png  artifacts: 0\n" in printed.out
    assert f"pictures: {folder}/out/*/picture.jpg" in printed.err
    lines = (folder / "out/explanations.jsonl").read_text().splitlines()
    rows = {row["path"]: row for row in map(json.loads, lines)}
    red, green, blue = (rows[f"photos/{color}.png"] for color in COLORS)
    assert (red["verdict"], red["question"], red["mask_threshold"], red["error"]) == ("fake", QUESTION, 0.5, None)
    place = folder / "out" / red["artifacts"]
    artifacts = check_artifacts(Image.open("photos/red.png"), read_artifacts(place))
    assert [(one.phrase, one.score) for one in artifacts] == [(one["phrase"], one["score"]) for one in red["phrases"]]
    union = np.asarray(Image.open(folder / "out" / red["mask"])) > 0
    np.testing.assert_array_equal(union, np.maximum(artifacts[0].mask, artifacts[1].mask) > 0)
    for one, row in zip(artifacts, red["phrases"], strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(folder / "out" / row["mask"])), one.mask * 255)
    with Image.open(folder / "out" / red["picture"]) as picture:
        assert picture.size[0] == 640
        assert picture.size[1] > 640 * 40 // 48
    assert (green["phrases"], read_artifacts(folder / "out" / green["artifacts"])) == ([], [])
    # a phrase without [SEG] has an empty mask for refinement, and none for an evaluation
    assert [one["mask"] is None for one in blue["phrases"]] == [False, True]
    assert not read_artifacts(folder / "out" / blue["artifacts"])[1].mask.any()
    assert (rows["photos/broken.png"]["phrases"], rows["photos/broken.png"]["picture"]) == (None, None)


def test_a_stopped_run_goes_on_and_other_settings_are_refused(folder, run, capsys):
    assert run("photos/red.png", "--out", "out") == 0
    row = json.loads((folder / "out/explanations.jsonl").read_text())
    stamp = (folder / "out" / row["picture"]).stat().st_mtime_ns
    capsys.readouterr()
    assert run("photos", "--out", "out") == 0
    assert "1 already explained" in capsys.readouterr().err
    assert (folder / "out" / row["picture"]).stat().st_mtime_ns == stamp
    assert run("photos", "--out", "out", "--mask-threshold", 0.7) == 2
    assert "holds results with mask_threshold 0.5, this run has 0.7" in capsys.readouterr().err


def test_the_file_of_explanations_can_be_evaluated(folder, run):
    (folder / "photos/broken.png").write_bytes(b"no picture")
    assert run("photos", "--out", "out", "--max-new-tokens", 30) == 1
    (answers,) = read_grounded_answers(folder / "out/explanations.jsonl").answers.values()
    assert set(answers) == {f"photos/{color}.png" for color in COLORS}
    assert [mask.shape for mask in answers["photos/red.png"].parts((40, 48))] == [(40, 48)] * 2
    assert answers["photos/red.png"].whole((40, 48)).any()
