"""What every corpus builder shares: options, canonical columns, counting of quirks, and the card of the corpus.

A builder names its splits as lists of work (`splits`) and turns one piece of work into rows (`rows`); everything that
`datasets` wants beyond that is here. One builder stands in one module: `datasets` names caches after the module.
"""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import datasets

from .features import LABEL_NAMES
from .files import ARCHIVE_PATTERNS, CorpusFiles, walk_names
from .notes import Notes

# Pieces of work a split is cut into: what `num_proc` and data-loader workers share out.
PIECES = 64
# Bumped when the rows of any builder change: old caches are then not used again.
CODE_VERSION = "1"


@dataclass(frozen=True)
class PaperCount:
    """A number that the paper or the publisher states.

    Args:
        split: split it speaks of; "all" for every split together.
        quantity: what is counted: `rows`, `real`, `fake`, `regions`, or `COLUMN=VALUE` such as `source=glide`.
        value: the stated number.
        where: section, table or page.
    """

    split: str
    quantity: str
    value: int
    where: str


@dataclass(frozen=True)
class CorpusCard:
    """What people must know of a corpus; goes into `DatasetInfo`, reports and exported dataset cards.

    Args:
        title: name as its authors write it.
        description: a few sentences: what an image is, what a mask is.
        homepage: where its publisher offers it, or "" when nobody does.
        licence: identifier as the Hub spells it (`apache-2.0`, `cc-by-nc-sa-4.0`, `other`, `unknown`).
        terms: sentences on whose terms images, masks and texts stand under.
        citation: BibTeX.
        labels: what `label` and `mask` mean, and what the publisher's own integers were.
        paper_counts: numbers to compare a copy with.
    """

    title: str
    description: str
    homepage: str
    licence: str
    terms: str
    citation: str
    labels: str
    paper_counts: tuple[PaperCount, ...] = ()


@dataclass
class CorpusConfig(datasets.BuilderConfig):
    """Options that every corpus has.

    Args:
        verify_images: "header" skips files that are empty or no image, "decode" also those that break off (slower).
    """

    verify_images: Literal["header", "decode"] = "header"


