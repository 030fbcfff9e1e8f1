import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from forgescope.evaluation.calibration import calibrate
from forgescope.evaluation.histograms import (
    BINS,
    histogram_auc,
    histogram_average_precision,
    score_histogram,
    threshold_counts,
)
from forgescope.evaluation.intervals import bootstrap_interval
from forgescope.evaluation.ranking import (
    average_precision,
    roc_auc,
    threshold_for_false_alarm_rate,
    top_fraction_score,
)


@pytest.mark.parametrize("levels", [2, 5, 1000])
def test_auc_and_average_precision_equal_scikit_learn_with_ties(levels):
    random = np.random.default_rng(levels)
    scores, labels = random.integers(0, levels, 300) / levels, random.random(300) > 0.4
    assert roc_auc(scores, labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert average_precision(scores, labels) == pytest.approx(average_precision_score(labels, scores), abs=1e-12)


def test_a_constant_score_map_has_an_auc_of_one_half():
    assert roc_auc(np.full(100, 0.3), np.arange(100) < 20) == 0.5
    target = (np.arange(100) < 20).astype(np.uint8).reshape(10, 10)
    assert histogram_auc(score_histogram(np.full((10, 10), 0.3), target)) == 0.5


def test_one_class_alone_has_no_auc():
    assert math.isnan(roc_auc([0.1, 0.2], [1, 1]))
    assert math.isnan(average_precision([0.1, 0.2], [0, 0]))
    assert math.isnan(histogram_auc(score_histogram(np.zeros((2, 2)), np.ones((2, 2), np.uint8))))
    assert math.isnan(histogram_average_precision(score_histogram(np.zeros((2, 2)), np.zeros((2, 2), np.uint8))))


def test_histogram_auc_agrees_with_the_exact_one():
    random = np.random.default_rng(3)
    target = (random.random((128, 128)) > 0.8).astype(np.uint8)
    scores = np.clip(random.normal(0.4 + 0.2 * target, 0.15), 0, 1).astype(np.float32)
    histogram = score_histogram(scores, target)
    assert histogram_auc(histogram) == pytest.approx(roc_auc_score(target.ravel(), scores.ravel()), abs=2e-5)
    exact = average_precision_score(target.ravel(), scores.ravel())
    assert histogram_average_precision(histogram) == pytest.approx(exact, abs=2e-3)


def test_threshold_counts_equal_counting_at_each_threshold():
    random = np.random.default_rng(4)
    scores, target = random.random((20, 20)), (random.random((20, 20)) > 0.5).astype(np.uint8)
    counts = threshold_counts(score_histogram(scores, target, bins=8))
    assert counts.shape == (9, 4)
    for step in range(9):
        called = scores >= step / 8
        expected = [(called & (target == 1)).sum(), (called & (target == 0)).sum()]
        expected += [(~called & (target == 1)).sum(), (~called & (target == 0)).sum()]
        assert counts[step].tolist() == expected


def test_score_histogram_leaves_ignored_pixels_out_and_refuses_other_values():
    histogram = score_histogram([[0.0, 1.0], [0.5, 0.9]], np.array([[0, 1], [1, 255]], np.uint8))
    assert histogram.sum() == 3
    assert histogram[1, [BINS // 2, BINS - 1]].tolist() == [1, 1]
    with pytest.raises(ValueError, match=r"must lie in 0 to 1, got -1.0 to 0.5"):
        score_histogram([[-1.0, 0.5]], [[0, 1]])
    with pytest.raises(ValueError, match="must lie in 0 to 1, got nan"):
        score_histogram([[np.nan, 0.5]], [[0, 1]])
    with pytest.raises(ValueError, match="target must hold 0, 1 and 255"):
        score_histogram([[0.1, 0.5]], [[0, 3]])
    with pytest.raises(ValueError, match=r"one shape, got \(1, 2\) and \(2, 1\)"):
        score_histogram([[0.1, 0.5]], [[0], [1]])


def test_top_fraction_score_is_the_mean_of_the_highest_pixels():
    probabilities = np.arange(200).reshape(10, 20) / 200
    assert top_fraction_score(probabilities, 0.01) == pytest.approx((199 + 198) / 2 / 200)
    assert top_fraction_score(probabilities, 1) == pytest.approx(probabilities.mean())
    assert top_fraction_score(np.array([[0.25]]), 0.01) == 0.25
    with pytest.raises(ValueError, match="a fraction above 0 and at most 1"):
        top_fraction_score(probabilities, 0)


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.05, 0.1, 0.5])
@pytest.mark.parametrize("levels", [7, 100_000])
def test_threshold_keeps_the_false_alarm_rate_and_no_lower_one_does(rate, levels):
    scores = np.random.default_rng(5).integers(0, levels, 200) / levels
    threshold = threshold_for_false_alarm_rate(scores, rate)
    assert (scores >= threshold).mean() <= rate
    below = scores[scores < threshold].max()
    assert (scores >= below).mean() > rate


@pytest.mark.parametrize(
    ("scores", "rate", "message"),
    [
        ([], 0.1, "one finite score for each authentic image"),
        ([0.1, np.nan], 0.1, "one finite score"),
        ([0.1, 0.2], 1.0, "must be at least 0 and below 1, got 1.0"),
        ([0.1] * 10, 0.01, "needs at least 100 authentic images, got 10"),
    ],
)
def test_rates_that_cannot_be_told_are_refused(scores, rate, message):
    with pytest.raises(ValueError, match=message):
        threshold_for_false_alarm_rate(scores, rate)


def test_calibration_gives_the_rate_and_the_median():
    scores = np.arange(100) / 100
    chosen = calibrate(scores, 0.05)
    assert (scores >= chosen.forged_threshold).sum() == 5
    assert chosen.authentic_threshold == pytest.approx(0.495)
    assert (chosen.false_alarm_rate, chosen.calibration_images) == (0.05, 100)
    assert calibrate(np.full(10, 0.25), 0.5).authentic_threshold == 0.25


def test_calibration_refuses_scores_that_saturate():
    with pytest.raises(ValueError, match="no threshold reaches a false alarm rate of 0.1"):
        calibrate(np.ones(20), 0.1)


def test_bootstrap_interval_covers_the_standard_error_and_repeats():
    values = np.random.default_rng(6).normal(0.5, 0.1, 400)
    low, high = bootstrap_interval(lambda draws: values[draws].mean(axis=1), len(values))
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - half, abs=0.002)
    assert high == pytest.approx(values.mean() + half, abs=0.002)
    assert (low, high) == bootstrap_interval(lambda draws: values[draws].mean(axis=1), len(values))


def test_bootstrap_of_one_image_or_of_undefined_numbers_is_undefined():
    assert all(math.isnan(bound) for bound in bootstrap_interval(lambda draws: draws[:, 0] * 1.0, 1))
    assert all(math.isnan(bound) for bound in bootstrap_interval(lambda draws: draws[:, 0] * np.nan, 5))
    with pytest.raises(ValueError, match="expected resamples >= 1"):
        bootstrap_interval(lambda draws: draws[:, 0] * 1.0, 5, resamples=0)


@pytest.mark.parametrize("function", [roc_auc, average_precision])
def test_other_scores_are_refused(function):
    with pytest.raises(ValueError, match=r"must be \(N,\) alike, got \(2,\) and \(3,\)"):
        function([0.1, 0.2], [0, 1, 1])
    with pytest.raises(ValueError, match="scores must be finite, got 1 that are not"):
        function([0.1, np.inf], [0, 1])
