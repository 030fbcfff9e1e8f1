"""Bootstrap confidence intervals: how far a number may move with another draw of images."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
LEVEL = 0.95
# Bounds the memory of the indices drawn at once.
_INDICES_AT_ONCE = 1_000_000


def bootstrap_interval(
    statistic: Callable[[NDArray[np.int64]], NDArray[np.float64]],
    size: int,
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> tuple[float, float]:
    """Give the percentile interval of a statistic over images drawn with replacement.

    Args:
        statistic: takes the indices of the drawn images, (draws, size) with repetitions, and returns the number for
            each draw, (draws,). NaN (say, an AUC without any authentic image) is left out.
        size: number of images (or batches: whatever is drawn as one).
        resamples: number of draws.
        level: share of the draws inside the interval, between 0 and 1.
        seed: seed of the draws.

    Returns:
        Lower and upper bound; NaN, NaN with fewer than two images or when no draw gives a number.

    Raises:
        ValueError: resamples below 1 or a level that is not between 0 and 1.
    """
    if resamples < 1 or not 0 < level < 1:
        raise ValueError(f"expected resamples >= 1 and 0 < level < 1, got {resamples} and {level}")
    if size < 2:
        return np.nan, np.nan
    random = np.random.default_rng(seed)
    step = max(1, _INDICES_AT_ONCE // size)
    draws = [min(step, resamples - start) for start in range(0, resamples, step)]
    values = np.concatenate([statistic(random.integers(0, size, (count, size))) for count in draws])
    values = values[~np.isnan(values)]
    if len(values) == 0:
        return np.nan, np.nan
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
