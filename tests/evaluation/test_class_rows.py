"""Rows of class maps: image by image twins, the paper's numbers beside ours, images called edited by their area."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import average_precision_score

from forgescope.evaluation.boundary import Tolerance, boundary_counts, boundary_f1
from forgescope.evaluation.class_map_evaluator import ClassMapEvaluator
from forgescope.evaluation.class_maps import ClassRule
from forgescope.evaluation.class_report import confusion_table, edit_tables
from forgescope.evaluation.class_rows import area_rows, class_rows, pooled_confusions
from forgescope.evaluation.edit_protocol import with_paper_values
from forgescope.evaluation.evaluator import Example
from forgescope.evaluation.perturbations import Perturbation
from forgescope.evaluation.protocols import PROTOCOLS
from forgescope.evaluation.report import to_json

RULE = ClassRule(("authentic", "sd2", "kolors", "glide"), Tolerance(1))
GROUPS = {"a": ("a",), "b": ("b",)}
SEMANTIC = PROTOCOLS["diffseg-semantic"]


@dataclass
class Answer:
    class_map: np.ndarray | None
    score: float | None = None


def in_the_red(images):
    """A model that finds its class map in the red channel."""
    return [Answer(np.asarray(image)[:, :, 0]) for image in images]


def in_the_blue(images):
    """A classifier that finds its score in the blue channel."""
    return [Answer(None, image.getpixel((0, 0))[2] / 255) for image in images]


def draw(seed, edited=True):
    """Prediction and truth, 20 x 24, of up to three editors."""
    random = np.random.default_rng(seed)
    target = np.zeros((20, 24), np.uint8)
    for _ in range(3 * edited):
        y, x = random.integers(0, 15), random.integers(0, 18)
        target[y : y + 6, x : x + 5] = random.integers(1, 4)
    prediction = np.roll(target, 1, axis=1)
    prediction[random.random(target.shape) < 0.02] = random.integers(1, 4)
    return prediction, target


def examples(count=10):
    """Every fifth image is authentic; sources in turn."""
    for number in range(count):
        prediction, target = draw(number, bool(number % 5))
        image = np.zeros((20, 24, 3), np.uint8)
        image[:, :, 0], image[:, :, 2] = prediction, 25 * number
        yield Example(Image.fromarray(image), target, "ab"[number % 2], f"{number}.png", label=int(number % 5 > 0))


def run(predict=in_the_red, rule=RULE, perturbation=None, items=None):
    evaluator = ClassMapEvaluator(predict, class_rule=rule, batch_size=3, perturbation=perturbation or Perturbation())
    return evaluator.run(examples() if items is None else items)


def value(rows, metric, classes, reduction, source="all"):
    (row,) = (
        row
        for row in rows
        if (row.metric, row.classes, row.reduction, row.source) == (metric, classes, reduction, source)
    )
    return row


def test_rows_equal_numbers_computed_image_by_image():
    rows = class_rows(run(), RULE, "diffseg-semantic", GROUPS, resamples=50)
    pairs = [draw(number) for number in range(10) if number % 5]
    iou, boundary, of_kolors = [], [], []
    for prediction, target in pairs:
        scores = boundary_f1(boundary_counts(prediction, target, 4, Tolerance(1)))
        own = {}
        for one in (1, 2, 3):
            either = (prediction == one) | (target == one)
            if either.any():
                own[one] = ((prediction == one) & (target == one)).sum() / either.sum()
        iou.append(np.mean(list(own.values())))
        boundary.append(np.mean([scores[one] for one in own]))
        of_kolors += [own[2]] if 2 in own else []
    expected = {"pixel_iou": iou, "pixel_boundary_f1": boundary}
    for metric, values in expected.items():
        row = value(rows, metric, "editors", "image")
        assert row.value == pytest.approx(np.mean(values))
        assert (row.n, row.empty_rule, row.threshold) == (8, "skip", None)
        assert row.low < row.value < row.high
    assert value(rows, "pixel_iou", "kolors", "image").value == pytest.approx(np.mean(of_kolors))
    assert value(rows, "pixel_iou", "kolors", "image").n == len(of_kolors)
    prediction, target = (np.stack([pair[side] for pair in pairs]) for side in (0, 1))
    assert value(rows, "pixel_accuracy", "all", "pooled").value == pytest.approx((prediction == target).mean())
    right = (prediction == target)[target > 0].mean()
    assert value(rows, "pixel_accuracy", "editors", "pooled").value == pytest.approx(right)
    per_class = [
        ((prediction == one) & (target == one)).sum() / ((prediction == one) | (target == one)).sum()
        for one in (1, 2, 3)
    ]
    row = value(rows, "pixel_iou", "editors", "pooled")
    assert row.value == pytest.approx(np.mean(per_class))
    assert row.low < row.value < row.high
    assert value(rows, "pixel_iou", "sd2", "pooled").value == pytest.approx(per_class[0])


def test_the_interval_of_pooled_counts_is_that_of_resampled_images():
    rows = class_rows(run(), RULE, "diffseg-semantic", GROUPS, resamples=300)
    row = value(rows, "pixel_accuracy", "all", "pooled")
    accuracies = np.array([(np.equal(*draw(number))).mean() for number in range(10) if number % 5])
    draws = np.random.default_rng(0).integers(0, 8, (300, 8))
    assert (row.low, row.high) == pytest.approx(tuple(np.quantile(accuracies[draws].mean(axis=1), [0.025, 0.975])))


def test_subsets_have_rows_of_their_own():
    rows = class_rows(run(), RULE, "diffseg-semantic", {**GROUPS, "c": ("c",)}, resamples=0)
    assert {row.source for row in rows} == {"a", "b", "all"}
    assert value(rows, "pixel_iou", "editors", "image", "a").n == 4
    alone = class_rows(run(), RULE, "diffseg-semantic", {"diffseg30k": ()}, resamples=0)
    assert {row.source for row in alone} == {"diffseg30k"}
    assert {(row.low, row.high) for row in alone} == {(None, None)}


def test_every_row_states_its_reduction_classes_and_tolerance():
    rows = class_rows(run(), RULE, "diffseg-semantic", GROUPS, resamples=0)
    assert {row.reduction for row in rows} == {"image", "pooled"}
    assert {row.classes for row in rows} == {"all", "editors", "sd2", "kolors", "glide"}
    assert {row.tolerance for row in rows if row.metric == "pixel_boundary_f1"} == {"1px"}
    assert {row.tolerance for row in rows if row.metric != "pixel_boundary_f1"} == {None}
    assert '"tolerance": "1px"' in to_json(rows)


def test_binary_rows():
    rule = ClassRule(("authentic", "edited"))
    rows = class_rows(run(rule=rule), rule, "diffseg-binary", {"diffseg30k": ()}, resamples=0)
    assert {row.classes for row in rows} == {"all", "forged"}
    pairs = [draw(number) for number in range(10) if number % 5]
    expected = np.mean([((p > 0) & (t > 0)).sum() / ((p > 0) | (t > 0)).sum() for p, t in pairs])
    assert value(rows, "pixel_iou", "forged", "image", "diffseg30k").value == pytest.approx(expected)


def test_images_without_edits_may_take_part():
    rule = replace(RULE, authentic="one")
    rows = class_rows(run(rule=rule), rule, "diffseg-semantic", {"x": ()}, resamples=0)
    row = value(rows, "pixel_iou", "editors", "image", "x")
    assert (row.n, row.empty_rule) == (10, "one")
    assert row.value < 1


def test_a_resized_image_is_compared_at_its_new_size():
    flat = [Example(Image.new("RGB", (24, 20), (2, 0, 0)), np.full((20, 24), 2, np.uint8), "a", "flat")]
    result = run(perturbation=Perturbation(shorter_edge=40), items=flat)
    assert result.records[0].classes.confusion.tolist() == np.diag([0, 0, 40 * 48, 0]).tolist()


def test_the_area_rule_is_more_than_one_percent():
    """Of 100 pixels, one is 1 % and not more; the scores are the shares."""

    def items():
        for number in range(4):
            image = np.zeros((10, 10, 3), np.uint8)
            image[0, :number, 0] = 3
            yield Example(Image.fromarray(image), np.full((10, 10), int(number > 1), np.uint8), "a", str(number))

    result = run(rule=None, items=items())
    assert [record.score for record in result.records] == [0, 0.01, 0.02, 0.03]
    rows = {
        (row.metric, row.classes): row for row in area_rows(result, "p", {"a": ()}, area_threshold=0.01, resamples=0)
    }
    assert rows["image_accuracy", "forged"].value == 1
    assert rows["image_false_alarm_rate", "forged"].value == 0
    assert rows["image_accuracy", "forged"].threshold == 0.01
    lower = area_rows(result, "p", {"a": ()}, area_threshold=0.005, resamples=0)
    assert {row.metric: row.value for row in lower if row.classes == "forged"}["image_accuracy"] == 0.75


def test_average_precision_equals_scikit_learn():
    result = run(rule=None)
    rows = {
        (row.metric, row.classes): row for row in area_rows(result, "p", {"a": ()}, area_threshold=0.01, resamples=50)
    }
    scores = np.array([(draw(number, bool(number % 5))[0] > 0).mean() for number in range(10)])
    edited = np.arange(10) % 5 > 0
    expected = average_precision_score(edited, scores)
    assert rows["image_average_precision", "forged"].value == pytest.approx(expected)
    both = (expected + average_precision_score(~edited, -scores)) / 2
    row = rows["image_average_precision", "macro"]
    assert row.value == pytest.approx(both)
    assert row.low <= row.value <= row.high


def test_a_classifier_is_asked_for_its_score():
    rows = area_rows(run(in_the_blue, None), "p", {"a": ()}, area_threshold=0.01, resamples=0)
    found = {(row.metric, row.classes): row for row in rows}
    scores = np.arange(10) * 25 / 255
    edited = np.arange(10) % 5 > 0
    assert found["image_accuracy", "fake"].value == pytest.approx(((scores >= 0.5) == edited).mean())
    assert found["image_accuracy", "fake"].threshold == 0.5
    assert found["image_average_precision", "fake"].value == pytest.approx(average_precision_score(edited, scores))


def test_confusion_matrices_add_up():
    result = run()
    sums = pooled_confusions(result, RULE, GROUPS)
    np.testing.assert_array_equal(sums["a"] + sums["b"], sums["all"])
    assert sums["all"].sum() == 8 * 20 * 24
    table = confusion_table("all", sums["all"], RULE.classes)
    assert table.header == ["true", "pixels", *RULE.classes]
    shares = [float(cell) for cell in table.lines[2][2:]]
    assert shares == pytest.approx(sums["all"][2] / sums["all"][2].sum() * 100, abs=0.051)
    assert table.lines[2][:2] == ["kolors", str(sums["all"][2].sum())]


def test_the_papers_numbers_stand_at_the_rows_that_they_are_of():
    rows = class_rows(run(), RULE, "diffseg-semantic", {"diffseg30k": ()}, resamples=0)
    rows = with_paper_values(rows, SEMANTIC, "segformer")
    found = {(row.metric, row.classes, row.reduction): row.paper_value for row in rows if row.paper_value is not None}
    assert found == {
        ("pixel_accuracy", "all", "pooled"): 0.952,
        ("pixel_iou", "editors", "pooled"): 0.825,
        ("pixel_boundary_f1", "editors", "image"): 0.532,
    }
    assert {row.paper_value for row in with_paper_values(rows, SEMANTIC, None)} == {None}
    distorted = class_rows(run(perturbation=Perturbation(60)), RULE, "x", {"diffseg30k": ()}, resamples=0)
    robust = with_paper_values(distorted, PROTOCOLS["diffseg-robustness-semantic"], "deeplabv3plus")
    assert {row.paper_value for row in robust} == {None, 0.184, 0.013, 0.019}


def test_tables_begin_with_that_of_the_paper():
    rows = with_paper_values(
        class_rows(run(), RULE, SEMANTIC.name, {"diffseg30k": ()}, resamples=0), SEMANTIC, "fcn8s"
    )
    first, editors, rest = edit_tables(rows, SEMANTIC)
    assert first.header == [
        "source",
        "n",
        "accuracy of all pixels (pooled)",
        "paper",
        "mIoU (pooled)",
        "paper",
        "boundary F1 (mean over images, 1px)",
        "paper",
    ]
    assert [first.lines[0][place] for place in (0, 1, 3, 5, 7)] == ["diffseg30k", "8", "0.3310", "0.2030", "0.0240"]
    assert [line[1] for line in editors.lines] == ["sd2", "kolors", "glide"]
    assert rest.header[2:] == [
        "accuracy of edited pixels (pooled)",
        "boundary F1 (pooled, 1px)",
        "accuracy of all pixels (mean over images)",
        "accuracy of edited pixels (mean over images)",
        "mIoU (mean over images)",
    ]


class TestBadImages:
    def test_one_is_left_out_and_named(self):
        def items():
            yield from examples(3)
            yield Example(Image.new("RGB", (24, 20)), np.zeros((9, 9), np.uint8), "a", "small mask")
            yield Example(Image.new("RGB", (24, 20)), np.full((20, 24), 7, np.uint8), "a", "no such editor")

        result = run(items=items())
        assert len(result.records) == 3
        assert [one.name for one in result.skipped] == ["small mask", "no such editor"]
        assert "the mask must be (height, width) = (20, 24)" in result.skipped[0].reason
        assert "expected true classes 0 to 3, got [7]" in result.skipped[1].reason

    def test_a_model_that_says_nothing(self):
        with pytest.raises(ValueError, match="not one of 10 images could be scored.*neither a class map nor a score"):
            run(lambda images: [Answer(None)] * len(images))
        with pytest.raises(ValueError, match="not one of 10 images could be scored.*the model marks no pixels"):
            run(lambda images: [Answer(None, 0.5)] * len(images))
        with pytest.raises(ValueError, match="returned the score 2: expected a number from 0 to 1"):
            run(lambda images: [Answer(None, 2)] * len(images), None)
