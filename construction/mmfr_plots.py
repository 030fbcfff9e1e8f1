"""Figure 5 of FakeReasoning, drawn of a constructed folder: lengths of texts, and attributes of each label."""

import io
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .image_folder import write_atomically
from .mmfr_statistics import attribute_counts, word_counts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE = (9.0, 3.6)  # inches
DOTS_PER_INCH = 150
COLOURS = {"real": "#4c9a6a", "fake": "#c8553d", "caption": "#3b6ea5", "reasoning": "#b07a2a"}
MOST_BINS = 30


def check_plotting() -> None:
    """Make sure that plots can be drawn, before anything is paid for.

    Raises:
        ImportError: matplotlib is missing.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError('plots need matplotlib: pip install "forgescope[plot]"') from error


def save_plots(rows: list[dict[str, Any]], answers: list[str], folder: Path) -> list[Path]:
    """Draw `attributes.png` and `text_lengths.png`.

    Args:
        rows: of metadata.jsonl.
        answers: the answer in four stages of each.
        folder: made when missing.

    Returns:
        The written files; none without rows.

    Raises:
        ImportError: matplotlib is missing.
    """
    check_plotting()
    if not rows:
        return []
    figures = {"attributes.png": _attributes(rows), "text_lengths.png": _text_lengths(rows, answers)}
    for name, figure in figures.items():
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH)
        write_atomically(folder / name, buffer.getvalue())
    return [folder / name for name in figures]


def _attributes(rows: list[dict[str, Any]]) -> "Figure":
    """Figure 5b: how many images of each label have each attribute."""
    figure, panels = _figure()
    for axes, (label, counts) in zip(panels, attribute_counts(rows).items(), strict=True):
        images = sum(row["label"] == label for row in rows)
        values = list(counts.values())
        axes.barh(range(len(counts)), values, 0.7, color=COLOURS[label])
        axes.set_yticks(range(len(counts)), list(counts), fontsize="small")
        axes.invert_yaxis()
        for place, value in enumerate(values):
            share = f" ({value / images:.0%})" if images else ""
            axes.annotate(
                f"{value:,}{share}",
                (value, place),
                (3, 0),
                textcoords="offset points",
                va="center",
                fontsize="x-small",
            )
        axes.set_xlim(0, max(*values, 1) * 1.35)
        axes.grid(visible=False, axis="y")
        axes.set_title(f"{label}: {images:,} images, {sum(values):,} descriptions", fontsize="small", loc="left")
        axes.set_xlabel("images with the attribute", fontsize="small")
    return figure


def _text_lengths(rows: list[dict[str, Any]], answers: list[str]) -> "Figure":
    """Figure 5a: words of captions and of reasoning."""
    from matplotlib.ticker import MaxNLocator

    figure, panels = _figure()
    for axes, (name, counts) in zip(panels, word_counts(rows, answers).items(), strict=True):
        low, high = min(counts), max(counts) + 1
        step = math.ceil((high - low) / MOST_BINS)
        axes.hist(counts, list(range(low, high + step, step)), color=COLOURS[name], edgecolor="white", linewidth=0.6)
        axes.set_title(f"{name}: mean {np.mean(counts):.1f} words", fontsize="small", loc="left")
        axes.set_xlabel("words", fontsize="small")
        axes.set_ylabel("texts", fontsize="small")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(visible=False, axis="x")
    return figure


def _figure() -> "tuple[Figure, list[Axes]]":
    from matplotlib.figure import Figure

    figure = Figure(SIZE, layout="constrained")
    panels = list(figure.subplots(1, 2))
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize="small")
        axes.grid(color="#e3e6ea", linewidth=0.8)
        axes.set_axisbelow(True)
    return figure, panels


__all__ = ["check_plotting", "save_plots"]
