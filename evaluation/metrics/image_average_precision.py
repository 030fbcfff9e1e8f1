"""Average precision of image scores as an `evaluate` module."""

from collections.abc import Sequence

from forgescope.evaluation import metric_base, ranking


class ImageAveragePrecision(metric_base.ImageScoreMetric):
    """Average precision of image scores."""

    def _compute(self, predictions: Sequence[float], references: Sequence[int]) -> dict[str, float]:
        return {"image_average_precision": ranking.average_precision(predictions, references)}
