"""From class maps to rows of numbers: pixel accuracy, IoU and boundary F1, and images called edited by their area."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .class_maps import REDUCTIONS, ClassRule, Reduction
from .class_metrics import ClassTable
from .estimates import Estimate, interval, mean_estimate
from .intervals import RESAMPLES
from .ranking import average_precision
from .results import EvaluationResult, ImageRecord
from .rows import ALL, Row, filled, image_rows

# `classes` of the rows: every class, the mean over the editors, and the one class of binary segmentation.
EVERY_CLASS, EDITORS, FORGED = "all", "editors", "forged"
BOUNDARY_F1 = "boundary_f1"


def named_groups(result: EvaluationResult, groups: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Sources of each subset that has an image, and of all of them where there are several.

    Args:
        result: what was measured.
        groups: subset -> its sources; none stand for every source.
    """
    found = {name: list(sources) or result.sources for name, sources in groups.items()}
    found = {name: sources for name, sources in found.items() if set(sources) & set(result.sources)}
    if len(found) > 1:
        found[ALL] = sorted({source for sources in found.values() for source in sources})
    return found


def class_rows(
    result: EvaluationResult,
    rule: ClassRule,
    protocol: str,
    groups: Mapping[str, Sequence[str]],
    resamples: int = RESAMPLES,
) -> list[Row]:
    """Compute the pixel rows of class maps.

    Args:
        result: what `ClassMapEvaluator.run` returned.
        rule: the rule that it measured under.
        protocol: name of the rows.
        groups: subset -> its sources; none stand for every source.
        resamples: draws of the bootstrap intervals; 0 for none.

    Returns:
        For each subset, by pooled counts and as a mean over images: accuracy of all and of the edited pixels, IoU and
        boundary F1 over the editors, and both for each editor.
    """
    rows = []
    for source, sources in named_groups(result, groups).items():
        own = [record.classes for record in result.records if record.source in sources and record.classes is not None]
        table = ClassTable(own, rule)
        blank = Row(protocol, source, "", None, 0, "pooled", "forged", rule.authentic, None)
        blank = replace(blank, perturbation=result.perturbation.name)
        for reduction in REDUCTIONS:
            rows += _table_rows(table, reduction, resamples, replace(blank, reduction=reduction))
    return rows


def area_rows(
    result: EvaluationResult,
    protocol: str,
    groups: Mapping[str, Sequence[str]],
    *,
    area_threshold: float,
    score_threshold: float = 0.5,
    resamples: int = RESAMPLES,
) -> list[Row]:
    """Compute the rows of images as a whole: edited or not.

    A segmentation model calls an image edited if more than `area_threshold` of its pixels are (section 4.2), and that
    share is its score. A classifier calls it fake from a score of `score_threshold` on. The paper's mAP is read as the
    average precision of the edited images; `macro` is the mean of theirs and that of the unedited ones.

    Args:
        result: what `ClassMapEvaluator.run` returned.
        protocol: name of the rows.
        groups: subset -> its sources; none stand for every source.
        area_threshold: share of the pixels, 0 to below 1.
        score_threshold: of a classifier, 0 to 1.
        resamples: draws of the bootstrap intervals; 0 for none.
    """
    rows = []
    for source, sources in named_groups(result, groups).items():
        records = [record for record in result.records if record.source in sources]
        scores = np.array([record.score for record in records])
        by_area = all(record.label is None for record in records)
        threshold = area_threshold if by_area else score_threshold
        called = scores > threshold if by_area else scores >= threshold
        blank = Row(protocol, source, "", None, 0, "pooled", FORGED, "none", None)
        blank = replace(blank, perturbation=result.perturbation.name)
        rows += image_rows(records, called, threshold, resamples, blank)
        rows.append(_macro_precision(records, scores, resamples, blank))
    return rows


def pooled_confusions(
    result: EvaluationResult, rule: ClassRule, groups: Mapping[str, Sequence[str]]
) -> dict[str, NDArray[np.int64]]:
    """Add up the confusion matrix (C, C) of each subset; rows are true classes."""
    sums = {}
    for source, sources in named_groups(result, groups).items():
        own = [record.classes for record in result.records if record.source in sources and record.classes is not None]
        sums[source] = ClassTable(own, rule).confusion
    return sums


def _table_rows(table: ClassTable, reduction: Reduction, resamples: int, blank: Row) -> list[Row]:
    rule = table.rule
    tolerance = str(rule.tolerance)
    editors = FORGED if rule.is_binary else EDITORS
    wanted: list[tuple[str, str, int | None]] = [
        ("accuracy", EVERY_CLASS, None),
        ("edited_accuracy", editors, None),
        ("iou", editors, None),
        (BOUNDARY_F1, editors, None),
    ]
    if not rule.is_binary:
        for metric in ("iou", BOUNDARY_F1):
            wanted += [(metric, name, one) for one, name in enumerate(rule.classes) if one]
    rows = []
    for metric, classes, editor in wanted:
        count, estimate = _estimate(table, reduction, metric, editor, resamples)
        # the accuracy of the edited pixels is an accuracy too; `classes` tells it from that of all
        name = f"pixel_{metric.removeprefix('edited_')}"
        row = replace(blank, classes=classes, tolerance=tolerance if metric == BOUNDARY_F1 else None)
        rows.append(filled(row, name, count, estimate))
    return rows


def _estimate(
    table: ClassTable, reduction: Reduction, metric: str, editor: int | None, resamples: int
) -> tuple[int, Estimate]:
    """Number of images that take part, and the value with its interval."""
    values = table.image_values(metric, editor)
    known = ~np.isnan(values)
    if reduction == "image" or not known.any():
        return int(known.sum()), mean_estimate(values[known], resamples)

    def of_draws(draws: NDArray[np.int64]) -> NDArray[np.float64]:
        weights = np.array([np.bincount(draw, minlength=len(table)) for draw in draws], dtype=np.float64)
        return table.pooled_values(metric, editor, weights)

    value = table.pooled_values(metric, editor).item()
    return int(known.sum()), (value, *interval(of_draws, len(table), resamples))


def _macro_precision(records: Sequence[ImageRecord], scores: NDArray, resamples: int, blank: Row) -> Row:
    """Mean of the average precisions of edited and of unedited images."""
    edited = np.array([record.positive for record in records], dtype=bool)

    def of_draws(draws: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.array([_mean_precision(scores[index], edited[index]) for index in draws])

    estimate = (_mean_precision(scores, edited), *interval(of_draws, len(scores), resamples))
    return filled(replace(blank, classes="macro"), "image_average_precision", len(scores), estimate)


def _mean_precision(scores: NDArray, edited: NDArray[np.bool_]) -> float:
    if not 0 < edited.sum() < len(edited):
        return math.nan
    return (average_precision(scores, edited) + average_precision(-scores, ~edited)) / 2
