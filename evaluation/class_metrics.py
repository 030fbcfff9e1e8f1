"""Accuracy, IoU and boundary F1 of class maps from the counts of images, the authentic class left out.

DiffSeg30k reports "pixel-wise accuracy", "mask IoU (mIoU)" and "boundary F1", the last two without the background
(section 4.1). Whether they are means over images or of pooled counts is not given; both are here.
  * `pooled`: the counts of all images are added, then each class has one value;
  * `image`: each image has a value, the mean over its classes, and these are averaged.
In both, a class that neither the truth nor the prediction has is left out of the mean over classes, and one that only
one of them has counts 0.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .boundary import boundary_f1
from .class_maps import ClassMeasures, ClassRule

FloatArray = NDArray[np.float64]


def class_iou(confusion: NDArray) -> FloatArray:
    """Compute the IoU of each class.

    Args:
        confusion: (..., C, C), rows are true classes.

    Returns:
        (..., C) from 0 to 1; NaN where neither truth nor prediction has the class.
    """
    both = np.diagonal(confusion, axis1=-2, axis2=-1).astype(np.float64)
    either = confusion.sum(axis=-1) + confusion.sum(axis=-2) - both
    return np.divide(both, either, out=np.full(both.shape, np.nan), where=either > 0)


def pixel_accuracy(confusion: NDArray, *, edited_only: bool = False) -> FloatArray:
    """Compute the share of pixels that got their own class.

    Args:
        confusion: (..., C, C), rows are true classes.
        edited_only: leave out the pixels that are truly authentic.

    Returns:
        (...) from 0 to 1; NaN without a pixel.
    """
    rows = np.asarray(confusion, dtype=np.float64)[..., int(edited_only) :, :]
    right = np.diagonal(confusion, axis1=-2, axis2=-1)[..., int(edited_only) :].sum(axis=-1, dtype=np.float64)
    total = rows.sum(axis=(-2, -1))
    return np.divide(right, total, out=np.full(total.shape, np.nan), where=total > 0)


def mean_of_editors(values: FloatArray) -> FloatArray:
    """Average (..., C) values over the classes above 0, those that are NaN left out; NaN where all are."""
    editors = values[..., 1:]
    known = ~np.isnan(editors)
    count = known.sum(axis=-1)
    total = np.where(known, editors, 0).sum(axis=-1)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


class ClassTable:
    """The counts of some images, and the numbers that follow from them.

    Args:
        measures: of each image.
        rule: classes and rules; images without an edited pixel are dropped where it says `skip`.
    """

    def __init__(self, measures: Sequence[ClassMeasures], rule: ClassRule):
        count = len(rule.classes)
        confusions = np.array([one.confusion for one in measures], dtype=np.int64).reshape(-1, count, count)
        boundaries = np.array([one.boundary for one in measures], dtype=np.int64).reshape(-1, count, 4)
        kept = confusions[:, 1:].sum(axis=(1, 2)) > 0 if rule.authentic == "skip" else np.ones(len(confusions), bool)
        self.rule = rule
        self.confusions, self.boundaries = confusions[kept], boundaries[kept]

    def __len__(self) -> int:
        return len(self.confusions)

    @property
    def confusion(self) -> NDArray[np.int64]:
        """The confusion matrix of all images, (C, C)."""
        return self.confusions.sum(axis=0)

    def image_values(self, metric: str, editor: int | None = None) -> FloatArray:
        """Value of each image, (N,).

        Args:
            metric: `accuracy`, `edited_accuracy`, `iou` or `boundary_f1`.
            editor: id of one class; None: the mean over the editors. It does not concern the accuracies.

        Returns:
            0 to 1; NaN for an image that has no part in it.
        """
        values = _values(metric, self._counts(metric), editor)
        if editor is None and metric != "accuracy" and self.rule.authentic != "skip":
            authentic = self.confusions[:, 1:].sum(axis=(1, 2)) == 0
            silent = self.confusions[:, :, 1:].sum(axis=(1, 2)) == 0
            values = np.where(authentic, silent & (self.rule.authentic == "one"), values)
        return values

    def pooled_values(self, metric: str, editor: int | None = None, weights: NDArray | None = None) -> FloatArray:
        """Value of the added counts.

        Args:
            metric: as in `image_values`.
            editor: as in `image_values`.
            weights: (D, N) how often each image counts in each of D draws; None: once, in one draw.

        Returns:
            (D,) from 0 to 1, NaN where it is not defined.
        """
        counts = self._counts(metric)
        chosen = np.ones((1, len(counts))) if weights is None else weights
        values = _values(metric, np.tensordot(chosen, counts, axes=1), editor)
        if editor is None and metric != "accuracy" and len(counts):
            # nothing edited and nothing called edited: 0 / 0
            empty = {"skip": np.nan, "zero": 0.0, "one": 1.0}[self.rule.authentic]
            values = np.where(np.isnan(values), empty, values)
        return values

    def _counts(self, metric: str) -> NDArray[np.int64]:
        return self.boundaries if metric == "boundary_f1" else self.confusions


def _values(metric: str, counts: NDArray, editor: int | None) -> FloatArray:
    if metric in ("accuracy", "edited_accuracy"):
        return pixel_accuracy(counts, edited_only=metric == "edited_accuracy")
    if metric not in ("iou", "boundary_f1"):
        raise ValueError(f"expected accuracy, edited_accuracy, iou or boundary_f1, got {metric!r}")
    values = class_iou(counts) if metric == "iou" else boundary_f1(counts)
    return mean_of_editors(values) if editor is None else values[..., editor]
