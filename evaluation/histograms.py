"""Histograms of pixel probabilities: pixel AUC, and the counts at every threshold, without keeping a single map."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .counts import IGNORE_INDEX
from .rules import SegmentationRule

# Width 1 / 4096: the AUC of a smooth map agrees with the exact one to about six digits.
BINS = 4096
AUTHENTIC, FORGED = range(2)


def score_histogram(
    probabilities: ArrayLike, target: ArrayLike, ignore_index: int = IGNORE_INDEX, bins: int = BINS
) -> NDArray[np.int64]:
    """Count the pixels of each class in equal steps of probability.

    Args:
        probabilities: (H, W) from 0 to 1.
        target: (H, W), 1 = forged, 0 = authentic, `ignore_index` = counted nowhere.
        ignore_index: value of the pixels to leave out.
        bins: number of steps.

    Returns:
        (2, bins) int64: authentic pixels, forged pixels.

    Raises:
        ValueError: shapes differ, probabilities are outside 0 to 1 or not finite, or the target holds other values.
    """
    values, wanted = np.asarray(probabilities), np.asarray(target)
    if values.shape != wanted.shape:
        raise ValueError(f"probabilities and target must have one shape, got {values.shape} and {wanted.shape}")
    if values.size and not (values.min() >= 0 and values.max() <= 1):
        raise ValueError(f"probabilities must lie in 0 to 1, got {values.min()} to {values.max()}")
    if wanted.size and wanted.max() > 1:
        keep = wanted != ignore_index
        values, wanted = values[keep], wanted[keep]
        if wanted.size and wanted.max() > 1:
            raise ValueError(f"target must hold 0, 1 and {ignore_index} (ignored), got {int(wanted.max())}")
    step = np.minimum((values * bins).astype(np.int32), bins - 1).reshape(-1)
    step += wanted.reshape(-1).astype(np.int32) * bins
    return np.bincount(step, minlength=2 * bins).reshape(2, bins)


def histogram_auc(histogram: NDArray[np.int64]) -> float:
    """Compute the area under the ROC curve, two pixels of one bin counting one half; NaN if a class is absent."""
    authentic, forged = histogram[AUTHENTIC].astype(np.float64), histogram[FORGED].astype(np.float64)
    pairs = authentic.sum() * forged.sum()
    if pairs == 0:
        return math.nan
    below = np.cumsum(authentic) - authentic
    return float((forged * (below + authentic / 2)).sum() / pairs)


def polarised_auc(auc: ArrayLike, rule: SegmentationRule) -> NDArray[np.float64]:
    """Apply the polarity of a rule to AUC values: 1 - AUC when inverted, the larger of both for `permute`."""
    values = np.asarray(auc, dtype=np.float64)
    if rule.polarity == "normal":
        return values
    return 1 - values if rule.polarity == "inverted" else np.maximum(values, 1 - values)


def auc_values(auc: ArrayLike, rule: SegmentationRule) -> NDArray[np.float64]:
    """Select the per-image values that a mean AUC averages.

    Args:
        auc: (N,) of `histogram_auc`, NaN for an image of one class.
        rule: its polarity, and what authentic images do: with `zero` every image of one class counts 0, else it is
            left out.
    """
    values = polarised_auc(auc, rule)
    return np.nan_to_num(values, nan=0.0) if rule.authentic == "zero" else values[~np.isnan(values)]


def histogram_average_precision(histogram: NDArray[np.int64]) -> float:
    """Compute the average precision over the bins, highest first; NaN when nothing is forged."""
    called = np.cumsum(histogram.sum(axis=0)[::-1])
    found = np.cumsum(histogram[FORGED][::-1])
    if found[-1] == 0:
        return math.nan
    gained = np.diff(found, prepend=0)
    return float(np.sum(gained * np.divide(found, called, out=np.zeros(len(called)), where=called > 0)) / found[-1])


def threshold_counts(histogram: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count tp, fp, fn, tn at every threshold, from calling all pixels forged to calling none.

    Args:
        histogram: (2, bins) of `score_histogram`.

    Returns:
        (bins + 1, 4); row k calls the pixels of bins k and above, that is, probabilities of at least k / bins.
    """
    forged = np.append(np.cumsum(histogram[FORGED][::-1])[::-1], 0)
    authentic = np.append(np.cumsum(histogram[AUTHENTIC][::-1])[::-1], 0)
    return np.stack((forged, authentic, forged[0] - forged, authentic[0] - authentic), axis=1)
