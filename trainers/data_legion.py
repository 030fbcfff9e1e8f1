"""From images with outlined and explained artifacts to batches for LEGION's stage 1."""

import logging
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
import torch
from transformers import ProcessorMixin

from forgescope.processing.grounded_text import write_grounded_text
from forgescope.processing.image_conversion import to_upright_rgb

from .row_faults import RowFaults, row_names

logger = logging.getLogger(__name__)

# Rows whose texts are read at a time, with the encoded masks beside them.
TEXT_ROWS = 256


@dataclass(frozen=True)
class LegionDataConfig:
    """What LEGION is taught, and on how many rows it is evaluated.

    Args:
        first_places: Tag the first place of each phrase in the caption, as the published code does, which breaks
            repeated and nested phrases; see `write_grounded_text`.
        longest_edge: Long side of the image as SAM sees it, in training and its evaluation; None is that of the
            processor. Not given in the paper; the published code trains with 512 and asks with 1024.
        validation_rows: Rows that are held out of data without a split `validation`, the same whatever the order of
            the rows; not given in the paper.
    """

    first_places: bool = False
    longest_edge: int | None = None
    validation_rows: int = 500

    def __post_init__(self) -> None:
        if self.longest_edge is not None and self.longest_edge < 1:
            raise ValueError(f"data.longest_edge must be at least 1 (or null), got {self.longest_edge}")
        if self.validation_rows < 1:
            raise ValueError(f"data.validation_rows must be at least 1, got {self.validation_rows}")


def check_columns(rows: datasets.Dataset) -> None:
    """Refuse data without images, captions and regions that have a sentence and a mask each.

    Raises:
        ValueError: So.
    """
    region = rows.features["regions"].feature if "regions" in rows.column_names else {}
    missing = [name for name in ("image", "caption", "regions") if name not in rows.column_names]
    missing += [f"regions.{name}" for name in ("sentence", "mask") if "regions" not in missing and name not in region]
    if missing:
        raise ValueError(
            f"the data have no column {', '.join(missing)}: expected image, caption and regions with sentence and "
            "mask, as the configuration grounded of the corpus synthscars has them"
        )


@dataclass(frozen=True)
class GroundedRows:
    """Rows that can be taught.

    Args:
        kept: Positions of the rows.
        texts: Captions with tagged phrases, one a row.
        orders: For each `[SEG]` of a text the number of its region.
    """

    kept: list[int]
    texts: list[str]
    orders: list[list[int]]


def grounded_rows(rows: datasets.Dataset, first_places: bool = False) -> GroundedRows:
    """Choose the rows that can be taught, and say in the log which cannot, and which regions have no phrase.

    Left out are rows without a caption, with tags in it, or without any region whose sentence is in it. A region whose
    sentence is not in the caption, or has no place of its own there, is left out with its mask.

    Args:
        rows: See `check_columns`.
        first_places: See `LegionDataConfig`.

    Returns:
        The rows.

    Raises:
        ValueError: If a column is missing, or no row is left.
    """
    check_columns(rows)
    names, faults = row_names(rows), RowFaults()
    taught = GroundedRows([], [], [])
    for index, (caption, sentences) in enumerate(_texts(rows)):
        try:
            text, order = write_grounded_text(caption, sentences, authors_way=first_places)
        except ValueError:  # its message repeats the text
            faults.add("the caption or a sentence has tags, left out", names[index])
            continue
        if not order:
            said = "no region" if not sentences else "no region whose sentence is in the caption"
            faults.add("no caption, left out" if not caption.strip() else f"{said}, left out", names[index])
            continue
        if len(order) < len(sentences):
            faults.add("regions whose sentence has no place in the caption, left out", names[index])
        taught.kept.append(index)
        taught.texts.append(text)
        taught.orders.append(order)
    faults.log(len(rows))
    if not taught.kept:
        raise faults.nothing_left(len(rows))
    return taught


def _texts(rows: datasets.Dataset) -> Any:
    """Caption and sentences of every row; no image or mask is decoded."""
    columns = rows.select_columns(["caption", "regions"]).with_format("arrow")
    for table in columns.iter(batch_size=TEXT_ROWS):
        sentences = table["regions"].to_pylist()
        for caption, regions in zip(table["caption"].to_pylist(), sentences, strict=True):
            yield caption or "", [region["sentence"] or "" for region in regions or ()]


class LegionDataset(torch.utils.data.Dataset):
    """Images with the text that is taught and the masks of its phrases.

    Args:
        rows: Dataset with the columns `image`, `caption` and `regions`, and perhaps `id`: the configuration `grounded`
            of the corpus `synthscars`.
        first_places: See `LegionDataConfig`.

    Raises:
        ValueError: See `grounded_rows`, which also says what is left out.
    """

    def __init__(self, rows: datasets.Dataset, first_places: bool = False):
        taught = grounded_rows(rows, first_places)
        names = row_names(rows)
        self.texts, self.orders = taught.texts, taught.orders
        self.names = [names[index] for index in taught.kept]
        self.rows = rows.select(taught.kept).select_columns(["image", "regions"])

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """`image` (PIL, RGB), `text` with tags, and `masks` (n, H, W) uint8 in the order of its `[SEG]`, 1 = artifact.

        Raises:
            ValueError: If the image or a mask is damaged, or a mask is missing or has another size than the image.
        """
        try:
            row = self.rows[index]
            image, regions = to_upright_rgb(row["image"]), row["regions"]
        except (OSError, SyntaxError, ValueError) as error:  # what PIL raises; SyntaxError for broken PNG chunks
            raise ValueError(f"image {self.names[index]} cannot be read: {error}; leave it out of the data") from error
        masks = [regions[number]["mask"] for number in self.orders[index]]
        for mask in masks:
            if mask is None or mask.size != image.size:
                found = "missing" if mask is None else f"{mask.width} x {mask.height}"
                raise ValueError(
                    f"image {self.names[index]} is {image.width} x {image.height}, the mask of a region {found}: "
                    "expected masks of the image's size"
                )
        stacked = np.stack([np.asarray(mask.convert("L")) > 0 for mask in masks])
        return {"image": image, "text": self.texts[index], "masks": stacked.astype(np.uint8)}


class LegionCollator:
    """Turn rows of `LegionDataset` into the arguments of `LegionForGroundedExplanation`.

    Args:
        processor: A `LegionProcessor`.
        longest_edge: See `LegionDataConfig`.
    """

    def __init__(self, processor: ProcessorMixin, longest_edge: int | None = None):
        self.processor = processor
        self.longest_edge = longest_edge

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """What `LegionProcessor.training_inputs` gives: prompts with answers, padded on the right, and their masks."""
        inputs = self.processor.training_inputs(
            [row["image"] for row in rows],
            [row["text"] for row in rows],
            masks=[row["masks"] for row in rows],
            longest_edge=self.longest_edge,
        )
        return dict(inputs)
