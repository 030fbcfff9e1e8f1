"""Trainer for ICL-Net (PromptForge-350k, section 6.1)."""

from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import EvalPrediction, Trainer

LOSS_PARTS = ("loss_contrastive", "loss_dice", "loss_focal")


def image_counts(logits: torch.Tensor, labels: torch.Tensor, threshold: float, ignore_index: int) -> torch.Tensor:
    """Count pixels of each image on the device the model runs on.

    Args:
        logits: (B, 1, h, w).
        labels: (B, h, w), 1 = forged, 0 = authentic, `ignore_index` = does not count.
        threshold: Probability from which a pixel counts as forged.
        ignore_index: Label of pixels that do not count.

    Returns:
        (B, 4) int64: true positives, false positives, false negatives, true negatives.
    """
    predicted = (logits[:, 0].sigmoid() >= threshold).flatten(1)
    forged, valid = (labels == 1).flatten(1), (labels != ignore_index).flatten(1)
    authentic = valid & ~forged
    pairs = (predicted & forged, predicted & authentic, ~predicted & forged, ~predicted & authentic)
    return torch.stack([pixels.sum(dim=1) for pixels in pairs], dim=1)


def pooled_metrics(prediction: EvalPrediction) -> dict[str, float]:
    """Precision, recall, F1 and IoU of the forged class from counts pooled over the set, and the parts of the loss.

    Pooled (or batch) counts are what Table 1 of the paper fits. A ratio whose denominator is 0 is 0.

    Args:
        prediction: `predictions` = (counts (N, 4), loss parts (N, 3)) as `ICLNetTrainer.prediction_step` gives them.
    """
    counts, parts = prediction.predictions
    tp, fp, fn, _ = (float(column) for column in np.asarray(counts, dtype=np.int64).sum(axis=0))
    metrics = {
        "precision": tp / max(tp + fp, 1.0),
        "recall": tp / max(tp + fn, 1.0),
        "f1": 2 * tp / max(2 * tp + fp + fn, 1.0),
        "iou": tp / max(tp + fp + fn, 1.0),
    }
    means = np.asarray(parts, dtype=np.float64).mean(axis=0)
    return metrics | {name: float(mean) for name, mean in zip(LOSS_PARTS, means, strict=True) if np.isfinite(mean)}


class ICLNetTrainer(Trainer):
    """A `Trainer` that logs every part of Eq. 3 and evaluates pixels without keeping masks.

    Learning rate, schedule and evaluation rhythm come from the `TrainingArguments` (recipe `iclnet`). Logged beside
    `loss`: `loss_contrastive`, `loss_dice`, `loss_focal`, unweighted means since the last log, over all processes.
    Evaluated: pooled pixel precision, recall, F1, IoU, and the same parts of the loss.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        kwargs.setdefault("compute_metrics", pooled_metrics)
        super().__init__(*args, **kwargs)
        self._parts: list[torch.Tensor] = []

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, torch.Tensor], return_outputs: bool = False, **kwargs: Any
    ):
        """Eq. 3; its parts are kept for the next log."""
        loss, outputs = super().compute_loss(model, inputs, return_outputs=True, **kwargs)
        if model.training:
            self._parts.append(self._loss_parts(outputs).detach())
        return (loss, outputs) if return_outputs else loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the parts of the loss to a training log."""
        if "loss" in logs and self._parts:
            means = self.accelerator.gather(torch.stack(self._parts).mean(dim=0)[None]).mean(dim=0)
            logs |= {name: part for name, part in zip(LOSS_PARTS, means.tolist(), strict=True) if np.isfinite(part)}
            self._parts.clear()
        super().log(logs, start_time)

    def prediction_step(
        self,
        model: nn.Module,
        inputs: dict[str, torch.Tensor],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[torch.Tensor | None, tuple[torch.Tensor, torch.Tensor] | None, torch.Tensor | None]:
        """Reduce each image to its counts at once: a validation set of any size takes 7 numbers an image."""
        inputs = self._prepare_inputs(inputs)
        config = self.accelerator.unwrap_model(model).config
        with torch.no_grad(), self.compute_loss_context_manager():
            loss, outputs = self.compute_loss(model, inputs, return_outputs=True)
        if prediction_loss_only:
            return loss, None, None
        labels = inputs["labels"]
        counts = image_counts(outputs.logits.float(), labels, config.mask_threshold, config.label_ignore_index)
        parts = self._loss_parts(outputs).expand(len(labels), -1)
        return loss.detach(), (counts, parts), torch.zeros(len(labels), device=labels.device)

    @staticmethod
    def _loss_parts(outputs: Any) -> torch.Tensor:
        """The three parts as (3,) float32; NaN for a part that is switched off."""
        parts = [outputs.get(name) for name in LOSS_PARTS]
        return torch.stack([outputs.loss.new_full((), float("nan")) if part is None else part for part in parts])
