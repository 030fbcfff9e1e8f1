"""AUC of image scores as an `evaluate` module."""

from collections.abc import Sequence

from forgescope.evaluation import metric_base, ranking


class ImageAuc(metric_base.ImageScoreMetric):
    """Area under the ROC curve of image scores; a tie counts one half."""

    def _compute(self, predictions: Sequence[float], references: Sequence[int]) -> dict[str, float]:
        return {"image_auc": ranking.roc_auc(predictions, references)}
