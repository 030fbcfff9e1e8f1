"""Masks whose pixels name the editing model: what they hold is looked at before it is believed."""

import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from .pixels import StoredImage, binary_mask, ids_of, stored_mask

BINARY_VALUES = {0, 255}
PNG_BEGINNING = b"\x89PNG\r\n\x1a\n"
# Bit depth and colour type in the header of a PNG.
PNG_KIND = slice(24, 26)
GREY_8_BIT = b"\x08\x00"
# Values shown in an error.
SHOWN_VALUES = 12


@dataclass
class MaskProbe:
    """What some masks hold.

    Attributes:
        values: pixel value -> number of masks that have it.
        modes: mode of the file, as Pillow names it -> number of masks.
        unreadable: masks that could not be read.
    """

    values: Counter[int] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)
    unreadable: int = 0

    @property
    def masks(self) -> int:
        """Number of masks that could be read."""
        return sum(self.modes.values())

    @property
    def is_binary(self) -> bool:
        """Whether there are no values but 0 and 255, and 255 is among them."""
        return 255 in self.values and set(self.values) <= BINARY_VALUES


def probe_masks(masks: Iterable[tuple[str, bytes]], editors: Sequence[str]) -> MaskProbe:
    """Look into masks.

    Args:
        masks: name and encoded image of each.
        editors: names of the ids 1, 2, ...

    Returns:
        Values and modes seen.

    Raises:
        ValueError: a colour mask, or values outside the map, unless there are only 0 and 255.
    """
    probe = MaskProbe()
    for name, data in masks:
        try:
            probe.values.update(values_in(ids_of(data, name)))
            with Image.open(io.BytesIO(data)) as image:
                probe.modes[image.mode] += 1
        except OSError:
            probe.unreadable += 1
    if not probe.is_binary:
        check_ids(probe.values, editors, f"{probe.masks} probed masks")
    return probe


def check_ids(values: Iterable[int], editors: Sequence[str], where: str) -> None:
    """Refuse values that no editor has.

    Args:
        values: values seen.
        editors: names of the ids 1, 2, ...
        where: what holds the values, for the error.

    Raises:
        ValueError: a value outside the map; the message shows all of them.
    """
    seen = set(values)
    if max(seen, default=0) <= len(editors):
        return
    if seen <= BINARY_VALUES:
        hint = 'set mask_values="binary" for masks of 0 and 255'
    else:
        hint = "give id2editor the names of all models, or check that these are masks of ids"
    raise ValueError(
        f"{where}: values {_shown(seen)} where the map has ids 1 to {len(editors)} ({', '.join(editors)}) and 0 for "
        f"untouched; {hint}"
    )


def checked_ids(pixels: np.ndarray, binary: bool, editors: Sequence[str], name: str) -> np.ndarray:
    """Ids of a mask.

    Args:
        pixels: (H, W) uint8 as stored.
        binary: whether the corpus has masks of 0 and 255, which become 0 and 1.
        editors: names of the ids 1, 2, ...
        name: the mask, for errors.

    Returns:
        (H, W) uint8.

    Raises:
        ValueError: a value outside the map, or another than 0 and 255 in a binary mask.
    """
    values = values_in(pixels)
    if not binary:
        check_ids(values, editors, name)
        return pixels
    if not set(values) <= BINARY_VALUES:
        raise ValueError(
            f"{name}: values {_shown(values)}, but the masks count as binary (0 and 255); "
            'set mask_values="ids" if they hold ids'
        )
    return binary_mask(pixels)


def values_in(pixels: np.ndarray) -> list[int]:
    """Values of an (H, W) uint8 array, sorted; Pillow counts them several times faster than NumPy."""
    return np.flatnonzero(Image.fromarray(pixels).histogram()).tolist()


def stored_ids(ids: np.ndarray, data: bytes, pixels: np.ndarray) -> StoredImage:
    """Value of a mask column: the file itself where it is a grey PNG of these ids, which need not be written anew.

    Args:
        ids: (H, W) uint8.
        data: the file that the mask was read from.
        pixels: its pixels; the file is taken only if these are `ids` themselves.
    """
    is_grey_png = data[: len(PNG_BEGINNING)] == PNG_BEGINNING and data[PNG_KIND] == GREY_8_BIT
    return {"path": None, "bytes": data} if ids is pixels and is_grey_png else stored_mask(ids)


def _shown(values: Iterable[int]) -> str:
    shown = sorted(values)
    return ", ".join(map(str, shown[:SHOWN_VALUES])) + (", ..." if len(shown) > SHOWN_VALUES else "")


__all__ = ["MaskProbe", "check_ids", "checked_ids", "probe_masks", "stored_ids", "values_in"]
