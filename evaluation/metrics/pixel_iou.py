"""IoU of forged pixels as an `evaluate` module."""

from forgescope.evaluation import metric_base


class PixelIou(metric_base.PixelCountMetric):
    """IoU of forged pixels, from per-image counts."""

    metric = "iou"
