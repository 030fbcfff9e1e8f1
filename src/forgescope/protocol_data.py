"""The test images of a protocol: drawn by a seed before any is read, then read one after another."""

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from forgescope.datasets_scripts.corpus import CorpusBuilder
from forgescope.datasets_scripts.features import LABEL_NAMES
from forgescope.datasets_scripts.files import CorpusFiles
from forgescope.datasets_scripts.load import corpus_builder
from forgescope.datasets_scripts.notes import Notes
from forgescope.datasets_scripts.pixels import IMAGE_ERRORS, StoredImage, checked_image, is_image_name
from forgescope.evaluation.evaluator import Example
from forgescope.evaluation.protocol import Protocol
from forgescope.evaluation.results import Skipped
from forgescope.trainers.crops import central_corner, crop, enlarge

from .reading import as_read_image, read_image

REAL, FAKE = LABEL_NAMES
# Images of a corpus that are asked for together, so that a Parquet file is not opened anew for each.
READ_TOGETHER = 16
# In place of the name of a split: all of them.
ALL_SPLITS = "all"
# Source and label of images that are drawn from together.
Pool = tuple[str, str]


@dataclass(frozen=True)
class TestImages:
    """The drawn images of a protocol.

    Args:
        counts: their number for each source and label.
        wanted: images that were to be drawn for each; None: all.
        examples: reads them, one after another; may be called again.
        missing: reads those of the corpus whose id a function says yes to, likewise.
        listed: id, source and label (1 = fake) of each image of the corpus, where they are known beforehand.
    """

    counts: dict[Pool, int]
    wanted: int | None
    examples: Callable[[], Iterator[Example | Skipped]]
    missing: Callable[[Callable[[str], bool]], Iterator[Example | Skipped]] = lambda _: iter(())
    listed: tuple[tuple[str, str, int], ...] = ()

    @property
    def total(self) -> int:
        """Number of images of all sources."""
        return sum(self.counts.values())

    def shortfalls(self, protocol: Protocol) -> list[str]:
        """Say for each subset of a protocol whether fewer images are there than wanted, or none."""
        sentences = []
        for group, sources in protocol.groups.items():
            found = {
                label: sum(self.counts.get((one, label), 0) for one in sources or [group]) for label in LABEL_NAMES
            }
            least = self.wanted or 1
            short = [f"{count} {label}" for label, count in found.items() if count < least]
            if short:
                sentences.append(f"{group}: {' and '.join(short)} images" + f" of {least}" * bool(self.wanted))
        return sentences


def draw_test_images(
    protocol: Protocol, data: Path, real: Path | None = None, per_class: int | None = None, seed: int = 0
) -> TestImages:
    """Choose the images that a protocol is run on.

    Which they are depends on the names of the files and the seed alone, not on their order or the folder above them; a
    smaller draw is a part of a larger one.

    Args:
        protocol: the protocol.
        data: its corpus.
        real: folder or archive of photographs, where the corpus has none; as many as there are fakes are drawn.
        per_class: images of each source and label; None: as many as the paper draws.
        seed: of the draw.

    Raises:
        FileNotFoundError: `data` or `real` does not exist, or holds nothing of its kind.
        ValueError: photographs are needed and not given, or the other way round; the corpus has not the split.
    """
    if protocol.real_images and real is None:
        raise ValueError(
            f"{protocol.name} compares with {protocol.real_images}, which are not in its corpus: give --real DIR"
        )
    if real is not None and not protocol.real_images:
        raise ValueError(f"{protocol.name} has real images in its own corpus: leave out --real")
    builder = corpus_builder(protocol.corpus, data, protocol.config, hash_files=False, **protocol.options)
    pools = _pools(builder, protocol, data)
    wanted = per_class or protocol.images_per_class
    files = None
    if real is not None:
        ((source, _),) = pools
        files, names = photographs_of(real, protocol.real_images)
        pools[source, REAL] = [(name, name) for name in names]
        wanted = min(wanted or len(names), *(len(pool) for pool in pools.values()))
    drawn = {pool: draw(pairs, wanted, seed) for pool, pairs in pools.items()}

    def examples() -> Iterator[Example | Skipped]:
        for (source, label), items in drawn.items():
            if files is not None and label == REAL:
                yield from read_photographs(files, items, source)
            else:
                yield from _read_items(builder, items, source)

    own = {pool: items for pool, items in drawn.items() if files is None or pool[1] != REAL}

    def missing(is_wanted: Callable[[str], bool]) -> Iterator[Example | Skipped]:
        for (source, _), items in own.items():
            yield from _read_items(builder, [one for one in items if is_wanted(builder.facts(one)["id"])], source)

    listed = tuple(
        (builder.facts(one)["id"], source, LABEL_NAMES.index(label))
        for (source, label), items in own.items()
        for one in items
    )
    return TestImages({pool: len(items) for pool, items in drawn.items()}, wanted, examples, missing, listed)


