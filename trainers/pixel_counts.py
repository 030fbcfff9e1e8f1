"""Pixel counts of a batch on the device of the model, and the scores of counts that are pooled over a set."""

from collections.abc import Sequence

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


def class_counts(logits: torch.Tensor, labels: torch.Tensor, ignore_index: int) -> torch.Tensor:
    """Confusion matrix of each image, counted on the device the model runs on.

    Args:
        logits: (B, C, h, w).
        labels: (B, h, w) classes 0 to C - 1, or `ignore_index` = does not count.
        ignore_index: Label of pixels that do not count.

    Returns:
        (B, C, C) int64: pixels by true class (rows) and predicted class (columns).
    """
    images, classes = logits.shape[:2]
    image = torch.arange(images, device=labels.device)[:, None, None]
    cells = (image * classes + labels) * classes + logits.argmax(dim=1)
    counts = torch.bincount(cells[labels != ignore_index], minlength=images * classes**2)
    return counts.reshape(images, classes, classes)


def pooled_class_scores(counts: ArrayLike, names: Sequence[str]) -> dict[str, float]:
    """Pixel accuracy over all classes, and the IoU of each class but the background, which is class 0.

    Args:
        counts: (N, C, C) as `class_counts` gives them; summed over the images first.
        names: Of the classes 1 to C - 1.

    Returns:
        `pixel_accuracy`, `mean_iou` and `iou_<name>`. A class that no pixel is of or is called has no IoU and does not
        enter the mean; what has no value is left out.
    """
    matrix = np.asarray(counts, dtype=np.int64).sum(axis=0)
    correct, union = np.diag(matrix), matrix.sum(axis=0) + matrix.sum(axis=1) - np.diag(matrix)
    ious = {name: correct[i] / union[i] for i, name in enumerate(names, start=1) if union[i]}
    scores = {"pixel_accuracy": float(correct.sum() / matrix.sum())} if matrix.any() else {}
    if ious:
        scores["mean_iou"] = float(np.mean(list(ious.values())))
    return scores | {f"iou_{name}": float(iou) for name, iou in ious.items()}
