"""The confusion matrix of class maps: how many pixels of each true class were given to each class."""

import numpy as np
from numpy.typing import NDArray

from .counts import IGNORE_INDEX

# What fits the cache of a processor core; the whole of a large image takes three times as long.
PIXELS_AT_ONCE = 1 << 16


def class_confusion(
    prediction: NDArray[np.integer],
    target: NDArray[np.integer],
    num_classes: int,
    ignore_index: int = IGNORE_INDEX,
) -> NDArray[np.int64]:
    """Count the pixels of one image by true and predicted class; the matrices of images add up.

    Args:
        prediction: (H, W) ids of classes, 0 = authentic.
        target: (H, W) ids of classes; `ignore_index` is counted nowhere.
        num_classes: number of classes, 0 among them.
        ignore_index: value of target pixels that do not count.

    Returns:
        (num_classes, num_classes) int64, rows are true classes, columns predicted ones.

    Raises:
        ValueError: the shapes differ, or an id is not below `num_classes`.
    """
    if prediction.shape != target.shape:
        raise ValueError(
            f"the class map must have the size of the mask, got {prediction.shape} and {target.shape}; "
            "resize it with nearest neighbour"
        )
    kept = target != ignore_index
    if not kept.all():
        prediction, target = prediction[kept], target[kept]
    for ids, name in ((prediction, "predicted"), (target, "true")):
        if ids.size and not 0 <= ids.min() <= ids.max() < num_classes:
            raise ValueError(
                f"expected {name} classes 0 to {num_classes - 1}, got {np.unique(ids)[:12].tolist()}; the mask and "
                "the checkpoint must name the same editors (id2editor)"
            )
    counts = np.zeros(num_classes**2, dtype=np.int64)
    wanted, called = target.ravel(), prediction.ravel()
    for start in range(0, wanted.size, PIXELS_AT_ONCE):
        places = wanted[start : start + PIXELS_AT_ONCE].astype(np.intp) * num_classes
        places += called[start : start + PIXELS_AT_ONCE]
        counts += np.bincount(places, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def row_shares(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Divide each row by its sum: of the pixels of a true class, the share given to each class; NaN without pixels."""
    total = confusion.sum(axis=-1, keepdims=True)
    shares = np.full(confusion.shape, np.nan)
    return np.divide(confusion, total, out=shares, where=total > 0)
