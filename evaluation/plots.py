"""One chart of an evaluation: its pixel numbers by subset, or by perturbation when there are several."""

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .rows import ALL, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

METRICS = ("pixel_f1", "pixel_iou", "pixel_precision", "pixel_recall")
BAR_WIDTH = 0.8
INCHES_PER_GROUP = 0.9
SMALLEST_WIDTH = 6.0
HEIGHT = 4.0
DOTS_PER_INCH = 150


def save_plot(rows: Sequence[Row], path: str | os.PathLike) -> None:
    """Draw bars with 95 % intervals and write them as PNG, SVG or PDF, by the ending of the name.

    Of several rules, the first that has pixel numbers is drawn; the title says which one.

    Args:
        rows: rows of `result_rows`, of one or several perturbations.
        path: picture to write.

    Raises:
        ImportError: matplotlib is missing.
        ValueError: there is no pixel number to draw, or the ending is of no picture format.
        OSError: the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('charts need matplotlib: pip install "forgescope[plot]"') from error
    drawn = _first_rule(rows)
    perturbations = list(dict.fromkeys(row.perturbation for row in drawn))
    if len(perturbations) > 1:
        sources = {row.source for row in drawn}
        source = ALL if ALL in sources else drawn[0].source
        groups, drawn = perturbations, [row for row in drawn if row.source == source]
    else:
        groups = list(dict.fromkeys(row.source for row in drawn))
    figure = Figure((max(SMALLEST_WIDTH, INCHES_PER_GROUP * len(groups)), HEIGHT), layout="constrained")
    axes = figure.add_subplot()
    _draw_bars(axes, drawn, groups, "perturbation" if len(perturbations) > 1 else "source")
    rule = drawn[0]
    axes.set_title(
        f"{rule.protocol}: reduction {rule.reduction}, classes {rule.classes}, authentic images {rule.empty_rule}, "
        f"threshold {rule.threshold}",
        fontsize="small",
    )
    figure.savefig(path, dpi=DOTS_PER_INCH)


def _first_rule(rows: Sequence[Row]) -> list[Row]:
    """Keep the defined pixel numbers of the first rule."""

    def rule_of(row: Row) -> tuple:
        return row.protocol, row.reduction, row.classes, row.empty_rule, row.threshold, row.polarity, row.border_ignore

    drawable = [row for row in rows if row.metric in METRICS and row.value is not None]
    if not drawable:
        raise ValueError("there is no pixel number to draw: no image with a known forged region was scored")
    return [row for row in drawable if rule_of(row) == rule_of(drawable[0])]


def with_bounds(row: Row) -> tuple[float, float, float]:
    """Value of a row and the bounds of its interval, which are the value itself where there is none."""
    value = math.nan if row.value is None else row.value
    return value, value if row.low is None else row.low, value if row.high is None else row.high


def _draw_bars(axes: "Axes", rows: list[Row], groups: list[str], column: str) -> None:
    metrics = [metric for metric in METRICS if any(row.metric == metric for row in rows)]
    width = BAR_WIDTH / len(metrics)
    for index, metric in enumerate(metrics):
        own = {getattr(row, column): row for row in rows if row.metric == metric}
        found = [(place, *with_bounds(own[group])) for place, group in enumerate(groups) if group in own]
        axes.bar(
            [place + (index - (len(metrics) - 1) / 2) * width for place, *_ in found],
            [value for _, value, _, _ in found],
            width,
            yerr=[
                [max(value - low, 0) for _, value, low, _ in found],
                [max(high - value, 0) for _, value, _, high in found],
            ],
            capsize=2,
            label=metric.removeprefix("pixel_"),
        )
    axes.set_xticks(range(len(groups)), groups, rotation=30, ha="right")
    axes.set_ylim(0, 1)
    axes.set_ylabel("0 to 1, higher is better")
    axes.legend(ncols=len(metrics), fontsize="small")
