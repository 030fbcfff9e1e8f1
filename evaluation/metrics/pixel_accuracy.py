"""Accuracy of forged pixels as an `evaluate` module."""

from forgescope.evaluation import metric_base


class PixelAccuracy(metric_base.PixelCountMetric):
    """Accuracy of forged pixels, from per-image counts."""

    metric = "accuracy"
