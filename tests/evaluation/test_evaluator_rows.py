import json
import math
import resource
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from forgescope.evaluation.evaluator import Evaluator, Example, binary_mask
from forgescope.evaluation.perturbations import Perturbation
from forgescope.evaluation.report import to_json, to_markdown, to_tables, write_text
from forgescope.evaluation.results import Skipped
from forgescope.evaluation.rows import result_rows
from forgescope.evaluation.rules import SegmentationRule

RULE = SegmentationRule(metrics=("precision", "recall", "f1", "iou", "auc"))


def red_channel(images):
    return [np.asarray(image, dtype=np.float32)[:, :, 0] / 255 for image in images]


def make_examples(count=10, sources=("kontext", "step1x")):
    """Noise with a brighter forged block in two images of three; sizes differ."""
    random = np.random.default_rng(0)
    for index in range(count):
        height, width = 40 + index, 60 - index
        mask = np.zeros((height, width), dtype=np.uint8)
        if index % 3:
            mask[5:25, 10:30] = 1
        values = np.clip(random.normal(90 + 60 * mask, 30), 0, 255).astype(np.uint8)
        image = Image.fromarray(np.stack([values] * 3, axis=2))
        yield Example(image, mask * 255, sources[index % len(sources)], f"image {index}")


def by_name(rows, source):
    return {row.metric: row for row in rows if row.source == source}


def test_rows_equal_numbers_computed_image_by_image():
    examples = list(make_examples())
    expected, scores, labels = defaultdict(list), [], []
    for example in examples:
        values, truth = red_channel([example.image])[0], np.asarray(example.mask) > 0
        scores.append(np.sort(values.ravel())[-max(round(values.size * 0.01), 1) :].mean())
        labels.append(truth.any())
        if truth.any():
            called = values > 0.5
            tp = (called & truth).sum()
            expected["pixel_precision"].append(tp / called.sum())
            expected["pixel_recall"].append(tp / truth.sum())
            expected["pixel_f1"].append(2 * tp / (called.sum() + truth.sum()))
            expected["pixel_iou"].append(tp / (called | truth).sum())
            expected["pixel_auc"].append(roc_auc_score(truth.ravel(), values.ravel()))
    rows = by_name(result_rows(Evaluator(red_channel, [RULE], batch_size=4).run(examples)), "all")
    for metric, values in expected.items():
        assert rows[metric].value == pytest.approx(np.mean(values), abs=2e-6), metric
        assert rows[metric].low < rows[metric].value < rows[metric].high
        assert (rows[metric].n, rows[metric].reduction, rows[metric].empty_rule) == (6, "image", "skip")
    assert rows["pixel_f1"].threshold == 0.5
    assert rows["pixel_auc"].threshold is None
    assert rows["image_auc"].value == pytest.approx(roc_auc_score(labels, scores))
    called = np.array(scores) >= 0.5
    assert rows["image_accuracy"].value == pytest.approx((called == labels).mean())
    assert rows["image_recall"].value == pytest.approx(called[labels].mean())
    assert rows["image_false_alarm_rate"].value == pytest.approx(called[~np.array(labels)].mean())
    assert rows["image_false_alarm_rate"].n == 4


def test_every_subset_has_rows_and_the_average_is_their_mean():
    rows = result_rows(Evaluator(red_channel, [RULE]).run(make_examples()), resamples=0)
    first, second = by_name(rows, "kontext"), by_name(rows, "step1x")
    average = by_name(rows, "average")["pixel_f1"]
    assert average.value == pytest.approx((first["pixel_f1"].value + second["pixel_f1"].value) / 2)
    assert average.n == 6
    assert by_name(result_rows(Evaluator(red_channel, [RULE]).run(make_examples(sources=("one",)))), "average") == {}


