"""F1 of forged pixels as an `evaluate` module."""

from forgescope.evaluation import metric_base


class PixelF1(metric_base.PixelCountMetric):
    """F1 of forged pixels, from per-image counts."""

    metric = "f1"
