"""Images with outlined and explained artifacts, as LEGION's protocols need them: named, drawn by a seed, then read."""

import io
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from forgescope.datasets_scripts.corpus import CorpusBuilder
from forgescope.datasets_scripts.load import corpus_builder
from forgescope.datasets_scripts.notes import UNUSABLE, Notes
from forgescope.datasets_scripts.pixels import binary_mask, ids_of, stored_mask
from forgescope.datasets_scripts.polygons import fill_boxes
from forgescope.evaluation.grounded_protocol import GroundedProtocol
from forgescope.evaluation.results import Skipped

from .protocol_data import draw, split_pieces, stored_example

Row = dict[str, Any]


@dataclass(frozen=True)
class GroundedItem:
    """A test image and what people marked in it. Masks are PNG files, as bytes.

    Args:
        id: its id in the corpus.
        file_name: the last part of its image's path.
        size: (height, width).
        mask: of all artifacts; None: none is marked.
        phrases: mask of each artifact.
        reference: annotated explanation; "" for none.
        is_only: whether no other image of the corpus has its file name.
    """

    id: str
    file_name: str
    size: tuple[int, int]
    mask: bytes | None = None
    phrases: tuple[bytes, ...] = ()
    reference: str = ""
    is_only: bool = True

    def whole(self) -> NDArray[np.uint8]:
        """(H, W) mask of 0 and 1 of all artifacts."""
        return np.zeros(self.size, np.uint8) if self.mask is None else binary_mask(ids_of(self.mask, self.id))

    def parts(self) -> list[NDArray[np.uint8]]:
        """(H, W) mask of each artifact."""
        return [binary_mask(ids_of(one, self.id)) for one in self.phrases]


@dataclass(frozen=True)
class GroundedImages:
    """The drawn images of a protocol.

    Args:
        protocol: the protocol.
        data: folder of the corpus.
        split: the split that they are from.
        builder: its reader.
        items: the images, in the order of the corpus.
        skipped: annotated images that are missing or damaged.
        notes: what was met in the corpus, a sentence for each kind.
    """

    protocol: GroundedProtocol
    data: Path
    split: str
    builder: CorpusBuilder
    items: list[GroundedItem]
    skipped: list[Skipped] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def read(self, ids: set[str]) -> Iterator[tuple[str, Image.Image | Skipped]]:
        """Read images by their ids, in the order of the corpus."""
        left, (source,) = set(ids), self.protocol.groups
        for row in _rows(self.builder, self.protocol, self.split, self.data, Notes()):
            if row["id"] in left:
                left.remove(row["id"])
                example = stored_example(row["image"], row["id"], source, row["label"])
                yield row["id"], example if isinstance(example, Skipped) else example.image


def with_rasterizer(protocol: GroundedProtocol, rasterizer: str | None) -> GroundedProtocol:
    """Choose the rule that makes masks of polygons.

    Raises:
        ValueError: the corpus has no polygons.
    """
    if rasterizer is None:
        return protocol
    if protocol.corpus != "synthscars":
        raise ValueError(f"--rasterizer cannot be used with {protocol.name}: its masks are not made of polygons")
    return replace(protocol, rasterizer=rasterizer, options={**protocol.options, "rasterizer": rasterizer})


def draw_grounded_images(
    protocol: GroundedProtocol, data: Path, count: int | None = None, seed: int = 0, split: str | None = None
) -> GroundedImages:
    """Choose the images that a protocol is run on; which they are depends on their ids and the seed alone.

    Args:
        protocol: the protocol.
        data: its corpus.
        count: images; None: all.
        seed: of the draw.
        split: `train`, `validation`, `test` or `all`; None: the protocol's.

    Raises:
        FileNotFoundError: `data` does not exist, or holds nothing of the corpus.
        ValueError: it has not this split, no image that can be read, or an option is wrong.
        ImportError: a package that makes masks is missing.
    """
    notes, split = Notes(most_examples=None), split or protocol.split
    builder = corpus_builder(protocol.corpus, data, protocol.config, hash_files=False, **protocol.options)
    items: dict[str, GroundedItem] = {}
    for row in _rows(builder, protocol, split, data, notes):
        item = READERS[protocol.corpus](row)
        if item.id in items:
            notes.add("further annotation of an id, left out", item.id)
        items.setdefault(item.id, item)
    skipped = [
        Skipped(name.partition(": ")[0], f"{kind}: {name}")
        for kind, names in notes.examples.items()
        if UNUSABLE.search(kind)
        for name in names
    ]
    if not items:
        first = f"; the first, {skipped[0].name}: {skipped[0].reason}" if skipped else ""
        raise ValueError(f"{data} has no image that {protocol.name} can be run on{first}")
    drawn = {item.id for item in draw(list(items.items()), count, seed)}
    remarks = [f"{kind}: {number}" for kind, number in notes.counts.items()]
    uses = Counter(item.file_name for item in items.values())
    chosen = [replace(item, is_only=uses[item.file_name] == 1) for item in items.values() if item.id in drawn]
    return GroundedImages(protocol, data, split, builder, chosen, skipped, remarks)


def _rows(builder: CorpusBuilder, protocol: GroundedProtocol, split: str, data: Path, notes: Notes) -> Iterator[Row]:
    for piece in split_pieces(builder, protocol.name, split, data, notes):
        yield from builder.rows(piece, notes)


def _synthscars(row: Row) -> GroundedItem:
    phrases = tuple(region["mask"]["bytes"] for region in row["regions"])
    return GroundedItem(row["id"], row["file_name"], _size(row), _bytes(row["mask"]), phrases, row["caption"])


def _loki(row: Row) -> GroundedItem:
    """Boxes are masks, and the reference the texts on the whole image, then those on its regions."""
    texts = [*row["global_explanations"], *(region["explanation"] for region in row["regions"])]
    height, width = _size(row)
    boxes = [fill_boxes([region["bbox"]], (width, height)) for region in row["regions"]]
    phrases = tuple(bytes(stored_mask(mask)["bytes"] or b"") for mask in boxes)
    reference = " ".join(text.strip() for text in texts if text.strip())
    return GroundedItem(row["id"], last_part(row["id"]), (height, width), _bytes(row["mask"]), phrases, reference)


def _richhf18k(row: Row) -> GroundedItem:
    return GroundedItem(row["id"], last_part(row["id"]), _size(row), _bytes(row["mask"]))


READERS: dict[str, Callable[[Row], GroundedItem]] = {
    "synthscars": _synthscars,
    "loki": _loki,
    "richhf18k": _richhf18k,
}


def _size(row: Row) -> tuple[int, int]:
    """(height, width) of an image, of which nothing but the header is read."""
    stored = row["image"]
    with Image.open(stored["path"] if stored["bytes"] is None else io.BytesIO(stored["bytes"])) as image:
        return image.height, image.width


def _bytes(mask: dict[str, Any] | None) -> bytes | None:
    return None if mask is None else mask["bytes"]


def last_part(path: str) -> str:
    """Name of a file without its folders."""
    return path.replace("\\", "/").rpartition("/")[2]
