"""DiffSeg30k: images edited up to three times by eight diffusion models; masks say which model made which pixel.

Layout of the published `train.zip`, seen by users of it: `train_copy/NNNNNNNN.image.png` and
`train_copy/NNNNNNNN.mask.png`, eight digits and two suffixes. The same names are read from an unpacked tree or a tar.
Re-uploads exist as Parquet files with columns `image` and `mask`.

What is not published, and how it is treated here. The ids of the models: the default is the order of the legend of
the paper's Figure 6 and unverified (`id2editor`); every mask is checked, a value outside the map is an error. The mode
of the masks: grey and palette masks give their values as they are, masks of 0 and 255 count as binary and the
models as unknown, colour masks are an error (`probe_masks`). The 8:2 split: without folders or files named after a
split, two tenths of the ids are cut off by hash, which is not the authors' split. Whether the 5,000 untouched
photographs of the paper are in the archive is unknown: an image whose mask is all zero is `real`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar, Literal

import datasets

from .corpus import CorpusBuilder, CorpusCard, CorpusConfig, PaperCount, canonical_features, cut_into_pieces
from .edit_masks import MaskProbe, checked_ids, probe_masks, stored_ids, values_in
from .features import hash_percent
from .notes import Notes
from .parquet_rows import cell_bytes, parquet_columns, parquet_rows
from .pixels import binary_mask, checked_bytes, checked_image, fit_mask, ids_of, stored_mask
from .process_memory import ProcessMemory

PAIRED = re.compile(r"^(?P<stem>.+)\.(?P<kind>image|mask)\.(?:png|jpe?g|webp|bmp|tiff?)$", re.IGNORECASE)
# Folders and files whose name begins so state a split.
STATED = re.compile(r"(cross_test|validation|valid|val|test|train)(?![a-z])")
STATED_SPLITS = {"test": "test", "train": "train"}  # all other words: validation
VALIDATION_PERCENT = 20
SOURCE = "diffseg30k"
COLUMNS = ("image", "mask")
MASK_VALUES = ("auto", "ids", "binary")
PROBED_MASKS = 16
# Order of the legend of the paper's Figure 6; nobody has published the ids.
FIGURE_6_EDITORS = ("sd2", "kolors", "sd3.5-medium", "flux.1", "sdxl", "glide", "hunyuandit", "kandinsky2.2")

CARD = CorpusCard(
    title="DiffSeg30k",
    description=(
        "Photographs of COCO and images generated from its captions, edited in one to three turns by eight diffusion "
        "models. A mask gives the model that made each pixel."
    ),
    homepage="https://huggingface.co/datasets/Chaos2629/Diffseg30k",
    licence="apache-2.0",
    terms="Apache-2.0 on its card; the paper says it stands under COCO's licence. The photographs are COCO's.",
    citation="""@article{ci2025diffseg30k,
  title={DiffSeg30k: A Multi-Turn Diffusion Editing Benchmark for Localized AIGC Detection},
  author={Ci, Hai and Peng, Ziheng and Yang, Pei and Xuan, Yingxin and Shou, Mike Zheng},
  journal={arXiv preprint arXiv:2511.19111},
  year={2025}
}""",
    labels=(
        "`mask`: 0 = untouched, 1 to 8 = editing model (order unverified); `binary_mask`: 1 = edited by any. `label`: "
        "fake (1) if any pixel is edited, else real (0)."
    ),
    paper_counts=(
        PaperCount("all", "rows", 30_000, "DiffSeg30k, abstract (30k)"),
        PaperCount("validation", "rows", 6_001, "split cross_test of a third party's copy"),
    ),
)


@dataclass
class DiffSeg30kConfig(CorpusConfig):
    """Options of DiffSeg30k.

    Args:
        id2editor: names of the editing models with the ids 1, 2, ...; the default is unverified.
        mask_values: "ids", "binary" (0 and 255), or "auto" to tell by the masks that are probed.
        probe: masks that are probed before the first row; 0 for none ("auto" then means "ids").
    """

    id2editor: tuple[str, ...] = FIGURE_6_EDITORS
    mask_values: Literal["auto", "ids", "binary"] = "auto"
    probe: int = PROBED_MASKS


@dataclass(frozen=True)
class Pairs:
    """Names of images and their masks."""

    names: list[tuple[str, str]]


@dataclass(frozen=True)
class Table:
    """A Parquet file; only its rows on one side of our own cut, unless `side` is None."""

    name: str
    side: str | None


class DiffSeg30k(CorpusBuilder):
    """Rows: the canonical columns with `mask` of ids, `binary_mask` (0 and 1), `edit_models`.

    `edit_models` lists the models whose ids the mask holds, in the order of the ids; None where a binary mask leaves
    them unknown. `id` is the file name without suffixes, or `<Parquet file>#<row>`.
    """

    BUILDER_CONFIG_CLASS = DiffSeg30kConfig
    BUILDER_CONFIGS: ClassVar[list[datasets.BuilderConfig]] = [DiffSeg30kConfig(name="default")]
    CARD = CARD
    EXPECTED = "train.zip, the pairs NNNNNNNN.image.png and NNNNNNNN.mask.png from it, or Parquet files"

    def __init__(self, *args: Any, **kwargs: Any):
        self._memory = ProcessMemory()
        super().__init__(*args, **kwargs)

    def features(self) -> datasets.Features:
        """The canonical columns, `binary_mask` and `edit_models`."""
        return canonical_features(
            binary_mask=datasets.Image(mode="L"), edit_models=datasets.List(datasets.Value("string"))
        )

    def mask_ids(self) -> dict[int, str]:
        """Model of each id; nothing for binary masks."""
        return {} if self._is_binary() else {0: "untouched", **dict(enumerate(self.config.id2editor, start=1))}

    def splits(self, notes: Notes) -> dict[str, list[Any]]:
        """Stated splits, else `train` and `validation` by hash of the ids.

        Raises:
            ValueError: the probed masks hold colours or values outside the map; unknown option.
        """
        if self.config.mask_values not in MASK_VALUES:
            raise ValueError(f"unknown mask_values {self.config.mask_values!r}: expected {', '.join(MASK_VALUES)}")
        pairs, tables = self._pairs(notes), self._tables(notes)
        stated = {name: _stated_split(name) for name in [*(image for image, _ in pairs), *tables]}
        ours = bool(stated) and not set(stated.values()) - {"train", None}
        names: dict[str, list[tuple[str, str]]] = {}
        for pair in pairs:
            split = side_of(_stem(pair[0])) if ours else stated[pair[0]] or "train"
            names.setdefault(split, []).append(pair)
        splits: dict[str, list[Any]] = {}
        for split, found in names.items():
            splits[split] = [Pairs(some) for some in cut_into_pieces(found)]
        for name in tables:
            for split in ("train", "validation") if ours else (stated[name] or "train",):
                splits.setdefault(split, []).append(Table(name, split if ours else None))
        if splits:
            self._note_masks(notes)
        if splits and ours:
            notes.add("no stated split: 8:2 by hash of the ids, which is not the authors' split", self.CARD.title)
        return {split: splits[split] for split in ("train", "validation", "test") if split in splits}

    def rows(self, piece: Pairs | Table, notes: Notes) -> Iterator[dict[str, Any]]:
        """A row an image.

        Raises:
            ValueError: a mask with colours or with values outside the map.
        """
        if isinstance(piece, Table):
            yield from self._table_rows(piece, notes)
            return
        for image_name, mask_name in piece.names:
            checked = checked_image(self.files, image_name, notes, self.config.verify_images)
            if checked is None:
                continue
            try:
                data = self.files.read(mask_name)
            except OSError as error:
                notes.add("mask that cannot be read", mask_name, str(error))
                continue
            yield from self._row(checked, data, mask_name, _stem(image_name), notes)

    def probe_masks(self, count: int) -> MaskProbe:
        """Look into some masks, spread over the corpus.

        Args:
            count: number of masks.

        Returns:
            Values and modes seen.

        Raises:
            ValueError: a colour mask, or values outside the map that are not 0 and 255.
        """
        return probe_masks(self._some_masks(count), self.config.id2editor)

    def _table_rows(self, piece: Table, notes: Notes) -> Iterator[dict[str, Any]]:
        for number, row in parquet_rows(self.files, piece.name, list(COLUMNS)):
            key = f"{piece.name.rpartition('/')[2]}#{number}"
            if piece.side is not None and side_of(key) != piece.side:
                continue
            image, mask = cell_bytes(row["image"]), cell_bytes(row["mask"])
            if image is None or mask is None:
                notes.add("image without mask" if image is not None else "mask without image", key)
                continue
            checked = checked_bytes(image, key, notes, self.config.verify_images)
            if checked is not None:
                yield from self._row(checked, mask, key, key, notes)

    def _row(
        self, checked: tuple[dict[str, Any], tuple[int, int]], data: bytes, mask_name: str, key: str, notes: Notes
    ) -> Iterator[dict[str, Any]]:
        """The row of an image and its encoded mask; none for a damaged mask."""
        image, size = checked
        try:
            pixels = ids_of(data, mask_name)
        except OSError as error:
            notes.add("mask that cannot be read", mask_name, str(error))
            return
        editors, binary = self.config.id2editor, self._is_binary()
        mask = fit_mask(checked_ids(pixels, binary, editors, mask_name), size, mask_name, notes)
        edited = binary_mask(mask)
        ids = [value for value in values_in(mask) if value]
        yield {
            "image": image,
            "label": "fake" if ids else "real",
            "mask": stored_ids(mask, data, pixels),
            "binary_mask": stored_mask(edited),
            "edit_models": None if binary and ids else [editors[value - 1] for value in ids],
            "id": key,
            "source": SOURCE,
        }

    def _is_binary(self) -> bool:
        if self.config.mask_values != "auto" or self.config.probe <= 0:
            return self.config.mask_values == "binary"
        return self._probe().is_binary

    def _probe(self) -> MaskProbe:
        return self._memory.get("probe", lambda: self.probe_masks(self.config.probe))

    def _note_masks(self, notes: Notes) -> None:
        """Say what is uncertain about the masks."""
        editors = self.config.id2editor
        if self._is_binary():
            notes.add("masks of 0 and 255, editing models unknown", str(self.config.data_dir))
        elif tuple(editors) == FIGURE_6_EDITORS:
            notes.add("order of the editing models is unverified (id2editor)", ", ".join(editors))
        if self.config.mask_values == "auto" and self.config.probe > 0:
            probe = self._probe()
            if set(probe.values) == {0, 1} and probe.masks >= PROBED_MASKS:
                notes.add("masks of 0 and 1 only: binary ones rather than ids?", f"{probe.masks} masks probed")

    def _pairs(self, notes: Notes) -> list[tuple[str, str]]:
        """Images with their masks; counts those that miss the other."""
        names: dict[str, dict[str, str]] = {}
        for name in self.files.names():
            match = PAIRED.match(name)
            if match:
                names.setdefault(match["stem"], {}).setdefault(match["kind"].lower(), name)
        pairs = []
        for stem, found in names.items():
            if len(found) == len(COLUMNS):
                pairs.append((found["image"], found["mask"]))
            else:
                notes.add("image without mask" if "image" in found else "mask without image", stem)
        return pairs

    def _tables(self, notes: Notes) -> list[str]:
        """Parquet files that have both columns."""
        tables = []
        for name in self.files.match(r"\.parquet$"):
            try:
                columns = parquet_columns(self.files, name)
            except ValueError as error:
                notes.add("Parquet file that cannot be read", name, str(error))
                continue
            if set(COLUMNS) <= set(columns):
                tables.append(name)
            else:
                notes.add("Parquet file without image and mask", name, ", ".join(columns))
        return tables

    def _some_masks(self, count: int) -> Iterator[tuple[str, bytes]]:
        silent = Notes()
        names = [mask for _, mask in self._pairs(silent)]
        for name in names[:: max(1, len(names) // max(count, 1))][:count]:
            yield name, self.files.read(name)
        for name in self._tables(silent) if not names else ():
            for number, row in islice(parquet_rows(self.files, name, ["mask"]), count):
                data = cell_bytes(row["mask"])
                if data is not None:
                    yield f"{name}#{number}", data
            return


def side_of(key: str) -> str:
    """Side of our own 8:2 cut that an id falls on, by its SHA-256 alone: `train` or `validation`."""
    return "validation" if hash_percent(key, cut=2) < VALIDATION_PERCENT else "train"


def _stated_split(name: str) -> str | None:
    """Split that a folder or the file itself is named after, the innermost counts."""
    for part in reversed(name.lower().split("/")):
        match = STATED.match(part)
        if match:
            return STATED_SPLITS.get(match[1], "validation")
    return None


def _stem(image_name: str) -> str:
    match = PAIRED.match(image_name)
    return (match["stem"] if match else image_name).rpartition("/")[2]


__all__ = ["CARD", "DiffSeg30k", "DiffSeg30kConfig", "MaskProbe", "side_of"]
