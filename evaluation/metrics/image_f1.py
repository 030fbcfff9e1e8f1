"""F1 of image decisions as an `evaluate` module."""

from forgescope.evaluation import metric_base


class ImageF1(metric_base.ImageDecisionMetric):
    """F1 of images called forged from a score on."""

    metric = "f1"
