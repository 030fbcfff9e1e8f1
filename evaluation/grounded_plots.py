"""Charts of found artifacts: mIoU and F1 beside the paper's, of one run or over perturbations."""

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .grounded_protocol import UNION, GroundedRow
from .plots import DOTS_PER_INCH, HEIGHT, INCHES_PER_GROUP, SMALLEST_WIDTH, with_bounds

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Metric and classes -> name and colour.
DRAWN = {
    ("pixel_iou", "macro"): ("mIoU", "C0"),
    ("pixel_f1", "forged"): ("F1", "C1"),
    ("text_rouge_l", "all"): ("ROUGE-L", "C2"),
    ("text_css", "all"): ("CSS", "C3"),
}
BAR_WIDTH = 0.4
CAP_SIZE = 2
FAINT = 0.5


def save_grounded_plot(rows: Sequence[GroundedRow], path: str | os.PathLike) -> None:
    """Draw the numbers that the paper reports and write them as PNG, SVG or PDF, by the ending of the name.

    One run becomes bars with 95 % intervals beside the paper's numbers; several become curves over the perturbations,
    the paper's dashed. Of masks, those rows are drawn that the paper's numbers stand beside, or, where they were not
    asked for, those of the first rule.

    Args:
        rows: rows of `grounded_rows`.
        path: picture to write.

    Raises:
        ImportError: matplotlib is missing.
        ValueError: there is no number to draw, or the ending is of no picture format.
        OSError: the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('charts need matplotlib: pip install "forgescope[plot]"') from error
    drawn, rule = drawn_rows(rows)
    perturbations = list(dict.fromkeys(row.perturbation for row in drawn))
    width = max(SMALLEST_WIDTH, INCHES_PER_GROUP * len(perturbations))
    figure = Figure((width, HEIGHT), layout="constrained")
    axes = figure.add_subplot()
    if len(perturbations) > 1:
        _draw_curves(axes, drawn, perturbations)
    else:
        _draw_bars(axes, drawn)
    axes.set_ylim(0, 1)
    axes.set_ylabel("0 to 1, higher is better")
    axes.legend(fontsize="small")
    axes.set_title(rule, fontsize="small")
    figure.savefig(path, dpi=DOTS_PER_INCH)


def drawn_rows(rows: Sequence[GroundedRow]) -> tuple[list[GroundedRow], str]:
    """Choose the rows of one rule, and say in a few words which it is.

    Raises:
        ValueError: there is no number to draw.
    """
    known = [row for row in rows if (row.metric, row.classes) in DRAWN and row.value is not None]
    if not known:
        raise ValueError("there is no number to draw: no image with an annotated artifact was scored")
    rules = list(dict.fromkeys((row.targets, row.reduction) for row in known if row.targets))
    rule = (UNION, "image") if (UNION, "image") in rules else rules[0] if rules else (None, "image")
    words = f"{known[0].protocol}: " + (f"targets {rule[0]}, reduction {rule[1]}" if rules else "texts")
    return [row for row in known if row.targets is None or (row.targets, row.reduction) == rule], words


def _draw_bars(axes: "Axes", rows: Sequence[GroundedRow]) -> None:
    for place, row in enumerate(rows):
        value, low, high = with_bounds(row)
        spread = [[max(value - low, 0)], [max(high - value, 0)]]
        axes.bar(
            [place - BAR_WIDTH / 2],
            [value],
            BAR_WIDTH,
            yerr=spread,
            capsize=CAP_SIZE,
            color="C0",
            label="this run" if place == 0 else None,
        )
    known = [(place, row.paper_value) for place, row in enumerate(rows) if row.paper_value is not None]
    if known:
        axes.bar(
            [place + BAR_WIDTH / 2 for place, _ in known],
            [value for _, value in known],
            BAR_WIDTH,
            color="C1",
            label="paper",
        )
    axes.set_xticks(range(len(rows)), [DRAWN[row.metric, row.classes][0] for row in rows])


def _draw_curves(axes: "Axes", rows: Sequence[GroundedRow], perturbations: Sequence[str]) -> None:
    for which, (name, colour) in DRAWN.items():
        own = {row.perturbation: row for row in rows if (row.metric, row.classes) == which}
        if not own:
            continue
        ours = [own[one].value if one in own else math.nan for one in perturbations]
        paper = [own[one].paper_value if one in own else None for one in perturbations]
        places = range(len(perturbations))
        axes.plot(places, [math.nan if one is None else one for one in ours], marker="o", color=colour, label=name)
        if any(one is not None for one in paper):
            reported = [math.nan if one is None else one for one in paper]
            axes.plot(places, reported, marker="x", linestyle="--", color=colour, alpha=FAINT, label=f"{name}, paper")
    axes.set_xticks(range(len(perturbations)), perturbations, rotation=30, ha="right")
