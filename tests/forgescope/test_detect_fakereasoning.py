"""Detection by a model that answers in words: its probability, its thresholds, its explanation, and no mask."""

import csv
import json
import sys

import numpy as np
import pytest
from answering_fakereasoning import ANSWERS, answering_model, plain_photo
from report_page import entries, page_data
from transformers.utils import logging as transformers_logging

import forgescope
from forgescope.analyze import Analyzer, Failure
from forgescope.cli import main
from forgescope.evaluation.evaluator import Evaluator, Example
from forgescope.evaluation.rows import result_rows
from forgescope.explain import Explainer
from forgescope.reasoner import NO_MASK

COLORS = list(ANSWERS)
HOW = "Examined whole, padded to a square and resized to 28 x 28 pixels."


@pytest.fixture(scope="module")
def analyzer(answering_checkpoint):
    return Analyzer(answering_checkpoint, device="cpu", batch_size=3)


@pytest.fixture(scope="module")
def reports(analyzer):
    return dict(zip(COLORS, analyzer.analyze_many(map(plain_photo, COLORS)), strict=True))


@pytest.mark.parametrize(("color", "verdict"), [("red", "forged"), ("green", "authentic")])
def test_the_probability_decides(reports, answering_checkpoint, color, verdict):
    report = reports[color]
    explained = Explainer(answering_checkpoint).explain(plain_photo(color))
    assert report.verdict == verdict
    assert report.score == pytest.approx(explained.fake_probability, abs=1e-5)
    assert report.explanation == explained.describe()
    assert report.explanation.splitlines()[0] == "Summary: I look."
    assert report.notes == [HOW, NO_MASK]
    assert (report.model, report.precision) == (str(answering_checkpoint), "float32")
    assert report.to_dict()["explanation"] == report.explanation


def test_no_pixel_is_marked(reports):
    for report in reports.values():
        assert (report.mask.shape, report.mask.dtype, report.mask.any()) == ((40, 48), np.uint8, False)
        assert (report.forged_fraction, report.regions, report.attribution) == (0, [], None)
        assert (report.probability_map, report.ai_mask, report.marks_pixels) == (None, None, False)
        assert report.to_dict()["forged_fraction"] is None
    np.testing.assert_array_equal(reports["red"].overlay(), plain_photo("red"))


def test_an_answer_without_a_conclusion_is_inconclusive(reports):
    report = reports["blue"]
    assert (report.verdict, report.score, report.explanation) == ("inconclusive", 0.5, "I cannot say.")
    assert "Of the answer: CONCLUSION is missing." in report.notes
    assert report.notes[-1] == "The answer has no verdict with a probability: the score of 0.5 says nothing."


def test_a_conclusion_without_a_probability_is_inconclusive(reports):
    report = reports["white"]
    assert (report.verdict, report.score) == ("inconclusive", 0.5)
    assert report.explanation == "Conclusion: It is artificial."
    assert report.notes[-2:] == [
        "Of the answer: the conclusion is in words that have no probability.",
        "The answer has no verdict with a probability: the score of 0.5 says nothing.",
    ]


def test_words_that_contradict_the_probability_are_inconclusive(reports):
    report = reports["black"]
    assert (report.verdict, report.score) == ("inconclusive", pytest.approx(0.119, abs=1e-3))
    assert report.notes[-2:] == [
        "Of the answer: the conclusion says fake, but the probability to be fake is 0.119.",
        "Words and probability contradict each other: the verdict is inconclusive.",
    ]


def test_thresholds_are_the_checkpoint_s_or_the_caller_s(analyzer):
    model, processor = answering_model()
    model.config.forged_threshold, model.config.authentic_threshold = 0.99, 0.01
    strict = Analyzer(model, processor)
    assert [strict.analyze(plain_photo(color)).verdict for color in ("red", "green")] == 2 * ["inconclusive"]
    assert strict.analyze(plain_photo("red")).notes == [HOW, NO_MASK]
    lenient = Analyzer(model, processor, threshold=0.9)
    assert lenient.analyze(plain_photo("red")).verdict == "forged"
    assert lenient.rule.describe().startswith("Forged from a score of 0.9, authentic below 0.01")


def test_the_first_function_keeps_the_model(answering_checkpoint, tmp_path):
    plain_photo("red").save(tmp_path / "red.png")
    report = forgescope.analyze(tmp_path / "red.png", model=answering_checkpoint)
    assert (report.verdict, report.path) == ("forged", str(tmp_path / "red.png"))
    assert "Caption: A red wall." in report.explanation


