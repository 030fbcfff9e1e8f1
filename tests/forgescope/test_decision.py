"""Score and verdict: the documented rule, its thresholds and what it refuses."""

import numpy as np
import pytest

from forgescope import decision
from forgescope.decision import DecisionRule, image_score
from forgescope.modeling.configuration_gamma import GammaConfig
from forgescope.modeling.configuration_iclnet import ICLNetConfig


def test_the_score_is_the_mean_of_the_highest_share():
    probabilities = np.arange(200, dtype=np.float32).reshape(10, 20) / 200
    assert image_score(probabilities, 0.05) == pytest.approx(np.mean(np.arange(190, 200)) / 200)
    assert image_score(probabilities, 1) == pytest.approx(probabilities.mean())
    # at least one pixel counts
    assert image_score(probabilities, 1e-6) == pytest.approx(199 / 200)
    assert image_score(np.full((1, 1), 0.25, np.float32), 0.01) == 0.25


@pytest.mark.parametrize("at_a_time", [7, 50, 4000])
def test_scoring_in_parts_is_exact(monkeypatch, at_a_time):
    probabilities = np.random.default_rng(0).random((31, 57)).astype(np.float32)
    expected = np.sort(probabilities, axis=None)[-round(probabilities.size * 0.1) :].mean(dtype=np.float64)
    monkeypatch.setattr(decision, "VALUES_AT_A_TIME", at_a_time)
    assert image_score(probabilities, 0.1) == pytest.approx(expected, abs=1e-9)


def test_what_cannot_be_scored_is_refused():
    broken = np.zeros((9, 9), np.float32)
    broken[3, 3] = np.nan
    with pytest.raises(ValueError, match="values that are not numbers: use dtype float32, or check its weights"):
        image_score(broken, 0.01)
    with pytest.raises(ValueError, match="top fraction above 0 and at most 1, got 0"):
        image_score(np.zeros((2, 2)), 0)


def test_the_band_between_the_thresholds_is_inconclusive():
    rule = DecisionRule(forged_threshold=0.7, authentic_threshold=0.4)
    verdicts = [rule.verdict(score) for score in (0, 0.39, 0.4, 0.69, 0.7, 1)]
    assert verdicts == ["authentic"] * 2 + ["inconclusive"] * 2 + ["forged"] * 2
    assert DecisionRule().verdict(0.5) == "forged"
    assert DecisionRule().verdict(0.4999) == "authentic"


def test_the_rule_is_read_from_the_configuration():
    config = ICLNetConfig(forged_threshold=0.8, authentic_threshold=0.3, false_alarm_rate=0.05, calibration_images=200)
    rule = DecisionRule.from_config(config)
    assert rule == DecisionRule(0.01, 0.5, 0.8, 0.3, 0.05, 200)
    assert rule.describe() == (
        "Forged from a score of 0.8, authentic below 0.3, inconclusive between; chosen so that 0.05 of authentic "
        "images are called forged, on 200 of them."
    )


def test_a_threshold_of_the_caller_keeps_the_band_below_it_and_ends_the_calibration():
    rule = DecisionRule(0.01, 0.5, 0.8, 0.3, 0.05, 200)
    assert rule.with_thresholds() == rule
    assert rule.with_thresholds(0.6) == DecisionRule(0.01, 0.5, 0.6, 0.3)
    assert rule.with_thresholds(0.2) == DecisionRule(0.01, 0.5, 0.2, 0.2)
    assert rule.with_thresholds(mask_threshold=0.9) == DecisionRule(0.01, 0.9, 0.8, 0.3, 0.05, 200)
    assert "authentic below; the thresholds are not calibrated" in rule.with_thresholds(0.2).describe()


@pytest.mark.parametrize(
    ("reduction", "meaning"),
    [
        ("max", "the highest of all tiles"),
        ("mean", "the mean of all tiles"),
        ("center", "that of the central tile alone"),
    ],
)
def test_the_rule_of_a_classifier_says_what_its_score_is(reduction, meaning):
    rule = DecisionRule.from_config(GammaConfig(score_reduction=reduction, forged_threshold=0.7))
    assert rule == DecisionRule(forged_threshold=0.7, score_reduction=reduction)
    assert rule.describe() == (
        f"The score is the probability of AI-made pixels, {meaning}. Forged from a score of 0.7, authentic below 0.5, "
        "inconclusive between; the thresholds are not calibrated to a false-alarm rate."
    )
    assert rule.with_thresholds(0.4).score_reduction == reduction


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"score_reduction": "median"}, "expected score_reduction max, mean, center, got 'median'"),
        ({"forged_threshold": 1.5}, "expected forged_threshold between 0 and 1, got 1.5"),
        ({"mask_threshold": -1}, "expected mask_threshold between 0 and 1, got -1"),
        ({"authentic_threshold": 0.6}, "expected authentic_threshold at most forged_threshold, got 0.6 and 0.5"),
    ],
)
def test_thresholds_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        DecisionRule(**settings)