def draw(pairs: Sequence[tuple[str, Any]], count: int | None, seed: int) -> list[Any]:
    """Choose some of many items by the hashes of their names and a seed.

    Args:
        pairs: name and item; only the last part of a name counts, the rest decides between equal ones.
        count: how many; None, or more than there are: all.
        seed: other seeds choose others.

    Returns:
        The items, in the order of `pairs`.
    """
    if count is None or count >= len(pairs):
        return [item for _, item in pairs]

    def rank(place: int) -> tuple[bytes, str]:
        name = pairs[place][0]
        return hashlib.sha256(f"{seed}/{name.rpartition('/')[2]}".encode()).digest(), name

    return [pairs[place][1] for place in sorted(sorted(range(len(pairs)), key=rank)[:count])]


def prepare(image: Image.Image, protocol: Protocol) -> Image.Image:
    """Cut out what the model sees: the whole image, or its central window, of a small image enlarged."""
    if protocol.crop_size is None:
        return image
    image, _ = enlarge(image, {}, protocol.crop_size)
    corner = central_corner(image, protocol.crop_size, protocol.crop_padding)
    return crop(image, {}, corner, protocol.crop_size)[0]


def _pools(builder: CorpusBuilder, protocol: Protocol, data: Path) -> dict[Pool, list[tuple[str, Any]]]:
    """Id and item of every image that may be drawn; empty for those that the protocol has and the data have not."""
    pieces = split_pieces(builder, protocol.name, protocol.split, data)
    whole = next((name for name, sources in protocol.groups.items() if not sources), None)
    known = {source for sources in protocol.groups.values() for source in sources}
    pools: dict[Pool, list[tuple[str, Any]]] = {}
    for item in (item for piece in pieces for item in piece):
        facts = builder.facts(item)
        if whole or facts["source"] in known:
            pools.setdefault((whole or facts["source"], facts["label"]), []).append((facts["id"], item))
    if not pools:
        raise ValueError(f"{data} has no image of {', '.join(protocol.groups)}, which {protocol.name} is made of")
    return pools


def _read_items(builder: CorpusBuilder, items: list[Any], source: str) -> Iterator[Example | Skipped]:
    for start in range(0, len(items), READ_TOGETHER):
        some = items[start : start + READ_TOGETHER]
        images: dict[str, StoredImage] = {}
        notes, failure = Notes(), "the corpus gave no row for it"
        try:
            for row in builder.rows(some, notes):
                images[row["id"]] = row["image"]
        except (ValueError, OSError) as error:
            failure = str(error)
        for facts in map(builder.facts, some):
            name = facts["id"]
            known = name in images
            yield stored_example(images[name], name, source, facts["label"]) if known else _lost(name, notes, failure)


def split_pieces(builder: CorpusBuilder, name: str, split: str, data: Path, notes: Notes | None = None) -> list[Any]:
    """List the pieces of a split of a corpus, or those of `all`.

    Args:
        builder: reader of the corpus.
        name: protocol, for errors.
        split: `train`, `validation`, `test` or `all`.
        data: folder of the corpus, for errors.
        notes: counts what was met in the folder; None: nobody wants to know.

    Raises:
        FileNotFoundError: there is nothing of the corpus.
        ValueError: it has not this split.
    """
    splits = {one: pieces for one, pieces in builder.splits(notes or Notes()).items() if pieces}
    if not splits:
        raise FileNotFoundError(f"{data} holds no {builder.CARD.title}: expected {builder.EXPECTED}")
    if split == ALL_SPLITS:
        return [piece for pieces in splits.values() for piece in pieces]
    if split not in splits:
        raise ValueError(f"{name} needs the split {split}: {data} has {', '.join(splits)}")
    return splits[split]


def photographs_of(folder: Path, what: str) -> tuple[CorpusFiles, list[str]]:
    """List the images of a folder or archive.

    Args:
        folder: the folder or archive.
        what: what it must hold, for the error.

    Raises:
        FileNotFoundError: it does not exist, or has no image.
    """
    files = CorpusFiles(folder)
    names = list(filter(is_image_name, files.names()))
    if not names:
        raise FileNotFoundError(f"{folder} holds no image: expected {what}")
    return files, names


def read_photographs(files: CorpusFiles, names: list[str], source: str) -> Iterator[Example | Skipped]:
    """Read unedited images one after another."""
    for name in names:
        notes = Notes()
        checked = checked_image(files, name, notes)
        yield _lost(name, notes, "") if checked is None else stored_example(checked[0], name, source, REAL)


def stored_example(
    stored: StoredImage, name: str, source: str, label: str, mask: NDArray[np.uint8] | None = None
) -> Example | Skipped:
    """Decode an image of a corpus.

    Args:
        stored: value of its image column.
        name: its id.
        source: the subset it is reported under.
        label: `real` or `fake`.
        mask: (H, W), where the protocol looks at pixels.
    """
    try:
        if stored["bytes"] is None:
            image = read_image(stored["path"]).image
        else:
            with Image.open(io.BytesIO(stored["bytes"])) as opened:
                opened.load()
                image = as_read_image(opened).image
    except IMAGE_ERRORS as error:
        return Skipped(name, str(error))
    return Example(image, mask, source, name, label=LABEL_NAMES.index(label))


def _lost(name: str, notes: Notes, otherwise: str) -> Skipped:
    """Say why an image gave no row, as the reader of its corpus noted it."""
    for kind, examples in notes.examples.items():
        for example in examples:
            if example == name or example.startswith(f"{name}: "):
                return Skipped(name, f"{kind}{example.removeprefix(name)}")
    return Skipped(name, otherwise)
