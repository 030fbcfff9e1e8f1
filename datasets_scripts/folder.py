"""Folder: local test sets in the forms that people keep them in.

Layouts, tried in this order by `layout="auto"`:

- `metadata`: metadata.jsonl, or train, validation and test folders that have one each, as `load_forgery_folder` reads.
- `imdl_json`: IMDL-BenCo lists `[[image, mask], [image, "Negative"]]`.
- `forensichub_json`: ForensicHub lists `[{"path", "label"}]`, label 0 real and 1 fake; no masks.
- `tp_gt`: folders `Tp` and `Gt`, authentic images in `Au`.
- `image_mask`: folders `images` and `masks` (or `image`, `imgs`, `img`; `mask`, `gt`), or masks beside their images.

Masks have the name of their image with any image suffix, perhaps with `_mask`, `_gt`, `__mask` or `_forged` behind it.
Paths in lists are relative to the list, or absolute. A folder or list named after a split is that split, all else is
`train`. Traps: JPEG masks have values between black and white (see `mask_above`); a mask of 0 and 1 read with a limit
of 127 is empty, which is counted; loaders of TampCOCO take values above 1.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import datasets
import numpy as np

from .binary_masks import read_binary_mask
from .corpus import CorpusBuilder, CorpusCard, CorpusConfig, canonical_features, cut_into_pieces
from .features import LABEL_NAMES, SPLITS, load_forgery_folder
from .files import CorpusFiles
from .folder_layouts import Entries, Entry, image_mask_entries, tp_gt_entries
from .image_lists import BROKEN_JSON, json_lists, list_entries, list_layout
from .named_files import locate
from .notes import Notes
from .pixels import checked_image, stored_mask

Layout = Literal["auto", "metadata", "imdl_json", "forensichub_json", "tp_gt", "image_mask"]
MAX_MASK_VALUE = 255

CARD = CorpusCard(
    title="local images and masks",
    description="Images of a local folder; a mask marks forged pixels.",
    homepage="",
    licence="unknown",
    terms="Terms are those of whoever made the images.",
    citation="",
    labels="`label`: what folders and lists say; where they say nothing, fake (1) if the mask has a forged pixel, "
    "else real (0). `mask`: 0 = untouched, 1 = forged; null where no mask is given.",
)


@dataclass
class FolderConfig(CorpusConfig):
    """Options.

    Args:
        layout: form of the folder; "auto" takes the first that applies.
        mask_above: mask values above this are forged, 0 to 254.
        invert_masks: mask values above `mask_above` are untouched instead, and all others forged.
    """

    layout: Layout = "auto"
    mask_above: int = 0
    invert_masks: bool = False


class Folder(CorpusBuilder):
    """Rows: `image`, `label`, `mask` (size of its image), `id` (name), `source` (folder or list), `task`.

    `id`, `source` and `task` are those of metadata.jsonl where there is one; `task` is None elsewhere.
    """

    BUILDER_CONFIG_CLASS = FolderConfig
    BUILDER_CONFIGS: ClassVar[list[datasets.BuilderConfig]] = [FolderConfig(name="default")]
    DEFAULT_CONFIG_NAME = "default"
    CARD = CARD
    EXPECTED = (
        "metadata.jsonl; a JSON list of [image, mask] or of path and label; folders Tp and Gt; folders images and "
        "masks; or masks beside their images as <name>_mask.png or <name>_gt.png"
    )

    def features(self) -> datasets.Features:
        """The canonical columns and `task`."""
        return canonical_features(task=datasets.Value("string"))

    def splits(self, notes: Notes) -> dict[str, list[Any]]:
        """Entries by split."""
        if self.config.layout not in get_args(Layout):
            raise ValueError(f"unknown layout {self.config.layout!r}: expected one of {', '.join(get_args(Layout))}")
        if not 0 <= self.config.mask_above < MAX_MASK_VALUE:
            raise ValueError(f"mask_above is {self.config.mask_above}: expected 0 to {MAX_MASK_VALUE - 1}")
        layout = self.config.layout if self.config.layout != "auto" else _find_layout(self.files)
        if layout is None:
            return {}
        if layout == "metadata":
            entries = _metadata_entries(self.files.root)
        elif layout == "tp_gt":
            entries = tp_gt_entries(self.files, notes)
        elif layout == "image_mask":
            entries = image_mask_entries(self.files, notes)
        else:
            entries = list_entries(self.files, layout, notes)
        if notes.counts and not any(entries.values()):
            seen = "; ".join(f"{kind} ({notes.examples[kind][0]})" for kind in notes.counts)
            raise ValueError(f"layout {layout} gives no image in {self.files.root}: {seen}")
        return {split: cut_into_pieces(found) for split, found in entries.items()}

    def rows(self, piece: list[Entry], notes: Notes) -> Iterator[dict[str, Any]]:
        """A row an entry."""
        for entry in piece:
            row = self._row(entry, notes)
            if row is not None:
                yield row

    def _row(self, entry: Entry, notes: Notes) -> dict[str, Any] | None:
        reader, name = locate(self.files, entry.folder, entry.image)
        checked = checked_image(reader, name, notes, self.config.verify_images)
        if checked is None:
            return None
        image, (width, height) = checked
        label, mask = entry.label, None
        if entry.untouched:
            mask = np.zeros((height, width), np.uint8)
        elif entry.mask is not None:
            reader, mask_name = locate(self.files, entry.folder, entry.mask)
            config = self.config
            mask = read_binary_mask(reader, mask_name, (width, height), config.mask_above, notes, config.invert_masks)
            if mask is None:
                return None
            if label == "fake" and not mask.any():
                notes.add("fake image whose mask has no forged pixel", name)
            label = label or LABEL_NAMES[int(mask.any())]
        return {
            "image": image,
            "label": label,
            "mask": None if mask is None else stored_mask(mask),
            "id": entry.id or name,
            "source": entry.source,
            "task": entry.task,
        }


def _find_layout(files: CorpusFiles) -> str | None:
    """The first layout that the names and the JSON lists at the top show, None for none.

    Args:
        files: the corpus.

    Raises:
        ValueError: none, but there is a broken JSON file that might have been a list.
    """
    if any(f"{folder}metadata.jsonl" in files for folder in ("", *(f"{split}/" for split in SPLITS))):
        return "metadata"
    notes = Notes()
    lists = {list_layout(items) for items in json_lists(files, notes).values()}
    tries: dict[str, Callable[[], Any]] = {
        "imdl_json": lambda: "imdl_json" in lists,
        "forensichub_json": lambda: "forensichub_json" in lists,
        "tp_gt": lambda: tp_gt_entries(files, Notes()),
        "image_mask": lambda: image_mask_entries(files, Notes()),
    }
    layout = next((layout for layout, applies in tries.items() if applies()), None)
    if layout is None and notes.counts:
        raise ValueError(f"no layout was found, and {BROKEN_JSON}: {notes.examples[BROKEN_JSON][0]}")
    return layout


def _metadata_entries(root: Path) -> Entries:
    """Rows of metadata.jsonl in `root`, or in its folders of splits."""
    if not root.is_dir():
        raise ValueError(f"{root} is an archive with metadata.jsonl: unpack it")
    folders = {split: root / split for split in SPLITS if (root / split / "metadata.jsonl").is_file()}
    return {split: _metadata_rows(folder, root) for split, folder in (folders or {"train": root}).items()}


def _metadata_rows(folder: Path, root: Path) -> list[Entry]:
    entries = []
    for row in load_forgery_folder(folder).with_format("arrow")[:].to_pylist():
        label = None if row["label"] is None else LABEL_NAMES[row["label"]]
        entries.append(
            Entry(
                image=row["image"]["path"],
                mask=row["mask"] and row["mask"]["path"],
                label=label,
                source=row["source"] or root.name,
                untouched=row["mask"] is None and label == LABEL_NAMES[0],
                id=row["id"],
                task=row["task"],
            )
        )
    return entries


__all__ = ["CARD", "Folder", "FolderConfig"]
