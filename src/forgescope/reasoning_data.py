"""The annotated test images of MMFR: named, drawn by a seed, and read when a model is asked about them."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from forgescope.datasets_scripts.corpus import CorpusBuilder
from forgescope.datasets_scripts.features import LABEL_NAMES
from forgescope.datasets_scripts.load import corpus_builder
from forgescope.datasets_scripts.mmfr import plain_generator
from forgescope.datasets_scripts.notes import UNUSABLE, Notes
from forgescope.evaluation.reasoning_protocol import ReasoningProtocol
from forgescope.evaluation.reasoning_scores import attribute_text
from forgescope.evaluation.results import Skipped

from .protocol_data import draw, split_pieces, stored_example


@dataclass(frozen=True)
class AnnotatedImage:
    """A test image and what is known of it.

    Args:
        id: path in the data set.
        source: subset of the protocol.
        label: 1 = fake, 0 = real.
        reference: annotated reasons; "" where there are none.
    """

    id: str
    source: str
    label: int
    reference: str


@dataclass(frozen=True)
class AnnotatedImages:
    """The drawn images of a protocol.

    Args:
        protocol: the protocol.
        data: folder of the corpus.
        builder: its reader, which has listed the files.
        items: the images, in the order of the corpus.
        skipped: annotated images that are damaged.
        notes: what was met in the corpus, a sentence for each kind.
    """

    protocol: ReasoningProtocol
    data: Path
    builder: CorpusBuilder
    items: list[AnnotatedImage]
    skipped: list[Skipped] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def read(self, ids: set[str]) -> Iterator[tuple[str, Image.Image | Skipped]]:
        """Read images by their ids, in the order of the corpus."""
        left = set(ids)
        for row in _rows(self.builder, self.protocol, self.data, Notes()):
            if row["id"] in left:
                left.remove(row["id"])
                example = stored_example(row["image"], row["id"], row["source"], row["label"])
                yield row["id"], example if isinstance(example, Skipped) else example.image

    def shortfalls(self, per_class: int | None) -> list[str]:
        """Say for each subset whether fewer images are there than wanted, or none."""
        counts = Counter((item.source, LABEL_NAMES[item.label]) for item in self.items)
        least = per_class or 1
        sentences = []
        for group in self.protocol.groups:
            short = [f"{counts[group, label]} {label}" for label in LABEL_NAMES if counts[group, label] < least]
            if short:
                sentences.append(f"{group}: {' and '.join(short)} images" + f" of {least}" * bool(per_class))
        return sentences


def draw_annotated_images(
    protocol: ReasoningProtocol, data: Path, per_class: int | None = None, seed: int = 0
) -> AnnotatedImages:
    """Choose the images that a protocol is run on; which they are depends on their names and the seed alone.

    Args:
        protocol: the protocol.
        data: MMFR's evaluation sets.
        per_class: fake, and real, images of each subset; None: all.
        seed: of the draw.

    Raises:
        FileNotFoundError: `data` does not exist, or holds nothing of the corpus.
        ValueError: it has no image of the protocol's subsets.
    """
    notes = Notes(most_examples=None)
    builder = corpus_builder(protocol.corpus, data, protocol.config, hash_files=False, **protocol.options)
    items: dict[str, AnnotatedImage] = {}
    for row in _rows(builder, protocol, data, notes):
        label, reference = LABEL_NAMES.index(row["label"]), attribute_text(row["reasoning"])
        items.setdefault(row["id"], AnnotatedImage(row["id"], row["source"], label, reference))
    if not items:
        raise ValueError(f"{data} has no image of {', '.join(protocol.groups)}, which {protocol.name} is made of")
    pools: dict[tuple[str, int], list[tuple[str, str]]] = {}
    for item in items.values():
        pools.setdefault((item.source, item.label), []).append((item.id, item.id))
    drawn = {name for pool in pools.values() for name in draw(pool, per_class, seed)}
    skipped = [
        Skipped(name.partition(": ")[0], f"{kind}{name[len(name.partition(': ')[0]) :]}")
        for kind, names in notes.examples.items()
        if UNUSABLE.search(kind)
        for name in names
    ]
    remarks = [f"{kind}: {count}" for kind, count in notes.counts.items()]
    return AnnotatedImages(
        protocol, data, builder, [item for item in items.values() if item.id in drawn], skipped, remarks
    )


def _rows(builder: CorpusBuilder, protocol: ReasoningProtocol, data: Path, notes: Notes) -> Iterator[dict[str, Any]]:
    """Rows of the protocol's subsets, `source` named as the protocol names it."""
    for piece in split_pieces(builder, protocol.name, protocol.split, data, notes):
        for row in builder.rows(piece, notes):
            source = plain_generator(row["source"])
            if source in protocol.groups:
                yield row | {"source": source}
