"""What is kept of one image: a handful of numbers from which every rule can be evaluated, never the map itself."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .borders import ignore_border
from .counts import confusion_counts, soft_counts
from .histograms import histogram_auc, score_histogram, threshold_counts
from .rules import SegmentationRule
from .segmentation import row_values

Border = tuple[int, int] | None
CountKey = tuple[float | str, Border]


@dataclass
class PixelMeasures:
    """The pixel numbers of one image.

    Args:
        counts: (4,) tp, fp, fn, tn for each threshold and border that the rules ask for.
        best: for each rule with threshold `best`, its metrics at the image's own best thresholds.
        auc: pixel AUC for each border; NaN if a class is absent.
        histograms: (2, bins) of `score_histogram` for each border; added up over images, then dropped.
    """

    counts: dict[CountKey, NDArray] = field(default_factory=dict)
    best: dict[SegmentationRule, dict[str, float]] = field(default_factory=dict)
    auc: dict[Border, float] = field(default_factory=dict)
    histograms: dict[Border, NDArray[np.int64]] = field(default_factory=dict)


def measure_image(
    probabilities: NDArray[np.floating], mask: NDArray[np.uint8], rules: Sequence[SegmentationRule]
) -> PixelMeasures:
    """Reduce one probability map to what the rules need.

    Args:
        probabilities: (H, W) from 0 to 1.
        mask: (H, W) uint8, 1 = forged, 0 = authentic.
        rules: the rules that will be evaluated.

    Raises:
        ValueError: the shapes differ, or probabilities are outside 0 to 1.
    """
    if probabilities.shape != mask.shape:
        raise ValueError(f"the map must have the size of the mask, got {probabilities.shape} and {mask.shape}")
    measures = PixelMeasures()
    for border in {rule.border_ignore for rule in rules}:
        target = mask if border is None else ignore_border(mask, *border)
        own = [rule for rule in rules if rule.border_ignore == border]
        for threshold in _thresholds(own):
            measures.counts[threshold, border] = _count(probabilities, target, threshold)
        if any(rule.threshold == "best" or "auc" in rule.metrics for rule in own):
            histogram = score_histogram(probabilities, target)
            measures.histograms[border], measures.auc[border] = histogram, histogram_auc(histogram)
            for rule in own:
                if rule.threshold == "best" and rule.reduction == "image":
                    measures.best[rule] = best_values(histogram, rule)
    return measures


def best_values(histogram: NDArray[np.int64], rule: SegmentationRule) -> dict[str, float]:
    """Give each metric of the rule at the threshold that maximises it."""
    values = row_values(threshold_counts(histogram).astype(np.float64), rule)
    return {name: float(value.max()) for name, value in values.items()}


def _thresholds(rules: Iterable[SegmentationRule]) -> set[float | str]:
    return {rule.threshold for rule in rules if rule.threshold != "best"}


def _count(probabilities: NDArray[np.floating], target: NDArray[np.uint8], threshold: float | str) -> NDArray:
    if threshold == "soft":
        return soft_counts(probabilities, target)
    return confusion_counts(probabilities > float(threshold), target)[0]
