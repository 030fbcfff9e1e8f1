"""A number with its 95 % bootstrap interval."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .intervals import bootstrap_interval

FloatArray = NDArray[np.float64]
# Value, lower bound, upper bound; NaN where there is none.
Estimate = tuple[float, float, float]
UNKNOWN: Estimate = (math.nan, math.nan, math.nan)


def mean_estimate(values: FloatArray, resamples: int) -> Estimate:
    """Average one value an image; `resamples` draws of images give the interval, 0 none."""
    if len(values) == 0:
        return UNKNOWN
    return float(values.mean()), *interval(lambda draws: values[draws].mean(axis=1), len(values), resamples)


def interval(statistic: Callable[[NDArray[np.int64]], FloatArray], size: int, resamples: int) -> tuple[float, float]:
    """Bounds of `bootstrap_interval`; NaN, NaN without draws."""
    return bootstrap_interval(statistic, size, resamples=resamples) if resamples else (math.nan, math.nan)
