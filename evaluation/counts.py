"""Pixel confusion counts, the table from which every segmentation metric of this package is computed."""

import cv2
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
    counts = np.zeros((len(predictions), 4), dtype=np.int64)
    for index, (predicted, wanted) in enumerate(zip(predictions, targets, strict=True)):
        called, forged = _sum_binary(predicted, validate), _sum_binary(wanted, validate)
        if called is None:
            raise ValueError(_wrong_values(predicted, "prediction", "0 and 1"))
        if forged is None:
            predicted, wanted = _drop_ignored(predicted, wanted, ignore_index)
            called, forged = int(predicted.sum()), int(wanted.sum())
        # OpenCV reads each mask once and writes nothing, which is what bounds this loop: at 1024 x 1024 it takes
        # about 0.6 of the time of numpy's logical_and and count_nonzero.
        differing = int(cv2.norm(predicted, wanted, cv2.NORM_L1)) if predicted.size else 0
        both = (called + forged - differing) // 2
        counts[index] = both, called - both, forged - both, predicted.size - called - forged + both
    return counts


def soft_counts(
    probabilities: NDArray[np.floating], target: NDArray[np.uint8], ignore_index: int = IGNORE_INDEX
) -> NDArray[np.float64]:
    """Count a probability p as p forged and 1 - p authentic pixels, without a threshold.

    Args:
        probabilities: (H, W) from 0 to 1.
        target: (H, W), 1 = forged, 0 = authentic, `ignore_index` = counted nowhere.
        ignore_index: value of the pixels to leave out.

    Returns:
        (4,) float64: tp, fp, fn, tn in pixels.
    """
    forged = float(probabilities[target == 1].sum(dtype=np.float64))
    kept = target != ignore_index
    called = float(probabilities[kept].sum(dtype=np.float64))
    wanted = float(np.count_nonzero(target == 1))
    size = float(np.count_nonzero(kept))
    return np.array([forged, called - forged, wanted - forged, size - wanted - called + forged])


def _as_masks(values: ArrayLike, name: str) -> NDArray[np.uint8]:
    """Return contiguous (N, H, W) of one byte a pixel, without a copy where the input is that already."""
    array = np.asarray(values)
    if array.ndim not in (2, 3):
        raise ValueError(f"{name} must be (H, W) or (N, H, W), got {array.ndim} axes of shape {array.shape}")
    if array.dtype.kind not in "biu":
        raise ValueError(
            f"{name} must be bool or integer, got {array.dtype}; apply a threshold to probabilities first"
        )
    if array.dtype.itemsize != 1:
        if array.size and (array.min() < 0 or array.max() > np.iinfo(np.uint8).max):
            raise ValueError(f"{name} must hold 0, 1 or 255, got values {array.min()} to {array.max()}")
        array = array.astype(np.uint8)
    array = np.ascontiguousarray(array).view(np.uint8)
    return array if array.ndim == 3 else array[None]


def _sum_binary(mask: NDArray[np.uint8], validate: bool) -> int | None:
    """Sum a mask; None if it holds values above 1, for then the sum exceeds the number of non-zero pixels."""
    if mask.size == 0:
        return 0
    nonzero = cv2.countNonZero(mask)
    return None if validate and int(cv2.norm(mask, cv2.NORM_L1)) != nonzero else nonzero


def _drop_ignored(
    predicted: NDArray[np.uint8], wanted: NDArray[np.uint8], ignore_index: int | None
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Keep the pixels that count, as two flat arrays; raise if the target holds other values than it may."""
    if ignore_index is None:
        raise ValueError(_wrong_values(wanted, "target", "0 and 1"))
    keep = wanted != ignore_index
    predicted, wanted = predicted[keep], wanted[keep]
    if wanted.size and wanted.max() > 1:
        raise ValueError(_wrong_values(wanted, "target", f"0, 1 and {ignore_index} (ignored)"))
    return predicted, wanted


def _wrong_values(mask: NDArray[np.uint8], name: str, allowed: str) -> str:
    return f"{name} must hold {allowed}, got {np.unique(mask)[:8].tolist()}; for 0/255 masks pass `mask > 127`"
