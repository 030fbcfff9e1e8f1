"""RichHF-18K: generated images with people's scores, heat maps of artifacts and misaligned words of the prompt.

Layout of the publisher's repository: `train.tfrecord`, `dev.tfrecord`, `test.tfrecord` (Git LFS), each record a
`tf.train.Example` with `filename`, `aesthetics_score`, `artifact_score`, `misalignment_score`, `overall_score`,
`artifact_map`, `misalignment_map` (encoded images of one channel) and `prompt_misalignment_label`. It ships no images:
they are those of Pick-a-Pic v1, found here by the last part of `filename`, without its suffix, in any folder below
`data_dir`. A copy with pixels (`Exploration/richhf_18k_with_images`, Parquet) is read where its columns have these
names and an `image`; its columns, also `prompt`, are known from a user's script and not verified.

Scores and labels stand as published: the higher, the better, so a high `artifact_score` means few artifacts; of the
labels of the prompt's words 0 means misaligned. Maps are heat maps from 0 to 255, no masks; `artifact_threshold` makes
a mask of them. All images are fake.
"""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import datasets
import numpy as np
from PIL import Image

from .corpus import CorpusBuilder, CorpusCard, CorpusConfig, PaperCount, canonical_features, cut_into_pieces
from .notes import Notes
from .parquet_rows import cell_bytes, parquet_columns, parquet_rows
from .pixels import IMAGE_ERRORS, StoredImage, checked_bytes, checked_image, fit_mask, is_image_name, stored_mask
from .process_memory import ProcessMemory
from .tfrecord import DamagedRecordError, parse_example, read_record, record_offsets

SHARD = re.compile(r"(?:^|/)(?P<split>train|dev|validation|test)[^/]*\.(?P<kind>tfrecords?|parquet)(?:-\d+-of-\d+)?$")
SPLITS = {"train": "train", "dev": "validation", "validation": "validation", "test": "test"}
SCORES = ("aesthetics_score", "artifact_score", "misalignment_score", "overall_score")
MAPS = ("artifact_map", "misalignment_map")
TEXTS = ("prompt", "prompt_misalignment_label")
COLUMNS = ("filename", *SCORES, *MAPS, *TEXTS)
SOURCE = "pick-a-pic"
MAX_GREY = 255
README = "readme of the publisher's repository"

CARD = CorpusCard(
    title="RichHF-18K",
    description=(
        "Images of Pick-a-Pic v1, generated from prompts, with four scores, heat maps of artifacts and of parts that "
        "do not fit the prompt, and a label for each word of the prompt."
    ),
    homepage="https://github.com/google-research-datasets/richhf-18k",
    licence="unknown",
    terms="No licence is stated. The images are Pick-a-Pic's and stand under its terms.",
    citation="""@inproceedings{liang2024richhf,
  title={Rich Human Feedback for Text-to-Image Generation},
  author={Liang, Youwei and He, Junfeng and Li, Gang and Li, Peizhao and Klimovskiy, Arseniy and Carolan, Nicholas and
    Sun, Jiao and Pont-Tuset, Jordi and Young, Sarah and Yang, Feng and others},
  booktitle={Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  pages={19401--19411},
  year={2024}
}""",
    labels=(
        "`label`: every image is fake (1). `mask` only with `artifact_threshold`: 1 = the artifact map is above it. "
        "`token_labels`: 0 = the word is misaligned, 1 = it fits."
    ),
    paper_counts=(
        PaperCount("train", "rows", 15_810, README),
        PaperCount("validation", "rows", 995, f"{README} (dev)"),
        PaperCount("test", "rows", 955, README),
    ),
)


@dataclass
class RichHF18KConfig(CorpusConfig):
    """Options of RichHF-18K.

    Args:
        require_images: leave out rows whose image is not below `data_dir`; False gives them with `image` None.
        artifact_threshold: grey value 0 to 255 above which `artifact_map` counts as an artifact; None: no masks.
            LEGION's evaluation takes 0.
    """

    require_images: bool = True
    artifact_threshold: int | None = None


