"""AUC of pixel probabilities as an `evaluate` module."""

from forgescope.evaluation import metric_base


class PixelAuc(metric_base.PixelAUCMetric):
    """Area under the ROC curve of pixels, from histograms of 4096 steps; a tie counts one half."""
