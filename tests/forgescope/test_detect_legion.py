"""Detection by LEGION: its head decides, artifacts are the regions, and the head can be asked alone."""

import json
import shutil
import sys

import numpy as np
import pytest
import torch
from answering_fakereasoning import plain_photo
from answering_legion import ANSWERS
from PIL import Image
from transformers.utils import logging as transformers_logging

import forgescope
from forgescope.analyze import Analyzer
from forgescope.artifact_explanation import NO_TRAINED_HEAD
from forgescope.artifact_reasoner import HEAD_ALONE
from forgescope.cli import main
from forgescope.evaluation.evaluator import Evaluator, Example
from forgescope.evaluation.rules import SegmentationRule
from forgescope.phrase_overlay import draw_phrases

COLORS = list(ANSWERS)
CHANCES = torch.tensor([4.0, -4.0, 1.0]).sigmoid().tolist()
SEEN = "Read as its centre of 28 x 28 pixels, after its shorter edge was resized to that"
HOW = f"{SEEN}; outlined whole, its longer edge resized to 64 pixels."


@pytest.fixture(scope="module")
def analyzer(legion_checkpoint):
    return Analyzer(legion_checkpoint, device="cpu", batch_size=2)


@pytest.fixture(scope="module")
def reports(analyzer):
    return dict(zip(COLORS, analyzer.analyze_many(map(plain_photo, COLORS)), strict=True))


def asked_otherwise(analyzer, **settings):
    """The same network with other settings."""
    return Analyzer(analyzer.localizer.model, analyzer.localizer.explainer.processor, **settings)


def test_the_head_decides(reports, legion_checkpoint):
    assert [reports[color].score for color in COLORS] == pytest.approx(CHANCES, abs=1e-4)
    assert [reports[color].verdict for color in COLORS] == ["forged", "authentic", "forged"]
    assert (reports["red"].model, reports["red"].precision) == (str(legion_checkpoint), "float32")
    assert (reports["red"].notes, reports["green"].notes) == ([HOW], [HOW])
    assert "Of the answer: phrase 1 ('The eye') has no </p>." in reports["blue"].notes


def test_regions_are_the_artifacts(reports, analyzer):
    report = reports["red"]
    explained = analyzer.localizer.explainer.explain(plain_photo("red"))
    assert report.explanation == explained.describe()
    np.testing.assert_array_equal(report.mask, explained.mask)
    np.testing.assert_allclose(report.probability_map, explained.probability_map, atol=1e-3)
    assert report.forged_fraction == report.mask.mean()
    assert [region.number for region in report.regions] == [1, 2]
    for region, phrase in zip(report.regions, explained.phrases, strict=True):
        assert (region.phrase, region.explanation) == (phrase.phrase, phrase.explanation)
        rows, columns = np.nonzero(phrase.mask)
        assert region.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert region.area_fraction == phrase.mask.mean()
        assert region.mean_probability == pytest.approx(phrase.score, abs=1e-3)
    masks = {region.number: region.mask for region in report.regions}
    np.testing.assert_array_equal(report.overlay(), draw_phrases(plain_photo("red"), masks))
    values = json.loads(json.dumps(report.to_dict()))
    assert values["regions"][1]["phrase"] == "The sign"
    assert values["regions"][1]["explanation"] == "Its letters are wrong."
    assert values["regions"][1]["number"] == 2


def test_an_artifact_without_pixels_is_no_region_and_keeps_its_number(reports):
    assert [(region.number, region.phrase) for region in reports["blue"].regions] == [(1, "The eye")]
    assert reports["blue"].explanation == "1. The eye: Too large.\n2. The wall: Blurred."


def test_an_image_without_artifacts(reports):
    green = reports["green"]
    assert (green.regions, green.mask.any(), green.forged_fraction) == ([], False, 0)
    assert (green.explanation, green.probability_map.any()) == ("I found nothing.", False)
    np.testing.assert_array_equal(green.overlay(), plain_photo("green"))


def test_thresholds_are_the_checkpoint_s_or_the_caller_s(analyzer, reports):
    strict = asked_otherwise(analyzer, threshold=0.99, mask_threshold=0.8).analyze(plain_photo("red"))
    assert strict.verdict == "inconclusive"
    assert strict.mask.sum() < reports["red"].mask.sum()
    np.testing.assert_array_equal(strict.mask, strict.probability_map > 0.8)
    assert strict.notes[-1] == "Pixels are marked, but the score is too low to call the image forged."
    with pytest.raises(ValueError, match="expected a mask_threshold between 0 and 1, got 0"):
        asked_otherwise(analyzer, mask_threshold=0.0)


def test_the_head_alone(analyzer):
    alone = asked_otherwise(analyzer, explanations=False)
    assert alone.localizer.batch_size == 32
    asked = []
    parts = alone.localizer.model.model.language_model, alone.localizer.model.grounding.vision_encoder
    hooks = [part.register_forward_hook(lambda *_: asked.append("other parts")) for part in parts]
    found = list(alone.analyze_many(plain_photo(color) for color in COLORS))
    for hook in hooks:
        hook.remove()
    assert [one.score for one in found] == pytest.approx(CHANCES, abs=1e-4)
    assert [one.verdict for one in found] == ["forged", "authentic", "forged"]
    assert (found[0].explanation, found[0].regions, found[0].mask.any()) == (None, [], False)
    assert found[0].notes == [f"{SEEN}.", HEAD_ALONE]
    assert found[0].probability_map is None
    assert asked == []


