"""A picture of one item: photograph, image after each edit, and mask in the colours of the paper's Figure 6."""

import io
import textwrap
from pathlib import Path
from typing import Any

import numpy as np

from ..image_folder import write_atomically
from .editing import EditedImage, Turn
from .editor_table import KNOWN_EDITORS
from .settings import EditSettings

PANEL_SIZE = 3.2  # inches
TEXT_HEIGHT = 1.3  # inches for titles and legend
DOTS_PER_INCH = 100
BACKGROUND_COLOUR = "black"
# Colours of editors that the paper does not have, from this map of matplotlib in the order of the ids.
OTHER_COLOURS = "tab20"
LINE_LENGTH = 40  # characters of a title's line
MOST_LINES = 3


def save_overview(made: EditedImage, settings: EditSettings, path: Path) -> None:
    """Draw and write the picture as PNG.

    Raises:
        ImportError: matplotlib is missing.
    """
    try:
        from matplotlib.figure import Figure
        from matplotlib.patches import Patch
    except ImportError as error:
        raise ImportError('overviews need matplotlib: pip install "forgescope[plot]"') from error
    panels = len(made.turns) + 2
    figure = Figure((panels * PANEL_SIZE, PANEL_SIZE + TEXT_HEIGHT), layout="constrained")
    axes = figure.subplots(1, panels)
    axes[0].imshow(made.original)
    axes[0].set_title("photograph", fontsize="small")
    for number, (axis, turn) in enumerate(zip(axes[1:], made.turns, strict=False), start=1):
        axis.imshow(turn.image)
        axis.contour(turn.region.mask, levels=[0.5], colors=[editor_colour(turn.plan.editor, settings)])
        axis.set_title(_title(number, turn), fontsize="x-small")
    axes[-1].imshow(coloured_mask(made.ids, settings))
    axes[-1].set_title(_verdict(made), fontsize="x-small")
    names = [settings.id2editor[value - 1] for value in np.unique(made.ids) if value]
    if names:
        patches = [Patch(color=editor_colour(name, settings), label=_label(name)) for name in names]
        axes[-1].legend(handles=patches, loc="upper center", bbox_to_anchor=(0.5, 0), ncols=2, fontsize="x-small")
    for axis in axes:
        axis.set_axis_off()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH)
    write_atomically(path, buffer.getvalue())


def editor_colour(name: str, settings: EditSettings) -> Any:
    """Colour of an editor, as matplotlib takes it."""
    if name in KNOWN_EDITORS:
        return KNOWN_EDITORS[name].colour
    import matplotlib

    colours = matplotlib.colormaps[OTHER_COLOURS]
    return colours(settings.id2editor.index(name) % colours.N)


def coloured_mask(ids: np.ndarray, settings: EditSettings) -> np.ndarray:
    """(H, W, 3) uint8 of a (H, W) mask of ids."""
    from matplotlib.colors import to_rgb

    palette = [to_rgb(BACKGROUND_COLOUR), *(to_rgb(editor_colour(name, settings)) for name in settings.id2editor)]
    return (np.array(palette)[ids] * 255).round().astype(np.uint8)


def _label(name: str) -> str:
    return KNOWN_EDITORS[name].title if name in KNOWN_EDITORS else name


def _title(number: int, turn: Turn) -> str:
    thing = turn.region.thing.name + (f" → {turn.new_object}" if turn.new_object else "")
    lines = textwrap.wrap(turn.prompt, LINE_LENGTH, max_lines=MOST_LINES, placeholder=" ...")
    head = f"{number}. {turn.plan.edit_type.replace('_', ' ')}: {thing}, {_label(turn.plan.editor)}"
    return "\n".join((*textwrap.wrap(head, LINE_LENGTH), *lines))


def _verdict(made: EditedImage) -> str:
    if made.quality is None:
        head = "mask" if made.reject is None else f"rejected: {made.reject.value}"
    else:
        head = f"quality {made.quality:g}" + (" (rejected)" if made.reject else "")
    text = made.quality_reason or made.detail or ""
    return "\n".join((head, *textwrap.wrap(text, LINE_LENGTH, max_lines=MOST_LINES, placeholder=" ...")))


__all__ = ["coloured_mask", "editor_colour", "save_overview"]
