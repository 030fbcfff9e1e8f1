"""Which rows of a corpus DiffSeg30k's baselines learn from, and who edited them (section 4.1, Table 4)."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import datasets
from PIL import Image

from forgescope.datasets_scripts.features import AUTHENTIC_TASK

from .rows_gamma import row_name

# Value of mask pixels that do not count.
IGNORED = 255


@dataclass(frozen=True)
class DiffSegDataConfig:
    """Which images a baseline learns from.

    Args:
        editor_field: Column, or field of the column `parameters`, that names the editor of an image whose mask only
            says where; such as `fill` for images of the manipulation engine. None: masks hold ids of editors.
        held_out_editors: Editors that are tested on and not trained on (Table 4, binary segmentation). Our reading of
            "trained on images edited by six generators and evaluated on edits from 2 unseen": training leaves out
            every image that one of them worked on, evaluation takes the images that nobody else worked on.
        negatives: Untouched photographs that are added to the training set (5,000 in section 4.1).
        negative_edge: Side in pixels of the squares that these are made into, as photographs were before they were
            edited: shorter side resized, middle cut out (section 4.1). None leaves them as they are. Whether the paper
            did so with these photographs is not given.
    """

    editor_field: str | None = None
    held_out_editors: tuple[str, ...] = ()
    negatives: int = 5000
    negative_edge: int | None = 1024

    def __post_init__(self) -> None:
        if isinstance(self.held_out_editors, str):
            raise ValueError(f"data.held_out_editors must be a list of names, got {self.held_out_editors!r}")
        if self.negatives < 0:
            raise ValueError(f"data.negatives must be at least 0 photographs, got {self.negatives}")
        if self.negative_edge is not None and self.negative_edge < 1:
            raise ValueError(f"data.negative_edge must be at least 1 pixel (or null), got {self.negative_edge}")


def editor_ids(rows: datasets.Dataset, field: str, id2editor: Sequence[str]) -> list[int]:
    """Id of the editor that a column, or a field of `parameters`, names; 0 where it names none.

    Args:
        rows: With that column, or `parameters` as JSON texts.
        field: Its name.
        id2editor: Names of the editors with the ids 1, 2, ...

    Raises:
        ValueError: If no row names one, an editor is unknown, or an image whose task is not authentic has none.
    """
    names = _named_editors(rows, field)
    if not any(names):
        raise ValueError(f"no image names its editor: {field!r} (data.editor_field) is neither column nor parameter")
    ids = {name: index for index, name in enumerate(id2editor, start=1)} | {None: 0}
    unknown = [index for index, name in enumerate(names) if name not in ids]
    if unknown:
        raise ValueError(
            f"image {row_name(rows, unknown[0])} was edited by {names[unknown[0]]!r} ({len(unknown)} images of "
            f"unknown editors): model.id2editor names {', '.join(id2editor)}"
        )
    tasks = rows["task"][:] if "task" in rows.column_names else [None] * len(rows)
    edited = [task is not None and task != AUTHENTIC_TASK for task in tasks]
    nameless = [index for index, name in enumerate(names) if name is None and edited[index]]
    if nameless:
        raise ValueError(
            f"image {row_name(rows, nameless[0])} ({tasks[nameless[0]]}) has no {field} ({len(nameless)} such "
            "images): leave out images without an editor"
        )
    return [ids[name] for name in names]


def _named_editors(rows: datasets.Dataset, field: str) -> list[str | None]:
    if field in rows.column_names:
        return rows[field][:]
    if "parameters" in rows.column_names:
        return [json.loads(text).get(field) if text else None for text in rows["parameters"][:]]
    return []


def row_editors(rows: datasets.Dataset, ids: Sequence[int] | None, id2editor: Sequence[str]) -> list[set[str]]:
    """Who worked on each image: from ids, else from `edit_models`, else from all masks, which takes long.

    Args:
        rows: With `edit_models` or masks of ids, unless there are ids.
        ids: Id of each row's editor, 0 for none; or None.
        id2editor: Names of the editors with the ids 1, 2, ...

    Raises:
        ValueError: If an edited row does not say its editors.
    """
    if ids is not None:
        return [{id2editor[editor - 1]} if editor else set() for editor in ids]
    if "edit_models" not in rows.column_names:
        values = [mask_values(row["mask"]) for row in rows.select_columns(["mask"])]
        for index, given in enumerate(values):
            check_ids(given, id2editor, rows, index)
        return [{id2editor[value - 1] for value in given - {0, IGNORED}} for given in values]
    given = rows["edit_models"][:]
    unnamed = [index for index, names in enumerate(given) if names is None]
    if unnamed:
        raise ValueError(
            f"image {row_name(rows, unnamed[0])} does not say who edited it ({len(unnamed)} such images), which "
            "data.held_out_editors needs to know: give masks of ids"
        )
    return [set(names) for names in given]


def mask_values(mask: Image.Image | None) -> set[int]:
    """Values that a mask of mode L holds; none without a mask."""
    return set() if mask is None else {value for value, count in enumerate(mask.histogram()) if count}


def check_ids(values: set[int], id2editor: Sequence[str], rows: datasets.Dataset, index: int) -> None:
    """Refuse a mask with values that name no editor.

    Args:
        values: Of the mask.
        id2editor: Names of the editors with the ids 1, 2, ...
        rows: Where the mask is from.
        index: Position of its row.

    Raises:
        ValueError: If there are such values.
    """
    unknown = values - {*range(len(id2editor) + 1), IGNORED}
    if unknown:
        raise ValueError(
            f"the mask of image {row_name(rows, index)} holds {sorted(unknown)[:6]}: expected 0 (authentic), 1 to "
            f"{len(id2editor)} ({', '.join(id2editor)}) and {IGNORED} (does not count); model.id2editor names the "
            "editor of every id"
        )


def kept_rows(
    editors: Sequence[set[str]], held_out_editors: Collection[str], id2editor: Sequence[str], is_training: bool
) -> list[int]:
    """Positions of the rows that Table 4 trains or evaluates on.

    Args:
        editors: Who worked on each image.
        held_out_editors: See `DiffSegDataConfig`.
        id2editor: All editors.
        is_training: Whether the rows are trained on.

    Raises:
        ValueError: If a held-out editor is unknown, or no row is left.
    """
    named = ", ".join(held_out_editors)
    unknown = [name for name in held_out_editors if name not in id2editor]
    if unknown:
        raise ValueError(
            f"data.held_out_editors names {', '.join(unknown)}: model.id2editor has {', '.join(id2editor)} only"
        )
    chosen = set(held_out_editors)
    if is_training:
        kept = [index for index, names in enumerate(editors) if not names & chosen]
    else:
        kept = [index for index, names in enumerate(editors) if names and names <= chosen]
    if not kept:
        reason = f"all were edited by {named}" if is_training else f"none was edited by {named} alone"
        raise ValueError(f"no {'training' if is_training else 'validation'} image is left: {reason}")
    return kept
