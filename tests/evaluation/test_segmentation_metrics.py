import itertools
import math

import numpy as np
import pytest
from sklearn import metrics as sk

from forgescope.evaluation.counts import confusion_counts, soft_counts
from forgescope.evaluation.rules import METRICS, SegmentationRule
from forgescope.evaluation.segmentation import segmentation_metrics

COUNT_METRICS = tuple(metric for metric in METRICS if metric != "auc")
# Ordinary rows, a perfect and an imperfect authentic image, a missed forgery, an all-forged image, nothing at all.
COUNTS = np.array(
    [
        [30, 10, 5, 55],
        [1, 2, 3, 94],
        [0, 0, 0, 100],
        [0, 7, 0, 93],
        [0, 0, 20, 80],
        [100, 0, 0, 0],
        [40, 0, 60, 0],
        [9, 90, 0, 1],
    ]
)


def slow_value(tp, fp, fn, tn, name, one):
    """The textbook formula of one class of one table, with 0/0 as the rule says."""
    numerator, denominator = {
        "precision": (tp, tp + fp),
        "recall": (tp, tp + fn),
        "f1": (2 * tp, 2 * tp + fp + fn),
        "iou": (tp, tp + fp + fn),
        "accuracy": (tp + tn, tp + fp + fn + tn),
        "mcc": (tp * tn - fp * fn, math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))),
    }[name]
    if one and tp + fp + fn == 0:
        return 1.0
    return numerator / denominator if denominator else 0.0


def slow_row(row, name, rule):
    def of_polarity(tp, fp, fn, tn):
        one = rule.authentic == "one"
        value = slow_value(tp, fp, fn, tn, name, one)
        return value if rule.average == "forged" else (value + slow_value(tn, fn, fp, tp, name, one)) / 2

    tp, fp, fn, tn = (int(value) for value in row)
    normal, inverted = of_polarity(tp, fp, fn, tn), of_polarity(fn, tn, tp, fp)
    return {"normal": normal, "inverted": inverted, "permute": max(normal, inverted)}[rule.polarity]


