"""Matthews correlation coefficient of forged pixels as an `evaluate` module."""

from forgescope.evaluation import metric_base


class PixelMcc(metric_base.PixelCountMetric):
    """Matthews correlation coefficient of forged pixels, from per-image counts."""

    metric = "mcc"
