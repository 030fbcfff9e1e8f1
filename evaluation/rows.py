"""From a result to rows of numbers; each states its reduction, classes, empty rule, threshold and number of images."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from .estimates import UNKNOWN, Estimate, FloatArray, interval, mean_estimate
from .histograms import auc_values, histogram_auc, polarised_auc
from .intervals import RESAMPLES
from .measures import best_values
from .protocol import AVERAGE
from .protocols_iclnet import SUBSETS, paper_value
from .ranking import average_precision, roc_auc
from .results import EvaluationResult, ImageRecord
from .rules import Metric, SegmentationRule
from .segmentation import aggregate, count_rows, row_values

ALL = "all"
CUSTOM = "custom"
ICLNET = "iclnet"
IMAGE_METRICS: tuple[Metric, ...] = ("accuracy", "f1", "precision", "recall")


@dataclass(frozen=True)
class Row:
    """One reported number and everything that is needed to compare it with another.

    Args:
        protocol: the preset it belongs to, or `custom`.
        source: a subset, `all` (every image), or `average` (unweighted mean over the subsets, as papers print it).
        metric: `pixel_...`, `image_...` or, of reasons in words, `text_...`.
        value: 0 to 1 (MCC: -1 to 1); None where it is not defined, such as an AUC of one class.
        n: number of images that take part; of `average` the sum over the subsets, which may share some.
        reduction: `image`, `batch` or `pooled`.
        classes: `forged` or `macro`; of a classifier's image-level numbers `fake`; of class maps (`class_rows`) also
            `all`, `editors` or the name of an editor.
        empty_rule: what images without a forged pixel do: `skip`, `zero` or `one`; `none` for image-level numbers.
        threshold: a number, `best` or `soft`; None for threshold-free numbers.
        polarity: `normal`, `inverted` or `permute`.
        border_ignore: (erode, dilate) in pixels, or None.
        perturbation: what was done to the images first.
        low: lower bound of the 95 % bootstrap interval, None where there is none.
        high: its upper bound.
        paper_value: what the paper reports, 0 to 1, where it does.
        tolerance: of a boundary F1: `2px`, or `0.75%` of the diagonal; None for all others.
        model: name of the checkpoint, where several are compared.
        unparsed: of answers in words without a verdict, or without reasons: `wrong`, they count 0, or `drop`, they are
            left out; None for all other numbers.
        setting: of several runs of sampled answers: `round 3`, `temperature 0.2`; None for all others.
    """

    protocol: str
    source: str
    metric: str
    value: float | None
    n: int
    reduction: str
    classes: str
    empty_rule: str
    threshold: float | str | None
    polarity: str = "normal"
    border_ignore: tuple[int, int] | None = None
    perturbation: str = "none"
    low: float | None = None
    high: float | None = None
    paper_value: float | None = None
    tolerance: str | None = None
    model: str | None = None
    unparsed: str | None = None
    setting: str | None = None


# Rows of some protocols say more.
RowType = TypeVar("RowType", bound=Row)


def result_rows(
    result: EvaluationResult,
    protocol: str = CUSTOM,
    *,
    forged_threshold: float = 0.5,
    resamples: int = RESAMPLES,
    groups: Mapping[str, Sequence[str]] | None = None,
) -> list[Row]:
    """Compute every row of an evaluation: each subset, all images, and the mean over the subsets.

    Args:
        result: what `Evaluator.run` returned.
        protocol: name of the rows; with `iclnet`, subsets named as in the paper get its values beside theirs.
        forged_threshold: score from which an image is called forged, 0 to 1.
        resamples: draws of the bootstrap intervals; 0 for none.
        groups: name of a subset -> the sources that it is made of, which may share some; None: each source is one.
    """
    groups = groups or {source: [source] for source in result.sources}
    sources = dict(groups)
    if len(groups) > 1:
        sources[ALL] = sorted({name for names in groups.values() for name in names})
    rows = []
    for source, names in sources.items():
        records = [record for record in result.records if record.source in names]
        blank = Row(protocol, source, "", None, 0, "pooled", "forged", "none", None)
        blank = replace(blank, perturbation=result.perturbation.name)
        for rule in result.rules:
            rows += _pixel_rows(result, records, list(names), rule, resamples, blank)
        scores = np.array([record.score for record in records])
        rows += image_rows(records, scores >= forged_threshold, forged_threshold, resamples, blank)
    rows += _average_rows(rows, list(groups))
    return [_with_paper_value(row, result.sources) for row in rows] if protocol == ICLNET else rows


def _pixel_rows(
    result: EvaluationResult,
    records: list[ImageRecord],
    names: list[str],
    rule: SegmentationRule,
    resamples: int,
    blank: Row,
) -> list[Row]:
    measured = [record for record in records if record.pixels is not None]
    kept = [record for record in measured if record.forged or rule.authentic != "skip"]
    if rule.threshold == "best":
        estimates = _best_estimates(result, kept, names, rule, resamples)
    else:
        estimates = _count_estimates(measured, rule, resamples)
    if "auc" in rule.metrics:
        estimates["auc"] = _pixel_auc(result, kept, names, rule, resamples)
    blank = replace(
        blank,
        reduction=rule.reduction,
        empty_rule=rule.authentic,
        polarity=rule.polarity,
        border_ignore=rule.border_ignore,
    )
    rows = []
    for name in rule.metrics:
        row = filled(blank, f"pixel_{name}", len(kept), estimates[name] if kept else UNKNOWN)
        rows.append(row if name == "auc" else replace(row, classes=rule.average, threshold=rule.threshold))
    return rows


def _best_estimates(
    result: EvaluationResult, kept: list[ImageRecord], names: list[str], rule: SegmentationRule, resamples: int
) -> dict[str, Estimate]:
    if rule.reduction == "image":
        best = [record.pixels.best[rule] for record in kept if record.pixels is not None]
        return {name: mean_estimate(np.array([values[name] for values in best]), resamples) for name in rule.metrics}
    histogram = result.pooled_histogram(rule.border_ignore, names, rule.authentic == "skip")
    return {name: (value, math.nan, math.nan) for name, value in best_values(histogram, rule).items()}


def _count_estimates(records: list[ImageRecord], rule: SegmentationRule, resamples: int) -> dict[str, Estimate]:
    key = (rule.threshold, rule.border_ignore)
    measured = [record.pixels.counts[key] for record in records if record.pixels is not None]
    counts = np.array(measured, dtype=np.float64).reshape(-1, 4)
    rows = count_rows(counts, rule, authentic=np.array([not record.forged for record in records], dtype=bool))
    if rule.reduction != "pooled":
        return {name: mean_estimate(values, resamples) for name, values in row_values(rows, rule).items()}
    return {name: _pooled(rows, replace(rule, metrics=(name,)), resamples) for name in rule.metrics if name != "auc"}


def _pixel_auc(
    result: EvaluationResult, kept: list[ImageRecord], names: list[str], rule: SegmentationRule, resamples: int
) -> Estimate:
    if rule.reduction != "image":
        histogram = result.pooled_histogram(rule.border_ignore, names, rule.authentic == "skip")
        return polarised_auc(histogram_auc(histogram), rule).item(), math.nan, math.nan
    values = [record.pixels.auc[rule.border_ignore] for record in kept if record.pixels is not None]
    return mean_estimate(auc_values(values, rule), resamples)


def image_rows(
    records: Sequence[ImageRecord], called: NDArray[np.bool_], threshold: float, resamples: int, blank: Row
) -> list[Row]:
    """Compute the rows of images as a whole.

    Args:
        records: the images.
        called: (N,) those that are called forged.
        threshold: the score from which they are.
        resamples: draws of the bootstrap intervals; 0 for none.
        blank: protocol, subset and perturbation of the rows.
    """
    scores = np.array([record.score for record in records])
    forged = np.array([record.positive for record in records], dtype=bool)
    if any(record.label is not None for record in records):
        blank = replace(blank, classes="fake")
    rows = []
    for name, statistic in (("auc", roc_auc), ("average_precision", average_precision)):
        estimate = _ranking(statistic, scores, forged, resamples) if 0 < forged.sum() < len(forged) else UNKNOWN
        rows.append(filled(blank, f"image_{name}", len(records), estimate))
    blank = replace(blank, threshold=threshold)
    counts = np.stack((called & forged, called & ~forged, ~called & forged, ~called & ~forged), axis=1).astype(float)
    for name in IMAGE_METRICS:
        # Of one class alone, only the accuracy says anything.
        defined = name == "accuracy" or 0 < forged.sum() < len(forged)
        rule = SegmentationRule("pooled", authentic="zero", metrics=(name,))
        estimate = _pooled(counts, rule, resamples) if defined else UNKNOWN
        rows.append(filled(blank, f"image_{name}", len(records), estimate))
    alarms = called[~forged].astype(float)
    rows.append(filled(blank, "image_false_alarm_rate", len(alarms), mean_estimate(alarms, resamples)))
    return rows


def _average_rows(rows: list[Row], sources: list[str]) -> list[Row]:
    """Average each number over the subsets that have it, when there are several."""
    if len(sources) < 2:
        return []
    groups: dict[Row, list[Row]] = {}
    for row in rows:
        if row.source != ALL and row.value is not None:
            key = replace(row, source=AVERAGE, value=None, n=0, low=None, high=None)
            groups.setdefault(key, []).append(row)
    return [
        replace(key, value=float(np.mean([row.value for row in group])), n=sum(row.n for row in group))
        for key, group in groups.items()
    ]


def _with_paper_value(row: Row, sources: list[str]) -> Row:
    """Attach the paper's number to a subset named as in the paper, and to the average when all four are there."""
    names = {_slug(source) for source in sources}
    if not row.metric.startswith("pixel_") or (row.source == AVERAGE and names != set(SUBSETS)):
        return row
    return replace(row, paper_value=paper_value(_slug(row.source), row.metric, row.perturbation))


def _slug(source: str) -> str:
    return source.lower().replace("_", "-").replace(" ", "-")


def filled(blank: RowType, metric: str, n: int, estimate: Estimate) -> RowType:
    """Enter a number with its interval; one that is not defined becomes None."""
    value, low, high = (None if math.isnan(number) else float(number) for number in estimate)
    return replace(blank, metric=metric, n=n, value=value, low=low, high=high)


def _pooled(rows: FloatArray, rule: SegmentationRule, resamples: int) -> Estimate:
    (name,) = rule.metrics
    value = aggregate(rows, rule)[name]
    return value, *interval(lambda draws: row_values(rows[draws].sum(axis=1), rule)[name], len(rows), resamples)


def _ranking(
    statistic: Callable[[FloatArray, NDArray[np.bool_]], float],
    scores: FloatArray,
    forged: NDArray[np.bool_],
    resamples: int,
) -> Estimate:
    def of_draws(draws: NDArray[np.int64]) -> FloatArray:
        return np.array([statistic(scores[index], forged[index]) for index in draws])

    return statistic(scores, forged), *interval(of_draws, len(scores), resamples)
