"""Trainer for LEGION's stage 2 (section 4.1, Eq. 1 and 4): the detection head."""

from typing import Any

import numpy as np
import torch
from transformers import EvalPrediction

from forgescope.evaluation.ranking import average_precision, roc_auc

from .adapters import AdapterTrainer
from .trainer_loss_parts import mean_parts

LOSS_PARTS = ("loss_detection",)

# Fake probability from which an image counts as fake: accuracy as the paper reports it.
FAKE_THRESHOLD = 0.5


def head_metrics(prediction: EvalPrediction) -> dict[str, float]:
    """Scores of verdicts.

    Args:
        prediction: `predictions` = (fake probabilities (N,), loss (N, 1)), `label_ids` (N,), as
            `DetectionHeadTrainer.prediction_step` gives them.

    Returns:
        `accuracy` at 0.5, `auc` and `average_precision`; without the latter two where one of the classes is absent;
        and the loss.
    """
    scores, parts = prediction.predictions
    labels = np.asarray(prediction.label_ids)
    metrics = {"accuracy": float(((scores >= FAKE_THRESHOLD) == labels).mean())}
    if 0 < labels.mean() < 1:
        metrics |= {"auc": roc_auc(scores, labels), "average_precision": average_precision(scores, labels)}
    return metrics | mean_parts(parts, LOSS_PARTS)


class DetectionHeadTrainer(AdapterTrainer):
    """A `Trainer` for the detection head alone, on class tokens or on images; evaluated: see `head_metrics`.

    Args:
        *args: As `AdapterTrainer`.
        **kwargs: As `AdapterTrainer`.
    """

    loss_parts = LOSS_PARTS

    def __init__(self, *args: Any, **kwargs: Any):
        kwargs.setdefault("compute_metrics", head_metrics)
        super().__init__(*args, **kwargs)

    def image_results(
        self, outputs: Any, inputs: dict[str, torch.Tensor], config: Any
    ) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        """Fake probability (B,) and labels (B,)."""
        return (outputs.detection_logits.float().softmax(dim=-1)[:, 1],), inputs["forgery_labels"]
