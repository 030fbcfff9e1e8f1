"""What an image of each part of GAMMA's training mix is called, and which masks it gets: the paper's Table 1."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from .files import CorpusFiles
from .notes import Notes
from .pixels import StoredImage, binary_mask, fit_mask, read_ids, stored_mask

# Sizes of images whose constant masks are kept encoded.
KEPT_MASKS = 256


@dataclass(frozen=True)
class Rule:
    """What Table 1 says of a source.

    Args:
        label: `real` or `fake`.
        task: name of the manipulation, as the manipulation engine names it.
        forged: whether its mask marks forged pixels; without, nothing is forged.
        ai: AI-made pixels: none, those of the mask, or the whole frame, since inpainting re-encodes all of it.
        above: mask values above this are forged.
    """

    label: str
    task: str
    forged: bool
    ai: Literal["none", "mask", "frame"]
    above: int = 0


RULES = {
    "coco": Rule("real", "authentic", forged=False, ai="none"),
    "coco-inpaint": Rule("fake", "inpainting", forged=True, ai="frame"),
    "coco-blended": Rule("fake", "inpainting_blended", forged=True, ai="mask"),
    "tampcoco-cm": Rule("real", "copy_move", forged=True, ai="none", above=1),
    "tampcoco-sp": Rule("real", "splicing", forged=True, ai="none", above=1),
    "tampcoco-bcm": Rule("real", "copy_move", forged=True, ai="none", above=1),
    "tampcoco-bcmc": Rule("real", "copy_move", forged=True, ai="none", above=1),
}


def mix_row(
    image: StoredImage, label: str, forged: StoredImage, ai: StoredImage, row_id: str, source: str, task: str
) -> dict[str, Any]:
    """A row of the mix; `model` and `mask_type` are None until a manifest gives them."""
    return {
        "image": image,
        "label": label,
        "mask": forged,
        "id": row_id,
        "source": source,
        "manipulation_mask": forged,
        "ai_mask": ai,
        "task": task,
        "model": None,
        "mask_type": None,
    }


def read_mask(
    place: tuple[CorpusFiles, str], above: int, size: tuple[int, int], notes: Notes, forged: bool = True
) -> StoredImage | None:
    """A mask of 0 and 1 in its image's size, or None with a note."""
    files, name = place
    if name not in files:
        notes.add("missing mask, image skipped", name)
        return None
    try:
        mask = binary_mask(read_ids(files, name), above)
    except (OSError, ValueError) as error:
        notes.add("mask that cannot be read, image skipped", name, str(error))
        return None
    if forged and not mask.any():
        notes.add("forged image whose mask is empty", name)
    return stored_mask(fit_mask(mask, size, name, notes))


@lru_cache(maxsize=KEPT_MASKS)
def constant_mask(size: tuple[int, int], value: int) -> StoredImage:
    """A mask of one value for an image of (width, height)."""
    return stored_mask(np.full(size[::-1], value, dtype=np.uint8))


__all__ = ["RULES", "Rule", "constant_mask", "mix_row", "read_mask"]
