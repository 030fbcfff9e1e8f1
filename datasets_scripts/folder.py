"""Folder: local test sets in the forms that people keep them in.

Layouts, tried in this order by `layout="auto"`:

- `metadata`: metadata.jsonl, or train, validation and test folders that have one each, with the fields that
  `load_forgery_folder` reads; here all rows of one metadata.jsonl are `train`.
- `imdl_json`: IMDL-BenCo lists `[[image, mask], [image, "Negative"]]`.
- `forensichub_json`: ForensicHub lists `[{"path", "label"}]`, label 0 real and 1 fake; no masks.
- `tp_gt`: folders `Tp` and `Gt`, authentic images in `Au`.
- `image_mask`: folders `images` and `masks` (or `image`, `imgs`, `img`; `mask`, `gt`), or masks beside their images.

Masks have the name of their image with any image suffix, perhaps with `_mask`, `_gt`, `__mask` or `_forged` behind it.
Paths in lists are relative to the list, or absolute. A folder or list named after a split is that split, all else is
`train`. Traps: JPEG masks have values between black and white (see `mask_above`); a mask of 0 and 1 read with a limit
of 127 is empty, which is counted; loaders of TampCOCO take values above 1.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import datasets
import numpy as np

from .binary_masks import read_binary_mask
from .corpus import CorpusBuilder, CorpusCard, CorpusConfig, canonical_features, cut_into_pieces
from .features import LABEL_NAMES, SPLITS, parse_metadata_row
from .files import CorpusFiles
from .folder_layouts import Entries, Entry, image_mask_entries, tp_gt_entries
from .image_lists import BROKEN_JSON, json_lists, list_entries, list_layout
from .json_lines import LineRange, line_ranges, read_records
from .named_files import locate
from .notes import Notes
from .pixels import checked_image, stored_mask

Layout = Literal["auto", "metadata", "imdl_json", "forensichub_json", "tp_gt", "image_mask"]
MAX_MASK_VALUE = 255
METADATA = "metadata.jsonl"

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
        layout = self.config.layout
        if layout in ("auto", "metadata") and (ranges := _metadata_ranges(self.files)):
            return ranges
        if layout == "metadata":
            return {}
        if layout == "auto":
            layout, entries = _first_layout(self.files, notes)
        else:
            entries = _entries(self.files, layout, notes)
        if notes.counts and not any(entries.values()):
            seen = "; ".join(f"{kind} ({notes.examples[kind][0]})" for kind in notes.counts)
            raise ValueError(f"layout {layout} gives no image in {self.files.root}: {seen}")
        return {split: cut_into_pieces(found) for split, found in entries.items()}

    def rows(self, piece: list[Entry] | LineRange, notes: Notes) -> Iterator[dict[str, Any]]:
        """A row an entry."""
        for entry in _metadata_entries(self.files, piece, notes) if isinstance(piece, LineRange) else piece:
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


def _metadata_ranges(files: CorpusFiles) -> dict[str, list[Any]]:
    """Ranges of metadata.jsonl in the folders of splits, or in the root."""
    names = {split: f"{split}/{METADATA}" for split in SPLITS if f"{split}/{METADATA}" in files}
    if not names and METADATA in files:
        names = {"train": METADATA}
    return {split: list(line_ranges(files, name)) for split, name in names.items()}


def _metadata_entries(files: CorpusFiles, part: LineRange, notes: Notes) -> Iterator[Entry]:
    folder = part.name.rpartition("/")[0]
    for where, record in read_records(files, part, notes):
        try:
            row = parse_metadata_row(record, where, Path(folder))
        except ValueError as error:
            notes.add("row that cannot be used", str(error))
            continue
        label = None if row["label"] is None else LABEL_NAMES[row["label"]]
        yield Entry(
            image=row["image"],
            mask=row["mask"],
            label=label,
            source=row["source"] or files.root.name,
            untouched=row["mask"] is None and label == LABEL_NAMES[0],
            id=row["id"],
            task=row["task"],
        )


def _entries(files: CorpusFiles, layout: str, notes: Notes) -> Entries:
    if layout == "tp_gt":
        return tp_gt_entries(files, notes)
    if layout == "image_mask":
        return image_mask_entries(files, notes)
    return list_entries(files, layout, notes)


def _first_layout(files: CorpusFiles, notes: Notes) -> tuple[str, Entries]:
    """The first layout that names and JSON lists at the top show, and its entries; ("auto", {}) for none.

    Raises:
        ValueError: none, but there is a broken JSON file that might have been a list.
    """
    list_notes = Notes()
    lists = {list_layout(items) for items in json_lists(files, list_notes).values()}
    for layout in ("imdl_json", "forensichub_json"):
        if layout in lists:
            return layout, _entries(files, layout, notes)
    for layout in ("tp_gt", "image_mask"):
        entries = _entries(files, layout, notes)
        if entries:
            return layout, entries
    if list_notes.counts:
        raise ValueError(f"no layout was found, and {BROKEN_JSON}: {list_notes.examples[BROKEN_JSON][0]}")
    return "auto", {}


__all__ = ["CARD", "Folder", "FolderConfig"]
