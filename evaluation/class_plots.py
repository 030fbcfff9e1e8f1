"""Confusion matrices of editors as a picture, as Figure 5 of DiffSeg30k shows them."""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .class_confusion import row_shares
from .plots import DOTS_PER_INCH

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Inches of a cell, and around the cells of a panel.
CELL = 0.55
MARGIN_WIDTH, MARGIN_HEIGHT = 1.9, 2.0
PANELS_IN_A_ROW = 3
# Shares from here on are written in white, on dark cells.
DARK_FROM = 0.6
PERCENT = 100


def save_confusion_plot(
    confusions: Mapping[str, NDArray[np.int64]], classes: Sequence[str], path: str | os.PathLike
) -> None:
    """Draw confusion matrices and write them as PNG, SVG or PDF, by the ending of the name.

    Each row shows what its true class was called, in percent of the pixels of that class; a class without a pixel has
    a row that says so.

    Args:
        confusions: title of a panel -> (C, C) pixels, rows are true classes.
        classes: names of the C classes.
        path: picture to write.

    Raises:
        ImportError: matplotlib is missing.
        ValueError: there is nothing to draw, or the ending is of no picture format.
        OSError: the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('charts need matplotlib: pip install "forgescope[plot]"') from error
    if not any(confusion.any() for confusion in confusions.values()):
        raise ValueError("there is no confusion matrix to draw: no edited image was scored")
    columns = min(len(confusions), PANELS_IN_A_ROW)
    lines = -(-len(confusions) // columns)
    side = CELL * len(classes)
    figure = Figure((columns * (side + MARGIN_WIDTH), lines * (side + MARGIN_HEIGHT)), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for panel, (title, confusion) in zip(panels, confusions.items(), strict=False):
        draw_confusion(panel, confusion, classes, title)
    for panel in panels[len(confusions) :]:
        panel.set_visible(False)
    figure.savefig(path, dpi=DOTS_PER_INCH)


def draw_confusion(axes: "Axes", confusion: NDArray[np.int64], classes: Sequence[str], title: str) -> None:
    """Draw one matrix, with the number in every cell that does not round to 0."""
    shares = row_shares(confusion)
    for row in np.flatnonzero(np.isnan(shares).all(axis=1)).tolist():
        axes.text((len(classes) - 1) / 2, row, "no pixel", ha="center", va="center", color="grey", fontsize="small")
    axes.imshow(np.nan_to_num(shares), cmap="Blues", vmin=0, vmax=1)
    for row, column in np.argwhere(np.nan_to_num(shares) * PERCENT >= 0.5).tolist():
        share = shares[row, column]
        colour = "white" if share >= DARK_FROM else "black"
        axes.text(column, row, f"{share * PERCENT:.0f}", ha="center", va="center", color=colour, fontsize="small")
    places = range(len(classes))
    axes.set_xticks(places, classes, rotation=45, ha="right", rotation_mode="anchor", fontsize="small")
    axes.set_yticks(places, classes, fontsize="small")
    axes.set_xlabel("predicted")
    axes.set_ylabel("true (% of its pixels)")
    axes.set_title(title, fontsize="small")
