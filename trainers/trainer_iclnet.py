"""Trainer for ICL-Net (PromptForge-350k, section 6.1)."""

from typing import Any

import torch
from transformers import EvalPrediction

from .pixel_counts import image_counts, pooled_scores
from .trainer_loss_parts import LossPartsTrainer, mean_parts

LOSS_PARTS = ("loss_contrastive", "loss_dice", "loss_focal")


def pooled_metrics(prediction: EvalPrediction) -> dict[str, float]:
    """Precision, recall, F1 and IoU of the forged class from counts pooled over the set, and the parts of the loss.

    Pooled (or batch) counts are what Table 1 of the paper fits. A ratio whose denominator is 0 is 0.

    Args:
        prediction: `predictions` = (counts (N, 4), loss parts (N, 3)) as `ICLNetTrainer.prediction_step` gives them.
    """
    counts, parts = prediction.predictions
    return pooled_scores(counts) | mean_parts(parts, LOSS_PARTS)


class ICLNetTrainer(LossPartsTrainer):
    """A `Trainer` that logs every part of Eq. 3 and evaluates pixels without keeping masks.

    Learning rate, schedule and evaluation rhythm come from the `TrainingArguments` (recipe `iclnet`). Logged beside
    `loss`: `loss_contrastive`, `loss_dice`, `loss_focal`, unweighted means since the last log, over all processes.
    Evaluated: pooled pixel precision, recall, F1, IoU, and the same parts of the loss; 7 numbers an image are kept.
    """

    loss_parts = LOSS_PARTS

    def __init__(self, *args: Any, **kwargs: Any):
        kwargs.setdefault("compute_metrics", pooled_metrics)
        super().__init__(*args, **kwargs)

    def image_results(
        self, outputs: Any, inputs: dict[str, torch.Tensor], config: Any
    ) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        """Counts of pixels (B, 4); image labels play no part."""
        labels = inputs["labels"]
        counts = image_counts(outputs.logits.float(), labels, config.mask_threshold, config.label_ignore_index)
        return (counts,), torch.zeros(len(labels), device=labels.device)
