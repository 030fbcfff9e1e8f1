"""The test images of DiffSeg30k's protocols: chosen by what their masks say, drawn by a seed, then read one by one."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from forgescope.datasets_scripts.corpus import CorpusBuilder
from forgescope.datasets_scripts.load import corpus_builder
from forgescope.datasets_scripts.notes import UNUSABLE, Notes
from forgescope.datasets_scripts.pixels import ids_of
from forgescope.evaluation.edit_protocol import EditProtocol
from forgescope.evaluation.evaluator import Example
from forgescope.evaluation.results import Skipped

from .edit_bases import read_bases
from .protocol_data import (
    FAKE,
    REAL,
    Pool,
    TestImages,
    draw,
    photographs_of,
    read_photographs,
    split_pieces,
    stored_example,
)

# Kinds of notes on images or masks that miss the other.
UNPAIRED = ("image without mask", "mask without image")


@dataclass(frozen=True)
class EditData:
    """Where the images of a protocol are.

    Args:
        corpus: the corpus, as `load_corpus("diffseg30k", ...)` reads it.
        split: `train`, `validation`, `test` or `all`; None: the protocol's.
        real: folder or archive of unedited photographs, for protocols of images as a whole.
        variant: second folder of the same form, edited by a variant of the editor.
        bases: CSV with the columns `id` and `base` (`real` or `ai`); None: the corpus's own metadata.jsonl.
        editors: names of the ids 1, 2, ...; None: the order of Figure 6.
    """

    corpus: Path
    split: str | None = None
    real: Path | None = None
    variant: Path | None = None
    bases: Path | None = None
    editors: tuple[str, ...] | None = None


@dataclass(frozen=True)
class _Facts:
    """What the mask of an image says; `editors` is None where it does not tell them apart."""

    id: str
    label: str
    editors: tuple[str, ...] | None


@dataclass(frozen=True)
class _Source:
    """A folder of images, and the name of the subset of each id, None for those of none."""

    builder: CorpusBuilder
    pieces: list[Any]
    subset_of: Callable[[str], str | None]
    unpaired: list[Skipped]

    def rows(self, notes: Notes) -> Iterator[dict[str, Any]]:
        for piece in self.pieces:
            yield from self.builder.rows(piece, notes)


def draw_edited_images(
    protocol: EditProtocol, data: EditData, per_class: int | None = None, seed: int = 0
) -> TestImages:
    """Choose the images that a protocol is run on; every mask is read once for it.

    Args:
        protocol: the protocol.
        data: its folders.
        per_class: edited, and unedited, images of each subset; None: all, but as many unedited as edited ones.
        seed: of the draw; which images are drawn depends on it and on their ids alone.

    Raises:
        FileNotFoundError: a folder does not exist, or holds nothing of its kind.
        ValueError: something that the protocol needs is not there, or something is given that it has no use for.
    """
    _check_given(protocol, data)
    sources = _sources(protocol, data)
    lost = [one for source in sources for one in source.unpaired]
    pools = _pools(protocol, data, sources, lost)
    subsets = [subset for subset, label in pools if label == FAKE]
    if not subsets:
        raise ValueError(f"{protocol.name}: {data.corpus} has no image{_condition(protocol)}")
    files = None
    wanted = per_class
    if protocol.level == "images":
        unedited = (subsets[0], REAL)
        if data.real is not None:
            files, names = photographs_of(data.real, protocol.real_images)
            pools.setdefault(unedited, []).extend((name, (None, name)) for name in names)
        if unedited not in pools:
            raise ValueError(
                f"{protocol.name} compares with {protocol.real_images}, and {data.corpus} has none: give --real DIR"
            )
        least = min(len(pairs) for pairs in pools.values())
        wanted = min(per_class or least, least)
    drawn = {pool: draw(pairs, wanted, seed) for pool, pairs in pools.items()}
    chosen = {item: pool for pool, items in drawn.items() for item in items}

    def examples() -> Iterator[Example | Skipped]:
        yield from lost
        for number, source in enumerate(sources):
            yield from _read(source, {id_: pool for (one, id_), pool in chosen.items() if one == number})
        if files is not None:
            yield from read_photographs(files, [name for place, name in chosen if place is None], subsets[0])

    return TestImages({pool: len(items) for pool, items in drawn.items()}, per_class, examples)


def _pools(
    protocol: EditProtocol, data: EditData, sources: list[_Source], lost: list[Skipped]
) -> dict[Pool, list[tuple[str, Any]]]:
    """Id and item, number of the folder and id, of every image that may be drawn."""
    pools: dict[Pool, list[tuple[str, Any]]] = {}
    for number, source in enumerate(sources):
        for facts in _survey(source, lost):
            subset = source.subset_of(facts.id)
            if subset is None:
                lost.append(Skipped(facts.id, "its base is not stated"))
            elif _belongs(facts, protocol, data.corpus):
                pools.setdefault((subset, facts.label), []).append((facts.id, (number, facts.id)))
    return pools


def _check_given(protocol: EditProtocol, data: EditData) -> None:
    """Refuse folders that mean nothing to a protocol, and ask for the one it needs."""
    uses = {
        "real": protocol.level == "images",
        "variant": protocol.subsets == "variant",
        "bases": protocol.subsets == "base",
    }
    for name, used in uses.items():
        if getattr(data, name) is not None and not used:
            raise ValueError(f"{protocol.name} has no use for --{name}: leave it out")
    if uses["variant"] and data.variant is None:
        raise ValueError(
            f"{protocol.name} compares two folders: give --variant DIR, the same images edited by SDXL with a LoRA"
        )


def _sources(protocol: EditProtocol, data: EditData) -> list[_Source]:
    split = data.split or protocol.split
    subsets = list(protocol.groups)
    if protocol.subsets == "base":
        bases = read_bases(data.corpus, data.bases)
        names = {"real": subsets[0], "ai": subsets[1]}
        return [_source(protocol, data.corpus, split, data.editors, lambda id_: names.get(bases.get(id_, "")))]
    folders = [data.corpus] if data.variant is None else [data.corpus, data.variant]
    return [
        _source(protocol, folder, split, data.editors, _constantly(subset))
        for folder, subset in zip(folders, subsets, strict=True)
    ]


def _constantly(subset: str) -> Callable[[str], str]:
    return lambda _: subset


def _source(
    protocol: EditProtocol,
    folder: Path,
    split: str,
    editors: tuple[str, ...] | None,
    subset_of: Callable[[str], str | None],
) -> _Source:
    options: dict[str, Any] = {} if editors is None else {"id2editor": tuple(editors)}
    builder = corpus_builder(protocol.corpus, folder, protocol.config, hash_files=False, **options)
    known = builder.config.id2editor
    wanted = {*protocol.editors, *([protocol.of_editor] if protocol.of_editor else [])}
    if not wanted <= set(known):
        raise ValueError(
            f"{protocol.name} needs the editors {', '.join(sorted(wanted))}: the checkpoint names {', '.join(known)}"
        )
    notes = Notes()
    pieces = split_pieces(builder, protocol.name, split, folder, notes)
    return _Source(builder, pieces, subset_of, [one for kind in UNPAIRED for one in _noted(notes, kind)])


def _survey(source: _Source, lost: list[Skipped]) -> Iterator[_Facts]:
    """What the masks of a folder say; files that give no row go to `lost`."""
    notes = Notes()
    for row in tqdm(source.rows(notes), desc="read masks", unit="mask", disable=None):
        editors = row["edit_models"]
        yield _Facts(row["id"], row["label"], None if editors is None else tuple(editors))
    lost += [one for kind in notes.counts if UNUSABLE.search(kind) for one in _noted(notes, kind)]


def _noted(notes: Notes, kind: str) -> Iterator[Skipped]:
    """The items that were noted under a kind; those beyond the first are counted only."""
    examples = notes.examples.get(kind, [])
    yield from (Skipped(example.partition(": ")[0], f"{kind}: {example}") for example in examples)
    hidden = notes.counts[kind] - len(examples)
    if hidden:
        yield Skipped(f"{hidden} more", kind)


def _belongs(facts: _Facts, protocol: EditProtocol, corpus: Path) -> bool:
    """Whether an image is one that the protocol is about."""
    if facts.label == REAL:
        return protocol.level == "images"
    if facts.editors is None:
        if protocol.task == "binary" and not protocol.editors:
            return True
        raise ValueError(
            f"{protocol.name} needs masks that name the editor: those of {corpus} hold 0 and 255, that is, what was "
            "edited and not by which; diffseg-binary and diffseg-classification can use them"
        )
    if protocol.of_editor is not None:
        return protocol.of_editor in facts.editors
    return not protocol.editors or set(facts.editors) <= set(protocol.editors)


def _condition(protocol: EditProtocol) -> str:
    """What the images of a protocol have in common, for an error."""
    if protocol.of_editor is not None:
        return f" with pixels of {protocol.of_editor}"
    return f" whose every edit is by {' or '.join(protocol.editors)}" if protocol.editors else " that is edited"


def _read(source: _Source, pools: dict[str, Pool]) -> Iterator[Example | Skipped]:
    """Read the drawn images of a folder in its order."""
    if not pools:
        return
    for row in source.rows(Notes()):
        if row["id"] in pools:
            subset, label = pools[row["id"]]
            mask = ids_of(row["mask"]["bytes"], row["id"])
            yield stored_example(row["image"], row["id"], subset, label, mask)
