"""Boundary F1 of class maps as an `evaluate` module."""

from forgescope.evaluation import metric_base


class PixelBoundaryF1(metric_base.BoundaryMetric):
    """Boundary F1 of class maps (Csurka et al., BMVC 2013), the authentic class left out."""
