"""Trainer for GAMMA (section 5.1)."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from transformers import EvalPrediction

from forgescope.evaluation.ranking import roc_auc

from .data_gamma import EpochSubsetSampler
from .pixel_counts import image_counts, pooled_scores
from .trainer_loss_parts import LossPartsTrainer, mean_parts

LOSS_PARTS = ("loss_classification", "loss_ai", "loss_manipulation")
HEADS = ("manipulation", "ai")
# Fake probability from which an image counts as fake: accuracy as the paper reports it.
FAKE_THRESHOLD = 0.5


def detection_metrics(prediction: EvalPrediction) -> dict[str, float]:
    """Scores of verdicts and masks.

    Args:
        prediction: `predictions` = (fake probabilities (N,), counts of the manipulation masks (N, 4), counts of the AI
            masks (N, 4), loss parts (N, 3)), `label_ids` (N,), as `GammaTrainer.prediction_step` gives them.

    Returns:
        `accuracy` at 0.5 and `auc` of the verdicts (without `auc` where one of the classes is absent), `iou` and `f1`
        of each mask as `manipulation_iou` and so on, from counts pooled over the set (without the mask of a head that
        does not exist), and the parts of the loss.
    """
    scores, *counts, parts = prediction.predictions
    labels = np.asarray(prediction.label_ids)
    metrics = {"accuracy": float(((scores >= FAKE_THRESHOLD) == labels).mean()), "auc": roc_auc(scores, labels)}
    for head, of_images in zip(HEADS, counts, strict=True):
        if np.any(of_images):
            pooled = pooled_scores(of_images)
            metrics |= {f"{head}_{name}": pooled[name] for name in ("iou", "f1")}
    metrics |= mean_parts(parts, LOSS_PARTS)
    return {name: value for name, value in metrics.items() if np.isfinite(value)}


class GammaTrainer(LossPartsTrainer):
    """A `Trainer` that takes a random subset in each epoch and evaluates verdicts and both masks.

    Logged beside `loss`: `loss_classification`, `loss_ai`, `loss_manipulation` of Eq. 6, unweighted means since the
    last log, over all processes. Evaluated: see `detection_metrics`; 12 numbers an image are kept.

    The decoders normalise over the batch. Several processes share their statistics (`synchronized_norm.py`), and equal
    one process with the same images in a step. Gradient accumulation does not: every part of a step is normalised by
    itself, so it equals training on smaller batches with a rarer update, not one large batch.

    Args:
        epoch_fraction: Share of the images that an epoch takes.
        *args: As `Trainer`.
        **kwargs: As `Trainer`; the training set is a `GammaDataset`.
    """

    loss_parts = LOSS_PARTS

    def __init__(self, *args: Any, epoch_fraction: float = 1.0, **kwargs: Any):
        kwargs.setdefault("compute_metrics", detection_metrics)
        super().__init__(*args, **kwargs)
        self.epoch_fraction = epoch_fraction

    def _get_train_sampler(self, train_dataset: Any = None) -> torch.utils.data.Sampler:
        dataset = self.train_dataset if train_dataset is None else train_dataset
        batch_size = self.get_total_train_batch_size(self.args)
        return EpochSubsetSampler(dataset, self.epoch_fraction, batch_size, self.args.seed)

    def image_results(
        self, outputs: Any, inputs: dict[str, torch.Tensor], config: Any
    ) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        """Fake probability (B,) and the counts (B, 4) of both masks; zeros for a head that does not exist."""
        scores = outputs.logits.float().softmax(dim=-1)[:, 1]
        counts = []
        for head in HEADS:
            logits, mask = outputs.get(f"{head}_logits"), inputs[f"{head}_mask"]
            if logits is None:
                counts.append(scores.new_zeros((len(scores), 4), dtype=torch.int64))
                continue
            logits = F.interpolate(logits.float(), size=mask.shape[-2:], mode="bilinear", align_corners=False)
            counts.append(image_counts(logits, mask, config.mask_threshold, config.label_ignore_index))
        return (scores, *counts), inputs["labels"]
