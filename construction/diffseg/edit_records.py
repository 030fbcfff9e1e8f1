"""The files and the record of one edited image.

    OUT/00000000.image.png  OUT/00000000.mask.png  OUT/turns/00000000-1-mask.png  [OUT/turns/00000000-1-image.png]

The pair is named as in the published archive, so `load_corpus("diffseg30k", OUT)` reads the folder.
"""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..framing import encode_png
from ..image_folder import write_atomically
from .editing import EditedImage
from .settings import EditSettings

SOURCE = "diffseg-construction"
TURNS_FOLDER = "turns"


def item_name(index: int) -> str:
    """Name of an item's files, without suffixes: eight digits."""
    return f"{index:08d}"


def save_edited(out: Path, name: str, made: EditedImage, settings: EditSettings) -> dict[str, Any]:
    """Write the files of an image, each atomically.

    Returns:
        The names of the pair; `file_name` comes first, as `load_dataset("imagefolder")` wants it.
    """
    for number, turn in enumerate(made.turns, start=1):
        write_atomically(out / _mask_file(name, number), encode_png(turn.region.mask.astype(np.uint8) * 255))
        if settings.save_turns:
            write_atomically(out / _image_file(name, number), _png(turn.image))
    if settings.save_turns:
        write_atomically(out / _image_file(name, 0), _png(made.original))
    files = {"file_name": f"{name}.image.png", "mask_file_name": f"{name}.mask.png"}
    write_atomically(out / files["mask_file_name"], encode_png(made.ids))
    write_atomically(out / files["file_name"], _png(made.image))
    return files


def turn_records(name: str, made: EditedImage, settings: EditSettings) -> list[dict[str, Any]]:
    """One record an edit, in the order in which they were made."""
    later = np.zeros(made.ids.shape, dtype=bool)
    visible = []
    for turn in reversed(made.turns):
        visible.append(round(float((turn.region.mask & ~later).sum() / turn.region.mask.sum()), 6))
        later |= turn.region.mask
    records = []
    for number, (turn, share) in enumerate(zip(made.turns, reversed(visible), strict=True), start=1):
        addition = turn.removal_prompt is not None
        files = {"mask_file": _mask_file(name, number)}
        if settings.save_turns:
            files["image_file"] = _image_file(name, number)
        records.append(
            {
                "turn": number,
                "editor": turn.plan.editor,
                "editor_id": settings.id_of(turn.plan.editor),
                "edit_type": turn.plan.edit_type,
                "object": turn.region.thing.name,
                "person": turn.region.thing.is_person,
                "new_object": turn.new_object,
                "prompt": turn.prompt,
                "removal_prompt": turn.removal_prompt,
                "seed": turn.plan.seed,
                "removal_seed": turn.plan.removal_seed if addition else None,
                "box": [round(float(side), 1) for side in turn.region.box],
                "box_score": round(float(turn.region.score), 4),
                "area": round(turn.region.area, 6),
                # share of the region that no later edit covers
                "visible": share,
                **files,
            }
        )
    return records


def _mask_file(name: str, number: int) -> str:
    return f"{TURNS_FOLDER}/{name}-{number}-mask.png"


def _image_file(name: str, number: int) -> str:
    """File of the image after a turn; 0 is the photograph."""
    return f"{TURNS_FOLDER}/{name}-{number}-image.png"


def _png(image: Image.Image) -> bytes:
    return encode_png(np.asarray(image))


__all__ = ["SOURCE", "item_name", "save_edited", "turn_records"]
