"""From a corpus to images with masks of ids, and the untouched photographs among them (section 4.1)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from PIL import Image, ImageOps

from forgescope.processing.image_conversion import to_upright_rgb

from .rows_diffseg import DiffSegDataConfig, check_ids, editor_ids, kept_rows, mask_values, row_editors
from .rows_gamma import row_name


class EditRows(torch.utils.data.Dataset):
    """Images with masks of ids, and behind them untouched photographs: rows of a `ForgeryDataset`.

    Args:
        rows: Dataset with the columns `image` and `mask` (None where nothing is edited).
        id2editor: Names of the editors with the ids 1, 2, ...
        ids: Id of each row's editor, 0 for none, where masks only say where; None: masks hold ids.
        negatives: Files of untouched photographs.
        negative_edge: See `DiffSegDataConfig`.
    """

    def __init__(
        self,
        rows: datasets.Dataset,
        id2editor: Sequence[str],
        ids: Sequence[int] | None = None,
        negatives: Sequence[Path] = (),
        negative_edge: int | None = None,
    ):
        self.rows = rows
        self.id2editor = id2editor
        self.ids = ids
        self.negatives = negatives
        self.negative_edge = negative_edge

    def __len__(self) -> int:
        return len(self.rows) + len(self.negatives)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """`image` (PIL) and `mask` (PIL, mode L, of the image's size; or None).

        Raises:
            ValueError: If mask and image differ in size, a mask holds an unknown id, or an editor is not known.
            OSError: If a photograph cannot be read.
        """
        if index >= len(self.rows):
            return {"image": self._photograph(self.negatives[index - len(self.rows)]), "mask": None}
        row = self.rows[index]
        image, mask = row["image"], row["mask"]
        if mask is not None:
            mask = self._ids_of(mask.convert("L"), image, index)
        return {"image": image, "mask": mask}

    def _ids_of(self, mask: Image.Image, image: Image.Image, index: int) -> Image.Image:
        if mask.size != image.size:
            raise ValueError(
                f"image {row_name(self.rows, index)} is {image.width} x {image.height}, its mask {mask.width} x "
                f"{mask.height}: expected masks of the image's size"
            )
        values = mask_values(mask)
        if self.ids is None:
            check_ids(values, self.id2editor, self.rows, index)
            return mask
        editor = self.ids[index]
        if not editor and values != {0}:
            name = row_name(self.rows, index)
            raise ValueError(f"image {name} is edited, but data.editor_field names no editor for it")
        return mask.point([0] + [editor] * 255)

    def _photograph(self, path: Path) -> Image.Image:
        try:
            photo = to_upright_rgb(Image.open(path))
        except (OSError, ValueError) as error:
            raise OSError(f"{path} cannot be read ({error}): take it out of the untouched photographs") from error
        if self.negative_edge is None:
            return photo
        return ImageOps.fit(photo, (self.negative_edge, self.negative_edge), Image.Resampling.BICUBIC)


def edit_rows(
    rows: datasets.Dataset,
    config: DiffSegDataConfig,
    id2editor: Sequence[str],
    is_training: bool,
    negatives: Sequence[Path] = (),
) -> EditRows:
    """What is trained or evaluated on.

    Args:
        rows: One split of a corpus.
        config: Which of its images.
        id2editor: Names of the editors with the ids 1, 2, ...
        is_training: Whether the images are trained on; it matters where editors are held out.
        negatives: Untouched photographs to add.

    Raises:
        ValueError: If a column is missing, editors are unknown, or no image is left.
    """
    missing = {"image", "mask"} - set(rows.column_names)
    if missing:
        raise ValueError(
            f"the data have no column {', '.join(sorted(missing))}: expected image and mask, got "
            f"{', '.join(rows.column_names)}"
        )
    ids = None if config.editor_field is None else editor_ids(rows, config.editor_field, id2editor)
    if config.held_out_editors:
        editors = row_editors(rows, ids, id2editor)
        kept = kept_rows(editors, config.held_out_editors, id2editor, is_training)
        rows = rows.select(kept)
        ids = None if ids is None else [ids[index] for index in kept]
    return EditRows(rows, id2editor, ids, negatives, config.negative_edge)


def drawn_photographs(photographs: Sequence[Path], count: int, seed: int) -> list[Path]:
    """Draw some of the photographs, without replacement; the draw depends on the seed and their order alone.

    Raises:
        ValueError: If there are too few.
    """
    if count > len(photographs):
        found = f"found are {len(photographs)}" if photographs else "name their folder (--negatives)"
        raise ValueError(f"the recipe adds {count} untouched photographs, {found}; data.negatives is their number")
    chosen = np.random.default_rng(seed).choice(len(photographs), count, replace=False)
    return [photographs[index] for index in sorted(chosen)]
