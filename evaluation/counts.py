"""Pixel confusion counts, the table from which every segmentation metric of this package is computed."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Columns of every count table.
TP, FP, FN, TN = range(4)
IGNORE_INDEX = 255


def confusion_counts(
    prediction: ArrayLike, target: ArrayLike, ignore_index: int | None = IGNORE_INDEX, *, validate: bool = True
) -> NDArray[np.int64]:
    """Count true and false positives and negatives of binary masks, image by image.

    Args:
        prediction: (N, H, W) or (H, W), bool or integer, 1 = pixel called forged, 0 = authentic.
        target: same shape, 1 = forged pixel, 0 = authentic, `ignore_index` = counted nowhere.
        ignore_index: value of ignored target pixels, or None when there are none.
        validate: read the values once to reject anything but 0, 1 and `ignore_index`. Without it the masks must
            hold 0 and 1 only (no ignored pixels), and other values give meaningless counts.

    Returns:
        (N, 4) int64, columns tp, fp, fn, tn in pixels; N = 1 for (H, W) masks.

    Raises:
        ValueError: shapes differ, are not 2-D or 3-D, or a mask holds other values.
    """
    predictions, targets = _as_masks(prediction, "prediction"), _as_masks(target, "target")
    if predictions.shape != targets.shape:
        raise ValueError(
            f"prediction and target must have one shape, got {predictions.shape} and {targets.shape}; "
            "resize the prediction to the size of the mask first"
        )
    counts = np.empty((len(predictions), 4), dtype=np.int64)
    scratch = np.empty(predictions.shape[1:], dtype=bool)
    for index, (predicted, wanted) in enumerate(zip(predictions, targets, strict=True)):
        if validate:
            _require_values(predicted, "prediction", None)
            if _require_values(wanted, "target", ignore_index):
                counts[index] = _count_valid(predicted, wanted, ignore_index)
                continue
        counts[index] = _count(predicted.view(bool), wanted.view(bool), scratch)
    return counts


def _as_masks(values: ArrayLike, name: str) -> NDArray[np.uint8]:
    """Return (N, H, W) of one byte a pixel without copying bool and uint8 input."""
    array = np.asarray(values)
    if array.ndim not in (2, 3):
        raise ValueError(f"{name} must be (H, W) or (N, H, W), got {array.ndim} axes of shape {array.shape}")
    if array.dtype.kind not in "biu":
        raise ValueError(f"{name} must be bool or integer, got {array.dtype}; apply a threshold to probabilities first")
    if array.dtype.itemsize != 1:
        if array.size and (array.min() < 0 or array.max() > np.iinfo(np.uint8).max):
            raise ValueError(f"{name} must hold 0, 1 or 255, got values {array.min()} to {array.max()}")
        array = array.astype(np.uint8)
    array = array.view(np.uint8)
    return array if array.ndim == 3 else array[None]


def _require_values(mask: NDArray[np.uint8], name: str, ignore_index: int | None) -> bool:
    """Check one mask; return True if it holds ignored pixels."""
    if mask.size == 0 or mask.max() <= 1:
        return False
    if ignore_index is not None and bool(((mask <= 1) | (mask == ignore_index)).all()):
        return True
    allowed = "0 and 1" if ignore_index is None else f"0, 1 and {ignore_index} (ignored)"
    raise ValueError(f"{name} must hold {allowed}, got {np.unique(mask)[:8].tolist()}; for 0/255 masks pass mask > 127")


def _count(predicted: NDArray[np.bool_], wanted: NDArray[np.bool_], scratch: NDArray[np.bool_]) -> tuple[int, ...]:
    both = int(np.count_nonzero(np.logical_and(predicted, wanted, out=scratch)))
    called, forged = int(np.count_nonzero(predicted)), int(np.count_nonzero(wanted))
    return both, called - both, forged - both, predicted.size - called - forged + both


def _count_valid(predicted: NDArray[np.uint8], wanted: NDArray[np.uint8], ignore_index: int | None) -> tuple[int, ...]:
    valid = wanted != ignore_index
    return _count(predicted[valid].view(bool), wanted[valid].view(bool), np.empty(int(valid.sum()), dtype=bool))
