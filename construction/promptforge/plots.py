"""Charts of an annotated corpus: its tasks, and where the time went (PromptForge-350k, figure 4)."""

from pathlib import Path
from typing import Any

COLOUR = "#3b6ea5"
REJECT_COLOUR = "#c8553d"
WIDTH = 8.0  # inches
ROW_HEIGHT = 0.34
FRAME_HEIGHT = 1.2
DOTS_PER_INCH = 150


def save_plots(statistics: dict[str, Any], folder: str | Path) -> list[Path]:
    """Draw `tasks.png`, `rejects.png` and `time.png`, whatever there are numbers for.

    Args:
        statistics: of `corpus_statistics`, with `seconds_a_pair` when a run was timed.
        folder: where the pictures go; made when missing.

    Returns:
        The written files.

    Raises:
        ImportError: matplotlib is missing.
        OSError: the folder cannot be written.
    """
    seconds = statistics.get("seconds_a_pair") or {}
    spent = {stage: 1000 * value for stage, value in seconds.items()}
    charts = (
        ("tasks.png", "pairs by editing task", "pairs", statistics["tasks"], COLOUR),
        ("rejects.png", "rejected pairs by reason", "pairs", statistics["rejected"], REJECT_COLOUR),
        ("time.png", "time a pair by stage", "milliseconds", spent, COLOUR),
    )
    Path(folder).mkdir(parents=True, exist_ok=True)
    written = []
    for name, title, unit, values, colour in charts:
        if values:
            written.append(Path(folder) / name)
            _bars(title, unit, values, colour, written[-1])
    return written


def _bars(title: str, unit: str, values: dict[str, float], colour: str, path: Path) -> None:
    """Horizontal bars with their numbers and shares."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('charts need matplotlib: pip install "forgescope[plot]"') from error
    figure = Figure((WIDTH, FRAME_HEIGHT + ROW_HEIGHT * len(values)), layout="constrained")
    axes = figure.add_subplot()
    names, amounts = [name.replace("_", " ") for name in values], list(values.values())
    bars = axes.barh(names, amounts, color=colour)
    total = sum(amounts)
    axes.bar_label(bars, [f"{amount:,.0f} ({amount / total:.0%})" for amount in amounts], padding=4, fontsize="small")
    axes.set_xlim(right=1.2 * max(amounts))
    axes.invert_yaxis()
    axes.set_title(title, loc="left", fontweight="bold")
    axes.set_xlabel(unit)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=DOTS_PER_INCH)


__all__ = ["save_plots"]