def test_pooled_best_threshold_and_intervals():
    pooled = SegmentationRule("pooled", metrics=("f1", "auc"))
    best = SegmentationRule("pooled", threshold="best", metrics=("f1",))
    rows = result_rows(Evaluator(red_channel, [pooled, best]).run(make_examples()))
    fixed, highest = (row for row in rows if row.metric == "pixel_f1" and row.source == "all")
    auc = by_name(rows, "all")["pixel_auc"]
    assert fixed.low < fixed.value < fixed.high
    assert highest.value >= fixed.value
    assert (highest.low, auc.low) == (None, None)
    examples = [example for example in make_examples() if np.any(example.mask)]
    truth = np.concatenate([np.asarray(example.mask).ravel() > 0 for example in examples])
    values = np.concatenate([values.ravel() for values in red_channel([example.image for example in examples])])
    assert auc.value == pytest.approx(roc_auc_score(truth, values), abs=2e-6)
    f1 = max(2 * (truth & (values >= t)).sum() / (truth.sum() + (values >= t).sum()) for t in np.unique(values))
    assert highest.value == pytest.approx(f1, abs=1e-9)


def test_paper_values_stand_beside_subsets_that_are_named_as_in_the_paper():
    rows = result_rows(Evaluator(red_channel, [SegmentationRule("pooled")]).run(make_examples()), "iclnet")
    assert by_name(rows, "kontext")["pixel_f1"].paper_value == 0.8426
    assert by_name(rows, "all")["pixel_f1"].paper_value is None
    assert by_name(rows, "average")["pixel_f1"].paper_value is None
    table = next(table for table in to_tables(rows, intervals=False) if "pixel level" in table.title)
    assert table.header[:6] == ["source", "n", "precision", "paper", "recall", "paper"]
    assert [line[3] for line in table.lines] == ["0.8327", "0.8145", "-", "-"]
    four = ("Nano Banana", "bagel", "kontext", "step1x")
    evaluator = Evaluator(red_channel, [SegmentationRule("pooled")], perturbation=Perturbation(jpeg_quality=80))
    rows = result_rows(evaluator.run(make_examples(sources=four)), "iclnet")
    assert by_name(rows, "average")["pixel_f1"].paper_value == 0.7445
    assert by_name(rows, "average")["pixel_f1"].perturbation == "jpeg:80"
    assert by_name(rows, "kontext")["pixel_f1"].paper_value is None


def test_bad_items_are_named_and_the_others_scored():
    good = list(make_examples(4))
    image = good[1].image
    bad = [
        Skipped("broken.jpg", "truncated"),
        Example(image, np.zeros((3, 3), np.uint8), name="wrong size"),
        Example(image, np.full(good[1].mask.shape, 7, np.uint8), name="wrong values"),
        Example(Image.new("RGB", (9, 9), (255, 255, 255)), None, name="fails in the model"),
        Example(Image.new("RGB", (11, 11)), None, name="not a number"),
        Example(Image.new("RGB", (13, 13)), None, name="wrong map"),
    ]

    def fragile(images):
        if any(image.size == (9, 9) for image in images):
            raise RuntimeError("kernel failed")
        maps = red_channel(images)
        return [m * np.nan if m.shape == (11, 11) else m[:5] if m.shape == (13, 13) else m for m in maps]

    result = Evaluator(fragile, [RULE], batch_size=5).run([*bad, *good])
    assert [record.name for record in result.records] == [example.name for example in good]
    reasons = {skipped.name: skipped.reason for skipped in result.skipped}
    assert reasons["broken.jpg"] == "truncated"
    assert "the mask must be (height, width) = (41, 59) like its image, got (3, 3)" in reasons["wrong size"]
    assert "the mask must hold 0 and 1, or 0 and 255, got [7]" in reasons["wrong values"]
    assert reasons["fails in the model"] == "kernel failed"
    assert reasons["not a number"] == "the model returned probabilities that are not finite"
    assert "must have the size of the mask, got (5, 13) and (13, 13)" in reasons["wrong map"]


def test_nothing_to_score_is_an_error():
    with pytest.raises(ValueError, match=r"not one of 1 images could be scored; the first, a.jpg: truncated"):
        Evaluator(red_channel).run([Skipped("a.jpg", "truncated")])


def test_a_forged_image_without_a_mask_counts_at_image_level_only():
    examples = [*make_examples(3), Example(Image.new("RGB", (20, 20), (255, 0, 0)), None, forged=True)]
    rows = by_name(result_rows(Evaluator(red_channel, [RULE]).run(examples), resamples=0), "all")
    assert rows["pixel_f1"].n == 2
    assert rows["image_recall"].n == 4


