"""Accuracy of image decisions as an `evaluate` module."""

from forgescope.evaluation import metric_base


class ImageAccuracy(metric_base.ImageDecisionMetric):
    """Accuracy of images called forged from a score on."""

    metric = "accuracy"
