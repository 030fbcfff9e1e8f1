"""Pixel counts of a batch on the device of the model, and the scores of counts that are pooled over a set."""

import numpy as np
import torch
from numpy.typing import ArrayLike


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


def pooled_scores(counts: ArrayLike) -> dict[str, float]:
    """Precision, recall, F1 and IoU of the forged class; a ratio whose denominator is 0 is 0.

    Args:
        counts: (N, 4) as `image_counts` gives them; summed over the images first.
    """
    tp, fp, fn, _ = (float(column) for column in np.asarray(counts, dtype=np.int64).sum(axis=0))
    return {
        "precision": tp / max(tp + fp, 1.0),
        "recall": tp / max(tp + fn, 1.0),
        "f1": 2 * tp / max(2 * tp + fp + fn, 1.0),
        "iou": tp / max(tp + fp + fn, 1.0),
    }
