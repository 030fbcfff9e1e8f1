"""Precision, recall, F1, IoU, accuracy and MCC from the table of per-image pixel counts, under any published rule."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .counts import FN, FP, TN, TP
from .rules import SegmentationRule

FloatArray = NDArray[np.float64]
# The same counts when the prediction is inverted, and when the authentic class takes the place of the forged one.
_INVERTED = [FN, TN, TP, FP]
_AUTHENTIC_CLASS = [TN, FN, FP, TP]


def segmentation_metrics(
    counts: ArrayLike,
    rule: SegmentationRule,
    *,
    groups: ArrayLike | None = None,
    authentic: ArrayLike | None = None,
) -> dict[str, float]:
    """Compute the metrics of a rule from per-image counts.

    Args:
        counts: (N, 4) of tp, fp, fn, tn as `confusion_counts` gives them, taken at the rule's threshold and border.
        rule: which numbers, and how they are averaged. `auc` is skipped: it needs scores, not counts.
        groups: (N,) batch of each image for the reduction `batch`; default: consecutive `rule.batch_size` images.
        authentic: (N,) bool, images without a forged pixel. Default: tp + fn is 0, which differs only where an
            ignored border has swallowed a small forged region.

    Returns:
        Metric name to value, 0 to 1 (MCC: -1 to 1); NaN when no image is left to score.

    Raises:
        ValueError: counts are not (N, 4), or groups or authentic are not (N,).
    """
    return aggregate(count_rows(counts, rule, groups=groups, authentic=authentic), rule)


def count_rows(
    counts: ArrayLike,
    rule: SegmentationRule,
    *,
    groups: ArrayLike | None = None,
    authentic: ArrayLike | None = None,
) -> FloatArray:
    """Return the rows a rule averages: (images kept, 4), or (batches, 4) for the reduction `batch`.

    The arguments are those of `segmentation_metrics`. These rows are the units that a bootstrap draws.
    """
    table = np.asarray(counts, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] != 4:
        raise ValueError(f"counts must be (N, 4) of tp, fp, fn, tn, got shape {table.shape}")
    if authentic is None:
        authentic = table[:, TP] + table[:, FN] == 0
    without_forgery = _per_image(authentic, len(table), "authentic").astype(bool)
    keep = ~without_forgery if rule.authentic == "skip" else np.ones(len(table), dtype=bool)
    if rule.reduction != "batch":
        return table[keep]
    batches = np.arange(len(table)) // rule.batch_size if groups is None else _per_image(groups, len(table), "groups")
    names, index = np.unique(batches[keep], return_inverse=True)
    summed = np.zeros((len(names), 4))
    np.add.at(summed, index, table[keep])
    return summed


def aggregate(rows: FloatArray, rule: SegmentationRule) -> dict[str, float]:
    """Average the rows of `count_rows` (image, batch) or sum them first (pooled)."""
    if rule.reduction == "pooled" and len(rows):
        rows = rows.sum(axis=0, keepdims=True)
    return {name: float(values.mean()) if len(values) else np.nan for name, values in row_values(rows, rule).items()}


def row_values(rows: FloatArray, rule: SegmentationRule) -> dict[str, FloatArray]:
    """Compute each metric of each row of counts on its own: (R, 4) to metric name -> (R,)."""
    names = [metric for metric in rule.metrics if metric != "auc"]
    normal: dict[str, FloatArray] = {name: _value(rows, name, rule) for name in names}
    if rule.polarity == "normal":
        return normal
    inverted: dict[str, FloatArray] = {name: _value(rows[:, _INVERTED], name, rule) for name in names}
    if rule.polarity == "inverted":
        return inverted
    return {name: np.maximum(normal[name], inverted[name]) for name in names}


def _per_image(values: ArrayLike, size: int, name: str) -> NDArray:
    array = np.asarray(values)
    if array.shape != (size,):
        raise ValueError(f"{name} must hold one value an image, shape ({size},), got {array.shape}")
    return array


def _value(rows: FloatArray, name: str, rule: SegmentationRule) -> FloatArray:
    forged = _class_value(rows, name, rule)
    if rule.average == "forged":
        return forged
    return (forged + _class_value(rows[:, _AUTHENTIC_CLASS], name, rule)) / 2


def _class_value(rows: FloatArray, name: str, rule: SegmentationRule) -> FloatArray:
    tp, fp, fn, tn = rows.T
    match name:
        case "precision":
            value = _ratio(tp, tp + fp, rule.epsilon)
        case "recall":
            value = _ratio(tp, tp + fn, rule.epsilon)
        case "f1" if rule.f1_from == "precision_recall":
            precision, recall = _ratio(tp, tp + fp, rule.epsilon), _ratio(tp, tp + fn, rule.epsilon)
            value = _ratio(2 * precision * recall, precision + recall, rule.epsilon)
        case "f1":
            value = _ratio(2 * tp, 2 * tp + fp + fn, rule.epsilon)
        case "iou":
            value = _ratio(tp, tp + fp + fn, rule.epsilon)
        case "accuracy":
            return _ratio(tp + tn, tp + fp + fn + tn, rule.epsilon)
        case _:
            value = _ratio(tp * tn - fp * fn, np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)), rule.epsilon)
    if rule.authentic == "one" and name in rule.one_for:
        value = np.where(tp + fp + fn == 0, 1.0, value)
    return value


def _ratio(numerator: FloatArray, denominator: FloatArray, epsilon: float) -> FloatArray:
    return np.divide(numerator, denominator + epsilon, out=np.zeros_like(numerator), where=denominator + epsilon > 0)
