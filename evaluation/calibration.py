"""The two thresholds of a verdict, chosen from the scores of authentic images. Not given in the papers."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .ranking import threshold_for_false_alarm_rate

# Half of the authentic images are called authentic outright; what lies between the thresholds is inconclusive.
AUTHENTIC_QUANTILE = 0.5


@dataclass(frozen=True)
class Calibration:
    """Decision fields of a model configuration, under the names they have there.

    Args:
        forged_threshold: score from which an image is called forged.
        authentic_threshold: score below which it is called authentic.
        false_alarm_rate: share of authentic images that was allowed to score `forged_threshold` or more.
        calibration_images: number of authentic images behind it.
    """

    forged_threshold: float
    authentic_threshold: float
    false_alarm_rate: float
    calibration_images: int


def calibrate(authentic_scores: ArrayLike, rate: float) -> Calibration:
    """Choose thresholds for a stated false alarm rate.

    `forged_threshold` is the lowest score at which at most `rate` of the authentic images are called forged;
    `authentic_threshold` is their median score, so that half of them are called authentic.

    Args:
        authentic_scores: (N,) scores of authentic images, 0 to 1, best of images that no evaluation uses.
        rate: allowed share of false alarms, 0 <= rate < 1.

    Raises:
        ValueError: as `threshold_for_false_alarm_rate`; or more than `rate` of the images score 1, the highest score.
    """
    forged = threshold_for_false_alarm_rate(authentic_scores, rate)
    if forged > 1:
        raise ValueError(
            f"no threshold reaches a false alarm rate of {rate}: more authentic images than that have the highest "
            "score, 1; train the model further or allow a higher rate"
        )
    authentic = min(forged, float(np.quantile(np.asarray(authentic_scores), AUTHENTIC_QUANTILE)))
    return Calibration(forged, authentic, rate, len(np.asarray(authentic_scores)))
