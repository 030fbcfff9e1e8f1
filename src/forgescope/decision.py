"""From a probability map to one score and one verdict. Not given in the papers."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

# Large photographs are scored in parts, so that no second copy of their probability map is made.
VALUES_AT_A_TIME = 4_000_000
Verdict = Literal["authentic", "inconclusive", "forged"]
NOT_NUMBERS = "the model returned values that are not numbers: use dtype float32, or check its weights"
# How a classifier's probabilities for the tiles of a photograph become its score (`score_reduction` of GammaConfig).
REDUCTIONS = {
    "max": "the highest of all tiles",
    "mean": "the mean of all tiles",
    "center": "that of the central tile alone",
}


def image_score(probability_map: np.ndarray, top_fraction: float) -> float:
    """Score an image: the mean of the highest `top_fraction` of its pixel probabilities.

    A mean over all pixels would call small edits authentic; the maximum alone would follow one noisy pixel.

    Args:
        probability_map: (H, W) float, 0..1.
        top_fraction: share of pixels that count, above 0, at most 1; at least one pixel counts.

    Returns:
        Score 0..1, higher = more likely forged.

    Raises:
        ValueError: a fraction out of range, or values that are not numbers.
    """
    if not 0 < top_fraction <= 1:
        raise ValueError(f"expected a top fraction above 0 and at most 1, got {top_fraction}")
    values = probability_map.reshape(-1)
    count = max(round(values.size * top_fraction), 1)
    highest = values[:0]
    for start in range(0, values.size, VALUES_AT_A_TIME):
        highest = np.concatenate([highest, values[start : start + VALUES_AT_A_TIME]])
        highest = np.partition(highest, max(highest.size - count, 0))[-count:]
    score = float(highest.mean(dtype=np.float64))
    if not np.isfinite(score):
        raise ValueError(NOT_NUMBERS)
    return score


@dataclass(frozen=True)
class DecisionRule:
    """Thresholds of a checkpoint, read from its configuration.

    Args:
        score_top_fraction: see `image_score`.
        mask_threshold: pixel probability from which a pixel is forged.
        forged_threshold: score from which an image is forged.
        authentic_threshold: score below which an image is authentic; in between it is inconclusive.
        false_alarm_rate: share of authentic images that `forged_threshold` was chosen to call forged; None: unknown.
        calibration_images: number of authentic images it was chosen on.
        score_reduction: one of `REDUCTIONS` where the score is a classifier's; None: it is `image_score`.

    Raises:
        ValueError: a threshold outside 0..1, an authentic threshold above the forged one, or an unknown reduction.
    """

    score_top_fraction: float = 0.01
    mask_threshold: float = 0.5
    forged_threshold: float = 0.5
    authentic_threshold: float = 0.5
    false_alarm_rate: float | None = None
    calibration_images: int = 0
    score_reduction: str | None = None

    def __post_init__(self) -> None:
        for name in ("mask_threshold", "forged_threshold", "authentic_threshold"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"expected {name} between 0 and 1, got {getattr(self, name)}")
        if self.authentic_threshold > self.forged_threshold:
            raise ValueError(
                f"expected authentic_threshold at most forged_threshold, got {self.authentic_threshold} and "
                f"{self.forged_threshold}"
            )
        if self.score_reduction not in (None, *REDUCTIONS):
            raise ValueError(f"expected score_reduction {', '.join(REDUCTIONS)}, got {self.score_reduction!r}")

    @classmethod
    def from_config(cls, config: Any) -> "DecisionRule":
        """Read the rule from a model configuration; fields that it lacks keep the defaults above."""
        fields = {name: getattr(config, name) for name in cls.__dataclass_fields__ if hasattr(config, name)}
        return cls(**fields)

    def with_thresholds(self, threshold: float | None = None, mask_threshold: float | None = None) -> "DecisionRule":
        """Return the rule with the caller's thresholds.

        Args:
            threshold: replaces `forged_threshold`; the inconclusive band below it is kept as far as it lies below, and
                the false-alarm rate is no longer known.
            mask_threshold: replaces `mask_threshold`.

        Raises:
            ValueError: a threshold outside 0..1.
        """
        rule = self
        if threshold is not None:
            rule = replace(
                rule,
                forged_threshold=threshold,
                authentic_threshold=min(self.authentic_threshold, threshold),
                false_alarm_rate=None,
                calibration_images=0,
            )
        return rule if mask_threshold is None else replace(rule, mask_threshold=mask_threshold)

    def verdict(self, score: float) -> Verdict:
        """Return the verdict for a score."""
        if score >= self.forged_threshold:
            return "forged"
        return "authentic" if score < self.authentic_threshold else "inconclusive"

    def describe(self) -> str:
        """Say in a sentence or two what the verdict rests on."""
        if self.authentic_threshold < self.forged_threshold:
            band = f", authentic below {self.authentic_threshold:.3g}, inconclusive between"
        else:
            band = ", authentic below"
        if self.false_alarm_rate is None:
            rate = "; the thresholds are not calibrated to a false-alarm rate"
        else:
            rate = (
                f"; chosen so that {self.false_alarm_rate:.3g} of authentic images are called forged, on "
                f"{self.calibration_images} of them"
            )
        meaning = ""
        if self.score_reduction is not None:
            meaning = f"The score is the probability of AI-made pixels, {REDUCTIONS[self.score_reduction]}. "
        return f"{meaning}Forged from a score of {self.forged_threshold:.3g}{band}{rate}."
