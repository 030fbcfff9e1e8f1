"""Precision of forged pixels as an `evaluate` module."""

from forgescope.evaluation import metric_base


class PixelPrecision(metric_base.PixelCountMetric):
    """Precision of forged pixels, from per-image counts."""

    metric = "precision"
