"""Masks of local test sets as 0 and 1, whatever their makers wrote: 0/255, 0/1, bool, greys in a palette or in RGB."""

import io

import numpy as np
from PIL import Image

from .files import CorpusFiles
from .notes import Notes
from .pixels import IMAGE_ERRORS, binary_mask, fit_mask, read_ids

# Values of a mask named in a note.
MAX_NAMED_VALUES = 8
TWO_VALUES = 2
# Share of forged pixels above which a mask may well be inverted.
NEARLY_WHOLE = 0.9


def read_binary_mask(
    files: CorpusFiles, name: str, size: tuple[int, int], above: int, notes: Notes, invert: bool = False
) -> np.ndarray | None:
    """A mask as (H, W) uint8 of 0 and 1, or None with a note for one that cannot be read.

    Args:
        files: the corpus.
        name: the mask.
        size: (width, height) of its image; a mask of another size is resized by the nearest pixel.
        above: pixels above this value are forged.
        notes: counts masks that are missing, unreadable, of more than two values, without a value above the limit, of
            nearly the whole image, or of another size.
        invert: pixels at or below the value are forged instead, as NIST16 has them.
    """
    if name not in files:
        notes.add("missing mask", name)
        return None
    try:
        pixels = _read(files, name)
    except (OSError, ValueError) as error:
        notes.add("mask that cannot be read", name, str(error))
        return None
    values = np.unique(pixels)
    shown = ", ".join(str(value) for value in values[:MAX_NAMED_VALUES])
    if len(values) > TWO_VALUES:
        notes.add("mask of more than two values", name, f"{len(values)} values: {shown}, ...; forged above {above}")
    mask = binary_mask(pixels, above)
    if values.max() > 0 and not mask.any():
        notes.add("mask with no value above mask_above", name, f"{shown}; forged above {above}")
    if invert:
        mask = 1 - mask
    if mask.mean() > NEARLY_WHOLE:
        notes.add("mask that marks nearly the whole image, perhaps inverted", name, f"{mask.mean():.0%}")
    return fit_mask(mask, size, name, notes)


def _read(files: CorpusFiles, name: str) -> np.ndarray:
    """Values of a mask; those of a palette of greys are the greys, since tools order palettes as they like."""
    pixels = read_ids(files, name)
    if not pixels.size:
        raise ValueError(f"{name} has no pixels")
    try:
        with Image.open(io.BytesIO(files.read(name))) as image:
            palette = np.asarray(image.getpalette("RGB") or [] if image.mode == "P" else [], np.uint8).reshape(-1, 3)
    except IMAGE_ERRORS as error:
        raise OSError(f"{name} is damaged: {error}") from error
    used = np.unique(pixels)
    if not len(palette) or used.max() >= len(palette):
        return pixels
    colours = palette[used]
    if (colours == colours[:, :1]).all():
        return palette[pixels][..., 0]
    return pixels


__all__ = ["read_binary_mask"]