def test_every_part_runs_once_a_photograph(analyzer):
    model, runs = analyzer.localizer.model, []
    parts = {"CLIP": model.model.vision_tower, "SAM": model.grounding.vision_encoder}
    hooks = [part.register_forward_hook(lambda *_, name=name: runs.append(name)) for name, part in parts.items()]
    analyzer.analyze(plain_photo("red"))
    assert sorted(runs) == ["CLIP", "SAM"]
    analyzer.analyze(plain_photo("green"))
    assert sorted(runs) == ["CLIP", "CLIP", "SAM"]  # nothing to outline
    for hook in hooks:
        hook.remove()


def test_a_head_that_is_not_trained_gives_no_verdict_and_keeps_artifacts(analyzer, monkeypatch):
    monkeypatch.setattr(analyzer.localizer.model.config, "detection_head_trained", False)
    report = analyzer.analyze(plain_photo("red"))
    assert (report.verdict, report.score, len(report.regions)) == ("inconclusive", 0.5, 2)
    assert report.notes == [HOW, f"Of the answer: {NO_TRAINED_HEAD}.", "Its score of 0.5 says nothing."]
    with pytest.raises(ValueError, match="is not trained, so without explanations it says nothing: train it"):
        asked_otherwise(analyzer, explanations=False)


def test_unsuitable_settings_are_refused(analyzer):
    with pytest.raises(ValueError, match="sees photographs whole, at one size: leave tile out"):
        asked_otherwise(analyzer, tile=64)
    with pytest.raises(ValueError, match="only a checkpoint of type legion can be asked without explanations"):
        Analyzer("iclnet-mini", explanations=False)


def test_an_evaluation_takes_score_and_map(analyzer, reports):
    mask = Image.fromarray(reports["red"].mask * 255)
    example = Example(plain_photo("red"), mask=mask, name="red", label=1)
    (record,) = Evaluator(analyzer.examine, (SegmentationRule(),)).run([example]).records
    assert record.score == pytest.approx(CHANCES[0], abs=1e-4)
    assert record.pixels is not None


def test_a_folder_on_the_command_line(legion_checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for color in COLORS:
        plain_photo(color).save(f"photos/{color}.png")

    def run(*options):
        command = ["forgescope", "detect", "photos", "--model", str(legion_checkpoint), "--device", "cpu", *options]
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as status:
            main()
        return status.value.code, capsys.readouterr()

    verbosity = transformers_logging.get_verbosity()
    try:
        status, printed = run("--out", "out", "--format", "html")
        fast, _ = run("--out", "fast", "--no-explanations")
        mixed, refused = run("--out", "fast")
    finally:
        transformers_logging.set_verbosity(verbosity)
        transformers_logging.enable_progress_bar()
    assert (status, fast, mixed) == (0, 0, 2)
    assert "3 examined: 2 forged, 0 inconclusive, 1 authentic, 0 failed" in printed.out
    rows = [json.loads(line) for line in (tmp_path / "out/report.jsonl").read_text().splitlines()]
    red = {row["path"]: row for row in rows}["photos/red.png"]
    assert red["explanation"].endswith("2. The sign: Its letters are wrong.")
    assert [region["phrase"] for region in red["regions"]] == ["The left hand", "The sign"]
    marked = np.asarray(Image.open(red["mask"])) == 255
    assert marked.mean() == pytest.approx(red["forged_fraction"], abs=1e-6)
    assert "The left hand" in (tmp_path / "out/report.html").read_text()
    alone = [json.loads(line) for line in (tmp_path / "fast/report.jsonl").read_text().splitlines()]
    assert [row["score"] for row in alone] == pytest.approx([row["score"] for row in rows], abs=1e-5)
    assert [row["explanations"] for row in alone] == [False] * 3
    assert [(row["mask"], row["overlay"], row["forged_fraction"]) for row in alone] == [(None, None, None)] * 3
    assert [path.name for path in (tmp_path / "fast").iterdir()] == ["report.jsonl"]
    assert "holds results with explanations False, this run has None" in refused.err


def test_a_head_that_is_not_trained_is_named_once(legion_checkpoint, tmp_path, monkeypatch, capsys):
    checkpoint = shutil.copytree(legion_checkpoint, tmp_path / "untrained")
    config = json.loads((checkpoint / "config.json").read_text()) | {"detection_head_trained": False}
    (checkpoint / "config.json").write_text(json.dumps(config))
    for color in COLORS:
        plain_photo(color).save(tmp_path / f"{color}.png")
    sentence = (
        f"no verdict of {checkpoint} on 3 images, whose scores say nothing: its detection head is not trained "
        "(forgescope train legion-detection)\n"
    )
    verbosity = transformers_logging.get_verbosity()
    try:
        for models in ([checkpoint], [checkpoint, legion_checkpoint]):
            asked = [word for model in models for word in ("--model", str(model))]
            words = [
                "detect",
                str(tmp_path / "*.png"),
                *asked,
                "--device",
                "cpu",
                "--out",
                str(tmp_path / str(len(models))),
            ]
            monkeypatch.setattr(sys, "argv", ["forgescope", *words])
            with pytest.raises(SystemExit) as status:
                main()
            assert status.value.code == 0
            assert capsys.readouterr().out.count(sentence) == 1
    finally:
        transformers_logging.set_verbosity(verbosity)
        transformers_logging.enable_progress_bar()


def test_the_first_function(legion_checkpoint, tmp_path):
    plain_photo("red").save(tmp_path / "red.png")
    report = forgescope.analyze(tmp_path / "red.png", model=legion_checkpoint)
    assert (report.verdict, len(report.regions), report.path) == ("forged", 2, str(tmp_path / "red.png"))
