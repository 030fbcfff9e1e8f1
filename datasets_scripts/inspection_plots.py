"""Charts of an inspection: rows by source and label, image sizes, marked share of the masks."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .features import LABEL_NAMES
from .inspection_report import CorpusReport, Coverage

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LABEL_COLOURS = {"real": "#4c9a6a", "fake": "#c8553d", "none": "#9aa0a6"}
ACCENT = "#3b6ea5"
GRID = "#e3e6ea"
WIDTH = 8.0  # inches
ROW_HEIGHT = 0.32
SHORTEST = 2.2
DOTS_PER_INCH = 150
# Sources drawn, the largest first.
MAX_BARS = 30
LARGEST_DOT = 900
COMMON_SIZES = 10


def save_plots(report: CorpusReport, folder: str | Path) -> list[Path]:
    """Draw what there is to draw.

    Args:
        report: an inspection.
        folder: where `counts.png`, `sizes.png` and `coverage.png` are written; made when missing. A corpus without
            masks has no coverage.

    Returns:
        The written files.

    Raises:
        ImportError: matplotlib is missing.
        OSError: the folder cannot be written.
    """
    try:
        from matplotlib.figure import Figure  # noqa: F401 (asked for before anything is drawn)
    except ImportError as error:
        raise ImportError('charts need matplotlib: pip install "forgescope[plot]"') from error
    Path(folder).mkdir(parents=True, exist_ok=True)
    figures = {"counts.png": _counts(report)}
    if report.sizes is not None:
        figures["sizes.png"] = _sizes(report)
    marked = {name: found for name, found in report.coverage.items() if sum(found.histogram)}
    if marked:
        figures["coverage.png"] = _coverage(report, marked)
    for name, figure in figures.items():
        figure.savefig(Path(folder) / name, dpi=DOTS_PER_INCH)
    return [Path(folder) / name for name in figures]


def _figure(height: float, title: str, axes_count: int = 1) -> "tuple[Figure, list[Axes]]":
    """An empty figure in the style of all of them."""
    from matplotlib.figure import Figure

    figure = Figure((WIDTH, height), layout="constrained")
    figure.suptitle(title, fontsize="medium", fontweight="bold", x=0.01, ha="left")
    axes = [figure.add_subplot(1, axes_count, number + 1) for number in range(axes_count)]
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
        one.spines[["left", "bottom"]].set_color("#b8bec6")
        one.tick_params(color="#b8bec6", labelsize="small")
        one.grid(color=GRID, linewidth=0.8)
        one.set_axisbelow(True)
    return figure, axes


def _counts(report: CorpusReport) -> "Figure":
    """Stacked bars: splits by label, and below them sources."""
    labels = report.counts.get("label", {})
    bars: dict[str, dict[str, int]] = {f"{split} (split)": labels.get(split, {}) for split in report.rows}
    sources: dict[str, int] = {}
    for counts in report.counts.get("source", {}).values():
        for source, count in counts.items():
            sources[source] = sources.get(source, 0) + count
    largest = sorted(sources, key=lambda source: -sources[source])[:MAX_BARS]
    bars |= {source: report.by_source.get(source, {}) for source in largest}
    left_out = f", {len(sources) - MAX_BARS} small sources left out" if len(sources) > MAX_BARS else ""
    height = max(SHORTEST, 1.2 + ROW_HEIGHT * len(bars))
    figure, (axes,) = _figure(
        height, f"{report.title} ({report.config}): {sum(report.rows.values()):,} rows{left_out}"
    )
    places = np.arange(len(bars), dtype=float)
    places[len(report.rows) :] += 0.6
    start = np.zeros(len(bars))
    for label in (*LABEL_NAMES, "none"):
        values = np.array([counts.get(label, 0) for counts in bars.values()])
        if values.any():
            axes.barh(places, values, 0.72, left=start, label=label, color=LABEL_COLOURS[label])
        start += values
    for place, total in zip(places, start, strict=True):
        axes.annotate(f"{int(total):,}", (total, place), (4, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set_yticks(places, list(bars))
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.margins(x=0.12)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_xlabel("rows", fontsize="small")
    axes.legend(frameon=False, fontsize="small", ncols=3, loc="lower right", bbox_to_anchor=(1, 1))
    return figure


def _sizes(report: CorpusReport) -> "Figure":
    """A dot a size, as large as the number of images that have it."""
    figure, (axes,) = _figure(5.2, f"{report.title} ({report.config}): width and height of the images")
    images = report.sizes.images if report.sizes is not None else {}
    sizes, counts = np.array(list(images)), np.array(list(images.values()), dtype=float)
    area = np.maximum(counts / counts.max() * LARGEST_DOT, 12)
    axes.scatter(sizes[:, 0], sizes[:, 1], area, color=ACCENT, alpha=0.45, linewidths=0.8, edgecolors="#26496e")
    limit = float(sizes.max()) * 1.08
    axes.plot([0, limit], [0, limit], color="#b8bec6", linewidth=0.8, linestyle="--", zorder=0)
    common = [f"{width} x {height}: {count:,}" for (width, height), count in list(images.items())[:COMMON_SIZES]]
    text = "\n".join(["most common", *common])
    axes.text(1.03, 1, text, fontsize=8, va="top", linespacing=1.5, transform=axes.transAxes)
    axes.set_xlim(0, limit)
    axes.set_ylim(0, limit)
    axes.set_aspect("equal")
    axes.set_xlabel("width, pixels", fontsize="small")
    axes.set_ylabel("height, pixels", fontsize="small")
    return figure


def _coverage(report: CorpusReport, marked: dict[str, Coverage]) -> "Figure":
    """One histogram a mask column."""
    figure, all_axes = _figure(3.4, f"{report.title} ({report.config}): marked share of a mask", len(marked))
    for axes, (name, found) in zip(all_axes, marked.items(), strict=True):
        steps = len(found.histogram)
        edges = np.linspace(0, 1, steps + 1)
        axes.bar(edges[:-1], found.histogram, 1 / steps, align="edge", color=ACCENT, edgecolor="white", linewidth=0.8)
        if found.median is not None:
            axes.axvline(found.median, color=LABEL_COLOURS["fake"], linewidth=1.2)
            place = (4, 0) if found.median < 0.5 else (-4, 0)
            axes.annotate(
                f"median {found.median:.1%}",
                (found.median, 0.97),
                place,
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                ha="left" if found.median < 0.5 else "right",
                va="top",
                fontsize=8,
                color=LABEL_COLOURS["fake"],
            )
        axes.set_title(f"{name}: {sum(found.histogram):,} marked, {found.empty:,} empty", fontsize="small", loc="left")
        axes.set_xlim(0, 1)
        axes.grid(visible=False, axis="x")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axes.set_xlabel("share of the image's pixels", fontsize="small")
        axes.set_ylabel("masks", fontsize="small")
    return figure


__all__ = ["save_plots"]