def slow_metric(counts, name, rule):
    rows = [(index, list(row)) for index, row in enumerate(counts) if rule.authentic != "skip" or row[0] + row[2] > 0]
    groups = {}
    for index, row in rows:
        key = {"image": index, "batch": index // rule.batch_size, "pooled": 0}[rule.reduction]
        groups[key] = [a + b for a, b in zip(groups.get(key, [0, 0, 0, 0]), row, strict=True)]
    return sum(slow_row(row, name, rule) for row in groups.values()) / len(groups)


RULES = list(
    itertools.product(
        ("image", "batch", "pooled"),
        ("forged", "macro"),
        ("skip", "zero", "one"),
        ("normal", "inverted", "permute"),
    )
)


@pytest.mark.parametrize(("reduction", "average", "authentic", "polarity"), RULES)
def test_every_rule_equals_a_slow_loop(reduction, average, authentic, polarity):
    rule = SegmentationRule(reduction, average, authentic, polarity, batch_size=3, metrics=COUNT_METRICS)
    values = segmentation_metrics(COUNTS, rule)
    for name in COUNT_METRICS:
        assert values[name] == pytest.approx(slow_metric(COUNTS, name, rule), abs=1e-12), name


def test_equals_scikit_learn_on_masks():
    random = np.random.default_rng(0)
    prediction, target = random.random((6, 31, 17)) > 0.6, random.random((6, 31, 17)) > 0.7
    counts = confusion_counts(prediction, target)
    pooled = segmentation_metrics(counts, SegmentationRule("pooled", metrics=COUNT_METRICS))
    truth, called = target.ravel(), prediction.ravel()
    assert pooled["precision"] == pytest.approx(sk.precision_score(truth, called))
    assert pooled["recall"] == pytest.approx(sk.recall_score(truth, called))
    assert pooled["f1"] == pytest.approx(sk.f1_score(truth, called))
    assert pooled["iou"] == pytest.approx(sk.jaccard_score(truth, called))
    assert pooled["accuracy"] == pytest.approx(sk.accuracy_score(truth, called))
    assert pooled["mcc"] == pytest.approx(sk.matthews_corrcoef(truth, called))
    macro = segmentation_metrics(counts, SegmentationRule(average="macro", metrics=("f1", "iou")))
    images = [(t.ravel(), p.ravel()) for t, p in zip(target, prediction, strict=True)]
    assert macro["f1"] == pytest.approx(np.mean([sk.f1_score(t, p, average="macro") for t, p in images]))
    assert macro["iou"] == pytest.approx(np.mean([sk.jaccard_score(t, p, average="macro") for t, p in images]))


def test_authentic_rules_on_a_perfect_authentic_image():
    perfect = [[0, 0, 0, 100]]
    assert segmentation_metrics(perfect, SegmentationRule(authentic="zero"))["f1"] == 0
    assert segmentation_metrics(perfect, SegmentationRule(authentic="one"))["f1"] == 1
    assert math.isnan(segmentation_metrics(perfect, SegmentationRule(authentic="skip"))["f1"])
    false_alarm = [[0, 1, 0, 99]]
    assert segmentation_metrics(false_alarm, SegmentationRule(authentic="one"))["f1"] == 0


def test_pooled_numbers_satisfy_the_identities_that_means_miss():
    counts = COUNTS[:2]
    pooled = segmentation_metrics(counts, SegmentationRule("pooled"))
    assert pooled["iou"] == pytest.approx(pooled["f1"] / (2 - pooled["f1"]), abs=1e-12)
    mean = segmentation_metrics(counts, SegmentationRule("image"))
    assert mean["iou"] > mean["f1"] / (2 - mean["f1"]) + 0.01


def test_groups_name_the_batches():
    rule = SegmentationRule("batch", batch_size=1)
    groups = np.array([0, 0, 1, 1, 2, 2, 3, 3])
    same = segmentation_metrics(COUNTS, SegmentationRule("batch", batch_size=2))
    assert segmentation_metrics(COUNTS, rule, groups=groups) == same
    order = np.array([7, 0, 5, 2, 4, 3, 6, 1])
    shuffled = segmentation_metrics(COUNTS[order], rule, groups=groups[order])
    assert shuffled == pytest.approx(same)


def test_a_region_swallowed_by_the_border_still_counts_as_forged():
    rule = SegmentationRule(authentic="skip")
    counts = [[0, 3, 0, 97], [10, 0, 0, 90]]
    assert segmentation_metrics(counts, rule)["f1"] == 1
    assert segmentation_metrics(counts, rule, authentic=[False, False])["f1"] == 0.5


def test_soft_counts_equal_sums_of_probabilities():
    probabilities = np.array([[0.25, 1.0], [0.5, 0.0]])
    target = np.array([[1, 0], [255, 1]], dtype=np.uint8)
    assert soft_counts(probabilities, target).tolist() == pytest.approx([0.25, 1.0, 1.75, 0.0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"reduction": "median"}, "reduction must be one of image, batch, pooled, got 'median'"),
        ({"average": "micro"}, "average must be one of forged, macro, got 'micro'"),
        ({"authentic": "two"}, "authentic must be one of skip, zero, one, got 'two'"),
        ({"polarity": "double"}, "polarity must be one of normal, inverted, permute"),
        ({"metrics": ("dice",)}, "metrics must be one of precision, recall"),
        ({"threshold": 1.5}, 'threshold must be a number from 0 to 1, "best" or "soft", got 1.5'),
        (
            {"threshold": "best"},
            "metrics with threshold=\"best\" must be one of f1, iou, accuracy, mcc, got 'precision'",
        ),
        ({"threshold": "best", "reduction": "batch", "metrics": ("f1",)}, 'needs reduction "image" or "pooled"'),
        ({"border_ignore": (15, 10)}, r"two odd widths in pixels, got \(15, 10\)"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
    ],
)
def test_other_rules_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        SegmentationRule(**arguments)


def test_other_names_of_the_same_choice():
    assert SegmentationRule("dataset", "mean") == SegmentationRule("pooled", "macro")


@pytest.mark.parametrize(
    ("counts", "arguments", "message"),
    [
        ([[1, 2, 3]], {}, r"counts must be \(N, 4\) of tp, fp, fn, tn, got shape \(1, 3\)"),
        ([[1, 2, 3, 4]], {"authentic": [True, False]}, r"authentic must hold one value an image, shape \(1,\)"),
    ],
)
def test_other_tables_are_refused(counts, arguments, message):
    with pytest.raises(ValueError, match=message):
        segmentation_metrics(counts, SegmentationRule(), **arguments)