def test_only_small_numbers_are_kept():
    result = Evaluator(red_channel, [RULE]).run(make_examples())
    for record in result.records:
        assert record.pixels.histograms == {}
        assert all(counts.shape == (4,) for counts in record.pixels.counts.values())
    assert len(result.histograms) == 4
    total = result.pooled_histogram(None)
    assert total.sum() == sum((40 + index) * (60 - index) for index in range(10))


def test_crops_change_sizes_and_the_label_when_the_forged_region_is_gone():
    mask = np.zeros((40, 40), np.uint8)
    mask[0, 0] = 1
    example = Example(Image.new("RGB", (40, 40)), mask, name="corner")
    result = Evaluator(red_channel, [RULE], perturbation=Perturbation(crop_percent=40)).run([example])
    counts = result.records[0].pixels.counts[0.5, None]
    assert counts.sum() == 24 * 24
    assert result.records[0].forged == bool(counts[2])


@pytest.mark.parametrize("mode", ["1", "L"])
def test_masks_are_read_as_one_and_zero(mode):
    mask = Image.new(mode, (4, 3))
    mask.putpixel((1, 2), 1 if mode == "1" else 255)
    assert binary_mask(mask, (4, 3)).tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [0, 1, 0, 0]]


def test_report_states_the_rule_above_each_table(tmp_path):
    rule = SegmentationRule("batch", "macro", "one", "permute", 0.4, (15, 11), metrics=("f1",))
    rows = result_rows(Evaluator(red_channel, [rule]).run(make_examples(6)), "custom")
    text = to_markdown(rows, ["precision: float32"])
    assert text.startswith("- precision: float32\n")
    title = (
        "custom: pixel level, mean over batches, mean of both classes, images without forgery: 0/0 counts 1, "
        "threshold 0.4, polarity permute, border ignored: erode 15, dilate 11"
    )
    table = next(table for table in to_tables(rows, intervals=False) if table.title == title)
    value = by_name(rows, "all")["pixel_f1"].value
    assert table.header == ["source", "n", "f1"]
    assert ["all", "6", f"{value:.4f}"] in table.lines
    assert f"**{title}**" in text
    write_text(tmp_path / "rows.json", to_json(rows))
    written = json.loads((tmp_path / "rows.json").read_text())
    keys = {"protocol", "source", "metric", "value", "n", "reduction", "classes", "empty_rule", "threshold"}
    assert all(keys | {"paper_value"} <= row.keys() for row in written)
    assert not any(isinstance(row["value"], float) and math.isnan(row["value"]) for row in written)