@dataclass(frozen=True)
class Records:
    """Records of a TFRecord file, by the bytes they begin at."""

    name: str
    offsets: list[int]


@dataclass(frozen=True)
class Table:
    """A Parquet file and those of its columns that are read."""

    name: str
    columns: list[str]


class RichHF18K(CorpusBuilder):
    """Rows: the canonical columns and what the publisher gives.

    `aesthetics_score`, `artifact_score`, `misalignment_score`, `overall_score` float32; `artifact_map` and
    `misalignment_map` heat maps of mode L, at their own size; `prompt` (None in TFRecord files);
    `prompt_misalignment_label` as written, and `token_labels`, the numbers in it. `id` is `filename`.
    """

    BUILDER_CONFIG_CLASS = RichHF18KConfig
    BUILDER_CONFIGS: ClassVar[list[datasets.BuilderConfig]] = [RichHF18KConfig(name="default")]
    CARD = CARD
    EXPECTED = "train.tfrecord, dev.tfrecord, test.tfrecord and the images in a folder, or Parquet files with both"

    def __init__(self, *args: Any, **kwargs: Any):
        self._memory = ProcessMemory()
        super().__init__(*args, **kwargs)

    def features(self) -> datasets.Features:
        """The canonical columns, scores, maps and texts."""
        return canonical_features(
            **{name: datasets.Value("float32") for name in SCORES},
            **{name: datasets.Image(mode="L") for name in MAPS},
            **{name: datasets.Value("string") for name in TEXTS},
            token_labels=datasets.List(datasets.Value("int8")),
        )

    def splits(self, notes: Notes) -> dict[str, list[Any]]:
        """`train`, `validation` (dev) and `test`; Parquet files count before TFRecord files.

        Raises:
            ValueError: a file that is no TFRecord file; no image at all while images are required.
        """
        threshold = self.config.artifact_threshold
        if threshold is not None and not 0 <= threshold < MAX_GREY:
            raise ValueError(f"artifact_threshold {threshold!r}: expected 0 to {MAX_GREY - 1}, or None")
        records: dict[str, list[Any]] = {split: [] for split in ("train", "validation", "test")}
        tables: dict[str, list[Any]] = {split: [] for split in records}
        for name in self.files.names():
            match = SHARD.search(name)
            if match is None:
                continue
            split = SPLITS[match["split"]]
            if match["kind"] == "parquet":
                tables[split] += self._table(name, notes)
            else:
                with self.files.open(name) as stream:
                    offsets = record_offsets(stream, name, notes)
                records[split] += [Records(name, some) for some in cut_into_pieces(offsets)]
        if any(tables.values()):
            if any(records.values()):
                notes.add("TFRecord files left out, Parquet files are there", str(self.config.data_dir))
            return tables
        if any(records.values()) and self.config.require_images and not self._images():
            raise ValueError(
                f"{self.config.data_dir} has no images: RichHF-18K ships none, take those of Pick-a-Pic v1 by their "
                "file names and put them into a folder there, or set require_images=False"
            )
        return records

    def rows(self, piece: Records | Table, notes: Notes) -> Iterator[dict[str, Any]]:
        """A row a record."""
        if isinstance(piece, Table):
            for number, values in parquet_rows(self.files, piece.name, piece.columns):
                yield from self._row(values, f"{piece.name}#{number}", "image" in piece.columns, notes)
            return
        with self.files.open(piece.name) as stream:
            for offset in piece.offsets:
                where = f"{piece.name} byte {offset}"
                try:
                    example = parse_example(read_record(stream, offset))
                except DamagedRecordError as error:
                    notes.add("damaged record", where, str(error))
                    continue
                values = {name: found[0] if found else None for name, found in example.items()}
                yield from self._row(values, where, False, notes)

    def _row(self, values: dict[str, Any], where: str, own_image: bool, notes: Notes) -> Iterator[dict[str, Any]]:
        """The row of a record; none without a file name or a required image."""
        name = _text(values.get("filename"))
        if not name:
            notes.add("record without filename", where)
            return
        checked = self._own_image(values, where, notes) if own_image else self._image(name, notes)
        if checked is None and self.config.require_images:
            notes.add("row left out for want of its image", name)
            return
        image, size = checked or (None, None)
        row: dict[str, Any] = {"image": image, "label": "fake", "mask": None, "id": name, "source": SOURCE}
        for score in SCORES:
            row[score] = values.get(score)
            if row[score] is None:
                notes.add(f"record without {score}", where)
        grey = {}
        for kind in MAPS:
            row[kind], grey[kind] = _heat_map(values.get(kind), f"{where} {kind}", notes)
        threshold = self.config.artifact_threshold
        if threshold is not None and grey["artifact_map"] is not None:
            mask = (grey["artifact_map"] > threshold).astype(np.uint8)
            row["mask"] = stored_mask(mask if size is None else fit_mask(mask, size, where, notes))
        for text in TEXTS:
            row[text] = _text(values.get(text))
        row["token_labels"] = _token_labels(row["prompt_misalignment_label"], where, notes)
        yield row

    def _own_image(self, values: dict[str, Any], where: str, notes: Notes) -> tuple[StoredImage, Any] | None:
        data = cell_bytes(values.get("image"))
        return checked_bytes(data or b"", where, notes, self.config.verify_images)

    def _image(self, name: str, notes: Notes) -> tuple[StoredImage, Any] | None:
        """The image of a record, by its name without folder and suffix."""
        found = self._images().get(_stem(name))
        if found is None:
            notes.add("image that is not here", name)
            return None
        return checked_image(self.files, found, notes, self.config.verify_images)

    def _images(self) -> dict[str, str]:
        """Name without folder and suffix -> file."""
        return self._memory.get(
            "images", lambda: {_stem(name): name for name in reversed(self.files.names()) if is_image_name(name)}
        )

    def _table(self, name: str, notes: Notes) -> list[Table]:
        """A Parquet file as a piece; none where it is something else."""
        try:
            columns = parquet_columns(self.files, name)
        except ValueError as error:
            notes.add("Parquet file that cannot be read", name, str(error))
            return []
        if "filename" not in columns:
            notes.add("Parquet file without filename", name, ", ".join(columns))
            return []
        return [Table(name, [column for column in columns if column in (*COLUMNS, "image")])]


def _stem(name: str) -> str:
    own = name.replace("\\", "/").rpartition("/")[2]
    return own.rpartition(".")[0] or own


def _text(value: Any) -> str | None:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _heat_map(value: Any, where: str, notes: Notes) -> tuple[StoredImage | None, np.ndarray | None]:
    """A map as a column's value, of mode L, and its grey values."""
    data = cell_bytes(value)
    if not data:
        notes.add("record without a map", where)
        return None, None
    try:
        with Image.open(io.BytesIO(data)) as image:
            grey = np.asarray(image.convert("L"))
            mode = image.mode
    except IMAGE_ERRORS as error:
        notes.add("map that is no image", where, str(error))
        return None, None
    return ({"path": None, "bytes": data} if mode == "L" else stored_mask(grey)), grey


def _token_labels(text: str | None, where: str, notes: Notes) -> list[int] | None:
    """The numbers 0 and 1 in a label such as "1 1 0"."""
    words = (text or "").split()
    if set(words) <= {"0", "1"}:
        return [int(word) for word in words] if text is not None else None
    notes.add("prompt label of other words than 0 and 1", where, (text or "")[:60])
    return None


__all__ = ["CARD", "RichHF18K", "RichHF18KConfig"]
