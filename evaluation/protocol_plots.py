"""Charts of a protocol: our accuracy beside the paper's for each subset, or its course under JPEG compression."""

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from .perturbations import NONE, parse_perturbations
from .plots import DOTS_PER_INCH, HEIGHT, INCHES_PER_GROUP, SMALLEST_WIDTH, with_bounds
from .protocol import AVERAGE
from .rows import ALL, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

METRIC = "image_accuracy"
PAIR_WIDTH = 0.4
# Accuracy of guessing, with as many fake as real images.
CHANCE = 0.5
CAP_SIZE = 2
FAINT = 0.6
INCHES_OF_LEGEND = 2.0
# Bars of fewer subsets would be drawn broad.
FEWEST_PLACES = 4


def save_protocol_plot(rows: Sequence[Row], path: str | os.PathLike) -> None:
    """Draw the accuracy of a protocol and write it as PNG, SVG or PDF, by the ending of the name.

    Runs at several JPEG qualities become curves, in the order of the runs; one run becomes bars with 95 %
    intervals, beside the paper's numbers where there are some.

    Args:
        rows: rows of `protocol_rows`, of one or several perturbations.
        path: picture to write.

    Raises:
        ImportError: matplotlib is missing.
        ValueError: there is no accuracy to draw, or the ending is of no picture format.
        OSError: the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('charts need matplotlib: pip install "forgescope[plot]"') from error
    drawn = [row for row in rows if row.metric == METRIC and row.value is not None]
    if not drawn:
        raise ValueError("there is no accuracy to draw")
    # the average is what papers print; without it, all images together
    sources = list(dict.fromkeys(row.source for row in drawn if row.source != ALL))
    perturbations = list(dict.fromkeys(row.perturbation for row in drawn))
    groups = perturbations if len(perturbations) > 1 else sources
    width = max(SMALLEST_WIDTH, INCHES_PER_GROUP * len(groups)) + INCHES_OF_LEGEND
    figure = Figure((width, HEIGHT), layout="constrained")
    axes = figure.add_subplot()
    if len(perturbations) > 1:
        _draw_curves(axes, drawn, sources, perturbations)
    else:
        _draw_pairs(axes, drawn, sources)
    axes.axhline(CHANCE, linestyle=":", color="grey", linewidth=1, label="chance")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small")
    axes.set_ylim(0, 1)
    axes.set_ylabel("accuracy")
    axes.set_title(f"{drawn[0].protocol}: threshold {drawn[0].threshold}", fontsize="small")
    figure.savefig(path, dpi=DOTS_PER_INCH)


def _draw_pairs(axes: "Axes", rows: list[Row], sources: list[str]) -> None:
    own = {row.source: row for row in rows}
    places = range(len(sources))
    found = [with_bounds(own[source]) for source in sources]
    axes.bar(
        [place - PAIR_WIDTH / 2 for place in places],
        [value for value, _, _ in found],
        PAIR_WIDTH,
        yerr=[[max(value - low, 0) for value, low, _ in found], [max(high - value, 0) for value, _, high in found]],
        capsize=CAP_SIZE,
        label="this checkpoint",
    )
    paper = [(place, own[source].paper_value) for place, source in enumerate(sources)]
    known = [(place, value) for place, value in paper if value is not None]
    if known:
        axes.bar(
            [place + PAIR_WIDTH / 2 for place, _ in known], [value for _, value in known], PAIR_WIDTH, label="paper"
        )
    axes.set_xticks(places, sources, rotation=30, ha="right")
    middle, half = (len(sources) - 1) / 2, max(len(sources), FEWEST_PLACES) / 2
    axes.set_xlim(middle - half, middle + half)


def _draw_curves(axes: "Axes", rows: list[Row], sources: list[str], perturbations: list[str]) -> None:
    """One line a subset over the perturbations, in their order; the average is drawn thick."""
    for source in sources:
        own = {row.perturbation: row.value for row in rows if row.source == source and row.value is not None}
        places = [place for place, name in enumerate(perturbations) if name in own]
        main = source == AVERAGE or len(sources) == 1
        axes.plot(
            places,
            [own[perturbations[place]] for place in places],
            marker="o" if main else None,
            linewidth=2.5 if main else 1,
            color="black" if main else None,
            alpha=1 if main else FAINT,
            label=source,
        )
    axes.set_xticks(range(len(perturbations)), [_tick(name) for name in perturbations])
    axes.set_xlabel("JPEG quality" if _only_jpeg(perturbations) else "perturbation")


def _only_jpeg(names: list[str]) -> bool:
    return all(replace(one, jpeg_quality=None) == NONE for one in parse_perturbations(",".join(names)))


def _tick(name: str) -> str:
    return "as read" if name == NONE.name else name.removeprefix("jpeg:")