def test_a_report_that_cannot_be_written_leaves_the_old_one(tmp_path):
    with pytest.raises(OSError, match="cannot write .*rows.json: No such file or directory"):
        write_text(tmp_path / "absent" / "rows.json", "text")
    target = tmp_path / "rows.json"
    target.write_text("old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # A file may not grow beyond the limit: the write fails half-way, as on a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
    try:
        with pytest.raises(OSError, match="cannot write .*rows.json: File too large"):
            write_text(target, "new" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


class Verdict:
    """What a classifier returns: a score, and a map beside it or none."""

    def __init__(self, score, probability_map=None):
        self.score, self.probability_map = score, probability_map


def table_1_examples():
    """One image of each kind of GAMMA's Table 1: copy-move and splicing have forged pixels, and are real."""
    kinds = {"authentic": (0, False), "copy_move": (0, True), "splicing": (0, True), "inpainting": (1, True)}
    for index, (kind, (label, forged)) in enumerate(kinds.items()):
        mask = np.zeros((20, 20), np.uint8)
        mask[:10] = forged
        yield Example(Image.new("RGB", (20, 20), (index, 0, 0)), mask, kind, kind, label=label)


def test_a_classifiers_score_is_compared_with_the_label_and_its_map_with_the_mask():
    def predict(images):
        half = np.zeros((20, 20), np.float32)
        half[:10] = 1
        return [Verdict(0.9 if image.getpixel((0, 0))[0] == 3 else 0.1, half) for image in images]

    rows = result_rows(Evaluator(predict, [RULE]).run(table_1_examples()), resamples=0)
    overall = by_name(rows, "all")
    assert (overall["image_accuracy"].value, overall["image_accuracy"].classes) == (1, "fake")
    assert (overall["image_auc"].value, overall["image_recall"].value) == (1, 1)
    assert overall["image_false_alarm_rate"].n == 3
    assert (overall["pixel_f1"].value, overall["pixel_f1"].n, overall["pixel_f1"].classes) == (1, 3, "forged")
    assert "custom: image level, class fake, threshold 0.5" in [table.title for table in to_tables(rows)]


def test_without_a_score_of_its_own_a_model_is_asked_for_forged_pixels():
    examples = list(table_1_examples())
    ways = [
        lambda images: [np.full((20, 20), 0.9, np.float32) for _ in images],
        lambda images: [Verdict(None, np.full((20, 20), 0.9, np.float32)) for _ in images],
    ]
    for predict in ways:
        overall = by_name(result_rows(Evaluator(predict, [RULE]).run(examples), resamples=0), "all")
        assert (overall["image_accuracy"].value, overall["image_accuracy"].classes) == (3 / 4, "forged")
        assert overall["image_false_alarm_rate"].n == 1


def test_a_label_tells_what_a_missing_mask_does_not():
    images = [Example(Image.new("RGB", (9, 9), (240 * label, 0, 0)), label=label) for label in (0, 1, 1)]
    for predict in (red_channel, lambda batch: [Verdict(m[0, 0]) for m in red_channel(batch)]):
        rows = by_name(result_rows(Evaluator(predict, [RULE]).run(images), resamples=0), "all")
        assert (rows["image_accuracy"].value, rows["image_recall"].value, rows["image_accuracy"].n) == (1, 1, 3)
        assert rows["image_false_alarm_rate"].n == 1
        assert rows["pixel_f1"].value is None


def test_without_a_label_a_classifier_is_measured_by_the_mask():
    examples = [replace(one, label=None) for one in table_1_examples()]
    rows = result_rows(Evaluator(lambda images: [Verdict(0.9) for _ in images], ()).run(examples), resamples=0)
    assert by_name(rows, "all")["image_accuracy"].value == 3 / 4


def test_thresholds_are_calibrated_on_what_must_raise_no_alarm():
    scores = iter((0.1, 0.2, 0.3, 0.9))
    result = Evaluator(lambda images: [Verdict(next(scores)) for _ in images], batch_size=4).run(table_1_examples())
    assert result.authentic_scores() == [0.1, 0.2, 0.3]


@pytest.mark.parametrize(
    ("verdict", "reason"),
    [
        (Verdict(1.5), "the model returned the score 1.5: expected a number from 0 to 1"),
        (Verdict(float("nan")), "the model returned the score nan: expected a number from 0 to 1"),
        (Verdict(None), "the model returned neither a map nor a score"),
        (Verdict(0.5, np.full((20, 20), np.nan)), "the model returned probabilities that are not finite"),
    ],
)
def test_a_score_that_is_none_is_named(verdict, reason):
    first, *others = table_1_examples()
    good = [Verdict(0.5, np.zeros((20, 20))) for _ in others]
    result = Evaluator(lambda images: [verdict, *good][: len(images)], [RULE], batch_size=4).run([first, *others])
    assert [(one.name, one.reason) for one in result.skipped] == [("authentic", reason)]
    assert len(result.records) == 3


def test_subsets_may_share_images():
    examples = [*table_1_examples()]
    groups = {"pasted": ("copy_move", "authentic"), "made": ("inpainting", "authentic")}
    result = Evaluator(lambda images: [Verdict(0.1) for _ in images], ()).run(examples)
    rows = result_rows(result, resamples=0, groups=groups)
    accuracies = {row.source: (row.value, row.n) for row in rows if row.metric == "image_accuracy"}
    assert accuracies == {"pasted": (1, 2), "made": (0.5, 2), "all": (pytest.approx(2 / 3), 3), "average": (0.75, 4)}
