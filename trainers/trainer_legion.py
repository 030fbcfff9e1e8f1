"""Trainer for LEGION's stage 1 (section 4.1, Eq. 4): explanations with masks."""

from typing import Any

import numpy as np
import torch
from transformers import EvalPrediction

from forgescope.evaluation.rules import SegmentationRule
from forgescope.evaluation.segmentation import segmentation_metrics

from .adapters import AdapterTrainer
from .pixel_counts import image_counts
from .trainer_loss_parts import mean_parts

LOSS_PARTS = ("loss_lm", "loss_mask_bce", "loss_mask_dice")
# Masks hold 0 and 1 alone.
NO_PIXEL = 255
# Section 5.1: mean of artifact and background; the mean over images follows from the paper's tables.
RULES = {
    "mask_iou": SegmentationRule("image", "forged", authentic="one", metrics=("iou",)),
    "mask_mean_iou": SegmentationRule("image", "macro", authentic="one", metrics=("iou",)),
}


def grounding_metrics(prediction: EvalPrediction) -> dict[str, float]:
    """Scores of masks.

    Args:
        prediction: `predictions` = (counts of the phrases' union (N, 4), mean IoU of each image's phrases (N,), loss
            parts (N, 3)), as `LegionTrainer.prediction_step` gives them.

    Returns:
        `mask_iou` (artifact pixels) and `mask_mean_iou` (mean of artifact and background) of all phrases' union, means
        over images; `phrase_iou` of single phrases, mean over the phrases of an image, then over images; and the parts
        of the loss. A mask without a pixel that is predicted to have none counts 1.
    """
    counts, phrase_ious, parts = prediction.predictions
    metrics = {name: segmentation_metrics(counts, rule)["iou"] for name, rule in RULES.items()}
    return metrics | {"phrase_iou": float(np.mean(phrase_ious)), **mean_parts(parts, LOSS_PARTS)}


class LegionTrainer(AdapterTrainer):
    """A `Trainer` that logs every part of Eq. 4, and evaluates masks on texts that are given (no generation).

    Logged beside `loss`: `loss_lm`, `loss_mask_bce` and `loss_mask_dice`, unweighted means since the last log, over
    all processes. Evaluated: see `grounding_metrics`; 8 numbers an image are kept.

    Every loss is a mean over its batch: over tokens, or over masks, whichever image they belong to, as in the
    published code. A step with gradient accumulation, or of several processes, is the mean of its batches' losses. It
    equals one large batch where these have as many tokens and masks each.

    Args:
        *args: As `AdapterTrainer`.
        **kwargs: As `AdapterTrainer`.
    """

    loss_parts = LOSS_PARTS

    def __init__(self, *args: Any, **kwargs: Any):
        kwargs.setdefault("compute_metrics", grounding_metrics)
        super().__init__(*args, **kwargs)

    def image_results(
        self, outputs: Any, inputs: dict[str, Any], config: Any
    ) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        """Counts (B, 4) of the phrases' union, the mean IoU of their own masks (B,), and their number (B,)."""
        counts, ious = [], []
        for logits, masks in zip(outputs.mask_logits, inputs["masks"], strict=True):
            if len(masks):
                union = masks.amax(dim=0, keepdim=True)
                counts.append(image_counts(logits.amax(dim=0)[None, None], union, config.mask_threshold, NO_PIXEL)[0])
                ious.append(_iou(image_counts(logits[:, None], masks, config.mask_threshold, NO_PIXEL)).mean())
            else:  # max_length has cut every phrase off
                pixels = masks.shape[-2] * masks.shape[-1]
                counts.append(torch.tensor([0, 0, 0, pixels], device=logits.device))
                ious.append(torch.ones((), device=logits.device))
        numbers = torch.tensor([len(masks) for masks in inputs["masks"]], device=counts[0].device)
        return (torch.stack(counts), torch.stack(ious)), numbers


def _iou(counts: torch.Tensor) -> torch.Tensor:
    """IoU (n,) of counts (n, 4); 1 where there is neither a pixel nor a prediction."""
    tp, fp, fn, _ = counts.float().unbind(dim=1)
    union = tp + fp + fn
    return torch.where(union > 0, tp / union.clamp(min=1), 1.0)