class CorpusBuilder(datasets.GeneratorBasedBuilder):
    """Base of the builders: subclasses give `CARD`, `features`, `splits` and `rows`.

    Attributes:
        CARD: the corpus.
        EXPECTED: one sentence on the files that `data_dir` must hold, used in errors.
        ARCHIVES: patterns of archives to look into; `()` for builders that read archives themselves.
        ARCHIVES_AS_FOLDERS: whether members stand below a folder of their archive's name, as if unpacked there.
        notes_dir: folder that every process writes its notes into, for whoever wants them beside the log.
    """

    BUILDER_CONFIG_CLASS = CorpusConfig
    VERSION = datasets.Version("1.0.0")
    CARD: ClassVar[CorpusCard]
    EXPECTED: ClassVar[str]
    ARCHIVES: ClassVar[tuple[str, ...]] = ARCHIVE_PATTERNS
    ARCHIVES_AS_FOLDERS: ClassVar[bool] = False
    notes_dir: str | None = None

    def features(self) -> datasets.Features:
        """Columns of this configuration."""
        raise NotImplementedError

    def splits(self, notes: Notes) -> dict[str, list[Any]]:
        """Split name -> picklable pieces of work, small enough that `num_proc` can share them out."""
        raise NotImplementedError

    def rows(self, piece: Any, notes: Notes) -> Iterator[dict[str, Any]]:
        """Rows of one piece; a bad item is skipped and counted in `notes`."""
        raise NotImplementedError

    def facts(self, item: Any) -> dict[str, str]:
        """`id`, `label` and `source` of an item of a piece, without reading its image.

        For corpora whose pieces are lists of images: whoever draws some of them need not read the others.
        """
        raise NotImplementedError

    def sources(self, piece: Any) -> Iterator[str] | None:
        """Sources of the rows of a piece, without reading an image; None where that cannot be known."""
        return None

    def mask_ids(self) -> dict[int, str]:
        """Meaning of the values in `mask`, where there are more than untouched (0) and forged (1)."""
        return {}

    def archive_patterns(self) -> tuple[str, ...]:
        """Patterns of archives that these options want looked into."""
        return self.ARCHIVES

    @property
    def files(self) -> CorpusFiles:
        """The files of `data_dir`; indexed once a process."""
        opened = self.__dict__.get("_files")
        if opened is None or opened[0] != os.getpid():
            if not self.config.data_dir:
                raise ValueError(f"{self.name} needs data_dir: {self.EXPECTED}")
            files = CorpusFiles(
                self.config.data_dir, self.archive_patterns(), archives_as_folders=self.ARCHIVES_AS_FOLDERS
            )
            opened = (os.getpid(), files)
            self.__dict__["_files"] = opened
        return opened[1]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_files"}

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(
            description=self.CARD.description,
            citation=self.CARD.citation,
            homepage=self.CARD.homepage,
            license=self.CARD.licence,
            features=self.features(),
        )

    def _split_generators(self, dl_manager: datasets.DownloadManager) -> list[datasets.SplitGenerator]:
        notes = Notes()
        splits = {name: pieces for name, pieces in self.splits(notes).items() if pieces}
        if not splits:
            raise FileNotFoundError(f"{self.config.data_dir} holds no {self.CARD.title}: expected {self.EXPECTED}")
        for kind, count in self.files.notes.counts.items():
            notes.add(kind, "; ".join(self.files.notes.examples[kind][:1]), count=count)
        self._keep(notes)
        return [datasets.SplitGenerator(name=name, gen_kwargs={"pieces": pieces}) for name, pieces in splits.items()]

    def _generate_examples(self, pieces: list[Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        notes = Notes()
        for number, piece in enumerate(pieces):
            for row_number, row in enumerate(self.rows(piece, notes)):
                yield f"{number}_{row_number}", row
        self._keep(notes)

    def _keep(self, notes: Notes) -> None:
        notes.log(self.dataset_name)
        if self.notes_dir is not None:
            notes.write(self.notes_dir)


def canonical_features(**columns: Any) -> datasets.Features:
    """The columns that every corpus has, and then its own.

    `image` RGB or as stored; `label` real or fake; `mask` mode L, 0 = untouched, 1 or a class id = forged, None = no
    mask published; `id` and `source` text.

    Args:
        **columns: further columns, or other types for those above.
    """
    return datasets.Features(
        {
            "image": datasets.Image(),
            "label": label_feature(),
            "mask": datasets.Image(mode="L"),
            "id": datasets.Value("string"),
            "source": datasets.Value("string"),
            **columns,
        }
    )


def label_feature() -> datasets.ClassLabel:
    """`real` 0, `fake` 1, in every corpus."""
    return datasets.ClassLabel(names=list(LABEL_NAMES))


def cut_into_pieces(items: list[Any], pieces: int = PIECES) -> list[list[Any]]:
    """Cut a list into at most this many lists of consecutive items, none empty."""
    size = max(1, -(-len(items) // pieces))
    return [items[start : start + size] for start in range(0, len(items), size)]


def files_hash(data_dir: str | Path, options: dict[str, Any]) -> str:
    """Hash of names, sizes and times of all files, of the options and of the builders' version.

    Args:
        data_dir: folder, or an archive, of which the folder's files with the same stem count too.
        options: builder options; files and folders that they name by absolute paths count as `data_dir` does.

    Raises:
        FileNotFoundError: `data_dir` does not exist.
    """
    root = Path(data_dir).expanduser()
    if not root.exists():
        raise FileNotFoundError(f"{data_dir} does not exist: expected a folder or an archive")
    named = [Path(value).expanduser() for value in options.values() if isinstance(value, (str, Path))]
    roots = [root, *(path for path in named if path.is_absolute() and path.exists())]
    digest = hashlib.sha256(f"{CODE_VERSION} {sorted(options.items())!r}".encode())
    for path in (path for start in roots for path in _files_of(start)):
        try:
            status = path.stat()
        except FileNotFoundError:  # a link to nothing
            continue
        digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _files_of(root: Path) -> list[Path]:
    """All files of a folder, or an archive and the files beside it that share its stem."""
    if root.is_dir():
        return [root / name for name in sorted(walk_names(root))]
    stem = root.name.split(".")[0]
    return sorted(path for path in root.parent.iterdir() if path.name.split(".")[0] == stem)


__all__ = [
    "CODE_VERSION",
    "CorpusBuilder",
    "CorpusCard",
    "CorpusConfig",
    "PaperCount",
    "canonical_features",
    "cut_into_pieces",
    "files_hash",
    "label_feature",
]