def test_tiny_images_and_bad_ones(analyzer, tmp_path):
    # an edge below 32 pixels gives no verdict, whatever is answered
    (tmp_path / "empty.png").touch()
    short = Analyzer(*answering_model())
    short.localizer.explainer.max_new_tokens = 2
    tiny, empty = short.results([plain_photo("red", (31, 31)), tmp_path / "empty.png"])
    assert (tiny.verdict, tiny.mask.shape) == ("inconclusive", (31, 31))
    assert tiny.notes[0].startswith("Only 31 x 31 pixels")
    assert "Of the answer: the answer was cut off after 2 tokens." in tiny.notes
    assert isinstance(empty, Failure)


def test_unsuitable_settings_are_refused(answering_checkpoint):
    with pytest.raises(ValueError, match="sees photographs whole, at one size: leave tile out"):
        Analyzer(answering_checkpoint, tile=64)
    with pytest.raises(ValueError, match="expected a processor with a loaded model"):
        Analyzer(answering_model()[0])
    with pytest.raises(ValueError, match=r"no mask head, so there are no probability maps: use examine\(\)"):
        Analyzer(answering_checkpoint).probability_maps([plain_photo("blue")])


def test_an_evaluation_takes_the_probability(analyzer):
    examples = [
        Example(plain_photo("red"), name="red", label=1),
        Example(plain_photo("green"), name="green", label=0),
        Example(plain_photo("blue"), name="blue", label=0),
    ]
    result = Evaluator(analyzer.examine, ()).run(examples)
    assert [record.score for record in result.records] == pytest.approx([0.982, 0.018, 0.5], abs=1e-3)
    rows = {row.metric: row.value for row in result_rows(result, "custom", forged_threshold=0.6, resamples=0)}
    assert (rows["image_accuracy"], rows["image_auc"]) == (1, 1)


def test_a_folder_on_the_command_line(answering_checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for color in ("red", "green", "blue"):
        plain_photo(color).save(f"photos/{color}.png")
    (tmp_path / "photos/empty.png").touch()
    command = [
        "forgescope",
        "detect",
        "photos",
        "--model",
        str(answering_checkpoint),
        "--out",
        "out",
        "--device",
        "cpu",
    ]

    def run(output_format):
        monkeypatch.setattr(sys, "argv", [*command, "--format", output_format])
        with pytest.raises(SystemExit) as status:
            main()
        assert status.value.code == 1
        return capsys.readouterr()

    verbosity = transformers_logging.get_verbosity()
    try:
        printed = run("html")
        run("csv")
    finally:
        transformers_logging.set_verbosity(verbosity)
        transformers_logging.enable_progress_bar()
    assert "forged        score 0.982  photos/red.png\n" in printed.out
    assert "masks:" not in printed.out
    assert "4 examined: 1 forged, 1 inconclusive, 1 authentic, 1 failed" in printed.out
    assert "empty.png: the file is empty" in printed.err
    lines = (tmp_path / "out/report.jsonl").read_text().splitlines()
    rows = {row["path"]: row for row in map(json.loads, lines)}
    red, blue = rows["photos/red.png"], rows["photos/blue.png"]
    assert (red["verdict"], red["error"], red["forged_fraction"]) == ("forged", None, None)
    assert red["explanation"].endswith("Reasoning: No grain.\nConclusion: This image is fake.")
    assert (blue["verdict"], blue["score"], blue["error"]) == ("inconclusive", 0.5, None)
    assert [red[kind] for kind in ("mask", "ai_mask", "overlay", "probability_map")] == [None] * 4
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["report.csv", "report.html", "report.jsonl"]
    assert NO_MASK in red["notes"]
    page = tmp_path / "out/report.html"
    assert page_data(page)["with"]["explanation"]
    shown = entries(page)
    assert shown["red.png"]["explanation"].startswith("Summary: I look.\nCaption: A red wall.\n")
    assert sorted(row["explanation"] is None for row in shown.values()) == [False, False, False, True]
    with open("out/report.csv", newline="") as file:
        table = {row["path"]: row for row in csv.DictReader(file)}
    assert table["photos/red.png"]["explanation"] == red["explanation"]
    assert table["photos/empty.png"]["explanation"] == ""
    assert (table["photos/red.png"]["forged_fraction"], table["photos/red.png"]["mask"]) == ("", "")
