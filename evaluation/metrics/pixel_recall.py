"""Recall of forged pixels as an `evaluate` module."""

from forgescope.evaluation import metric_base


class PixelRecall(metric_base.PixelCountMetric):
    """Recall of forged pixels, from per-image counts."""

    metric = "recall"
