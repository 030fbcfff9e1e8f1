"""Images that were edited several times: pairs chained to sequences, and a strip of pictures for each.

A pair whose original is the edited image of another pair is the next turn of that one. Several edits of one image are
sequences of their own that begin alike.
"""

import io
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from .image_folder import write_atomically
from .promptforge.pairs import Pair

PANEL_SIZE = 3.2  # inches
TITLE_HEIGHT = 0.8
DOTS_PER_INCH = 100
LINE_LENGTH = 40  # characters of a title's line
MASK_COLOUR = "red"


@dataclass(frozen=True)
class EditSequence:
    """A photograph and its edits.

    Args:
        name: id of the last turn.
        turns: pairs in the order in which they were made; `original` of each is `edited` of the one before.
    """

    name: str
    turns: tuple[Pair, ...]


def edit_sequences(pairs: Sequence[Pair]) -> list[EditSequence]:
    """Chain pairs of files.

    Args:
        pairs: as `read_pairs` gives them, with paths.

    Returns:
        One sequence for each image that nobody edited further, in the order of the pairs.

    Raises:
        ValueError: an image that was made twice, or an edit that leads back to its own original.
    """
    made_by: dict[str | bytes, Pair] = {}
    for pair in pairs:
        if _key(pair.edited) in made_by:
            raise ValueError(f"{pair.edited!s} is the edited image of two pairs, {made_by[_key(pair.edited)].id} and "
                             f"{pair.id}: expected a file of its own for each turn")  # fmt: skip
        made_by[_key(pair.edited)] = pair
    edited_further = {_key(pair.original) for pair in pairs}
    sequences = []
    for pair in pairs:
        if _key(pair.edited) in edited_further:
            continue
        turns = [pair]
        while (before := made_by.get(_key(turns[0].original))) is not None:
            turns.insert(0, before)
        sequences.append(EditSequence(pair.id, tuple(turns)))
    reached = {turn.id for sequence in sequences for turn in sequence.turns}
    lost = [pair.id for pair in pairs if pair.id not in reached]
    if lost:
        raise ValueError(f"the edits of {', '.join(lost[:3])} lead back to their own original: expected a last turn")
    return sequences


def draw_edit_sequence(
    sequence: EditSequence,
    path: Path,
    read: Callable[[Path | bytes], Image.Image],
    masks: Sequence[np.ndarray | None] = (),
) -> None:
    """Write a strip: the photograph, then the image after each turn with its instruction.

    Args:
        sequence: the turns.
        path: PNG file to write.
        read: returns PIL RGB; raises ValueError or OSError for what it cannot read.
        masks: for each turn the edited pixels (H, W), non-zero = edited, outlined in the picture; None: not known.

    Raises:
        ImportError: matplotlib is missing.
        ValueError, OSError: an image that cannot be read, or a mask of another size than its image.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('pictures of turns need matplotlib: pip install "forgescope[plot]"') from error
    images = [read(sequence.turns[0].original), *(read(turn.edited) for turn in sequence.turns)]
    figure = Figure((len(images) * PANEL_SIZE, PANEL_SIZE + TITLE_HEIGHT), layout="constrained")
    axes = figure.subplots(1, len(images))
    axes[0].set_title("photograph", fontsize="small")
    for number, (turn, axis) in enumerate(zip(sequence.turns, axes[1:], strict=True), start=1):
        text = f"{number}. {turn.instruction_en or turn.instruction or 'no instruction given'}"
        axis.set_title("\n".join(textwrap.wrap(text, LINE_LENGTH)), fontsize="small")
        mask = masks[number - 1] if number <= len(masks) else None
        if mask is None:
            continue
        if mask.shape != images[number].size[::-1]:
            raise ValueError(
                f"the mask of {turn.id} is {mask.shape[1]} x {mask.shape[0]}, its image {images[number].width} x "
                f"{images[number].height}: expected one size"
            )
        if mask.any() and not mask.all():
            axis.contour(mask != 0, levels=[0.5], colors=[MASK_COLOUR])
    for image, axis in zip(images, axes, strict=True):
        axis.imshow(image)
        axis.set_axis_off()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH)
    write_atomically(path, buffer.getvalue())


def _key(image: Path | bytes) -> str | bytes:
    return image if isinstance(image, bytes) else str(image.resolve())


__all__ = ["EditSequence", "draw_edit_sequence", "edit_sequences"]
