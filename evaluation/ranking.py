"""Threshold-free numbers for image scores: AUC with ties counted exactly, average precision, and calibration."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


def top_fraction_score(probabilities: NDArray[np.floating], fraction: float) -> float:
    """Score an image by the mean of its highest pixel probabilities (our rule: not given in the paper).

    Args:
        probabilities: (H, W) from 0 to 1.
        fraction: share of the pixels that count, above 0 and at most 1; at least one pixel does.

    Returns:
        Score from 0 to 1, higher = more likely forged.

    Raises:
        ValueError: the map is empty or the fraction is out of range.
    """
    if probabilities.size == 0 or not 0 < fraction <= 1:
        raise ValueError(
            f"expected a non-empty map and a fraction above 0 and at most 1, got {probabilities.shape}, {fraction}"
        )
    kept = max(round(probabilities.size * fraction), 1)
    flat = probabilities.reshape(-1)
    return float(np.partition(flat, flat.size - kept)[flat.size - kept :].mean(dtype=np.float64))


def roc_auc(scores: ArrayLike, labels: ArrayLike) -> float:
    """Compute the area under the ROC curve from the rank sum, a tie counting one half.

    Args:
        scores: (N,) finite, higher = more likely forged.
        labels: (N,) 1 or True = forged.

    Returns:
        0 to 1; NaN when one of the classes is absent.

    Raises:
        ValueError: shapes differ, or a score is not finite.
    """
    values, forged = _checked(scores, labels)
    positives = int(forged.sum())
    negatives = len(forged) - positives
    if positives == 0 or negatives == 0:
        return math.nan
    _, index, sizes = np.unique(values, return_inverse=True, return_counts=True)
    # The mean rank of each group of equal scores.
    ranks = np.cumsum(sizes) - (sizes - 1) / 2
    return float((ranks[index][forged].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def average_precision(scores: ArrayLike, labels: ArrayLike) -> float:
    """Sum precision times gain in recall over the distinct scores, highest first (no interpolation).

    Args and errors as `roc_auc`.

    Returns:
        0 to 1; NaN when nothing is forged.
    """
    values, forged = _checked(scores, labels)
    if not forged.any():
        return math.nan
    levels, index = np.unique(-values, return_inverse=True)
    found = np.cumsum(np.bincount(index, weights=forged, minlength=len(levels)))
    called = np.cumsum(np.bincount(index, minlength=len(levels)))
    return float(np.sum(np.diff(found, prepend=0.0) * found / called) / forged.sum())


def threshold_for_false_alarm_rate(authentic_scores: ArrayLike, rate: float) -> float:
    """Choose the lowest threshold at which at most a given share of authentic images is called forged.

    An image is called forged when its score is at least the threshold, so ties are never split: with many equal
    scores the share reached is lower than asked.

    Args:
        authentic_scores: (N,) finite scores of authentic images, 0 to 1.
        rate: allowed share, 0 <= rate < 1.

    Returns:
        The smallest float above every score that must not raise an alarm.

    Raises:
        ValueError: no scores, a score is not finite, the rate is out of range, or so small that it cannot be told
            from 0 with this many images (rate > 0 needs at least 1 / rate of them).
    """
    values = np.asarray(authentic_scores, dtype=np.float64)
    if values.ndim != 1 or len(values) == 0 or not np.isfinite(values).all():
        raise ValueError(f"expected one finite score for each authentic image, got shape {values.shape}")
    if not 0 <= rate < 1:
        raise ValueError(f"the false alarm rate must be at least 0 and below 1, got {rate}")
    if rate > 0 and len(values) * rate < 1:
        raise ValueError(
            f"a false alarm rate of {rate} needs at least {math.ceil(1 / rate)} authentic images, got {len(values)}; "
            "give more images or a higher rate"
        )
    # Guards against rate * N falling just below a whole number in floating point.
    alarms = math.floor(rate * len(values) + 1e-9)
    return float(np.nextafter(np.sort(values)[::-1][alarms], np.inf))


def _checked(scores: ArrayLike, labels: ArrayLike) -> tuple[FloatArray, NDArray[np.bool_]]:
    values, forged = np.asarray(scores, dtype=np.float64), np.asarray(labels).astype(bool)
    if values.ndim != 1 or values.shape != forged.shape:
        raise ValueError(f"scores and labels must be (N,) alike, got {values.shape} and {forged.shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"scores must be finite, got {int((~np.isfinite(values)).sum())} that are not")
    return values, forged
