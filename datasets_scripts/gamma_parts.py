"""Where the parts of GAMMA's training mix are, and what each of their lines or names says.

Every part is found in a `CorpusFiles` below a folder; the results are pieces that hold names or ranges of lines.
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .corpus import cut_into_pieces
from .files import CorpusFiles
from .json_lines import LineRange, line_ranges, read_records
from .notes import Notes
from .pixels import is_image_name

SPLIT_WORD = re.compile(r"(?:^|[/_.-])(train|valid|val|validation|test)(?:20\d\d)?(?=[/_.-]|$)", re.IGNORECASE)
SPLITS = {"train": "train", "valid": "validation", "val": "validation", "validation": "validation", "test": "test"}
MANIFEST = re.compile(r"^[^/]+\.(?:csv|jsonl)$", re.IGNORECASE)
MANIFEST_COLUMNS = ("image", "mask")
TAMPCOCO_SUBSETS = ("cm", "sp", "bcm", "bcmc")
TAMPCOCO_IMAGE = re.compile(r"^(?P<base>(?:.*/)?)(?P<inside>(?P<subset>bcmc|bcm|cm|sp)_images/[^/]+)$")
TAMPCOCO_LIST = re.compile(r"(?:^|/)(?P<subset>bcmc|bcm|cm|sp)_COCO_(?P<split>train|valid|test)_list\.txt$")
ENGINE_LIST = re.compile(r"^(?:(?P<split>train|validation|test)/)?metadata\.jsonl$")
ALIGNED = re.compile(r"_aligned_Q\d+")
BYTE_ORDER_MARK = "\ufeff"


@dataclass(frozen=True)
class NamePiece:
    """Images by name; the masks follow from the names where the source has any.

    Args:
        root: what holds them: a folder or archive, or None for `data_dir`.
        source: `coco`, or `tampcoco-` and a subset.
        names: files.
    """

    root: str | None
    source: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class LinePiece:
    """Lines of a list, a manifest or metadata.jsonl.

    Args:
        root: as in `NamePiece`.
        source: as in `NamePiece`, or `coco-inpaint`, `coco-blended`, `manipulations`.
        lines: the lines.
        columns: those of a CSV file; () for other files.
        folder: what paths in the lines are relative to, "" or one with a slash.
    """

    root: str | None
    source: str
    lines: LineRange
    columns: tuple[str, ...]
    folder: str


Piece = NamePiece | LinePiece
Pieces = dict[str, list[Piece]]


def below(files: CorpusFiles, prefix: str) -> list[str]:
    """Names that begin with a folder ("" or one with a slash), without it."""
    return [name[len(prefix) :] for name in files.names() if name.startswith(prefix)]


def split_of(name: str) -> str:
    """Split by the last word in a path that names one, such as `train2017/`; `train` without one."""
    words = SPLIT_WORD.findall(name)
    return SPLITS[words[-1].lower()] if words else "train"


def authentic_pieces(files: CorpusFiles, root: str | None, prefix: str, notes: Notes) -> Pieces:
    """COCO: every image below a folder."""
    by_split: dict[str, list[str]] = {}
    for name in below(files, prefix):
        if is_image_name(name):
            by_split.setdefault(split_of(name.rpartition("/")[0]), []).append(prefix + name)
            if not name.lower().endswith((".jpg", ".jpeg")):
                notes.add("authentic image that is no JPEG by its name", prefix + name)
    return {
        split: [NamePiece(root, "coco", tuple(part)) for part in cut_into_pieces(names)]
        for split, names in by_split.items()
    }


def manifest_pieces(files: CorpusFiles, root: str | None, path: str, source: str) -> Pieces:
    """COCO-Inpaint and its blended form: a manifest, or a folder (with a slash) with manifests in it.

    Raises:
        ValueError: a CSV file without the columns image and mask.
    """
    inside = [path] if path in files else [path + name for name in below(files, path) if MANIFEST.match(name)]
    pieces: Pieces = {}
    for name in inside:
        columns = _csv_columns(files, name) if name.lower().endswith(".csv") else ()
        folder = name[: name.rfind("/") + 1]
        found = [LinePiece(root, source, part, columns, folder) for part in line_ranges(files, name)]
        pieces.setdefault(split_of(name.rpartition("/")[2]), []).extend(found)
    return pieces


def _csv_columns(files: CorpusFiles, name: str) -> tuple[str, ...]:
    with files.open(name) as stream:
        header = next(csv.reader([stream.readline().decode("utf-8-sig")]), [])
    columns = tuple(column.strip() for column in header)
    missing = [column for column in MANIFEST_COLUMNS if column not in columns]
    if missing:
        raise ValueError(
            f"{name} has no column {', '.join(missing)}: found {', '.join(columns) or 'none'}; "
            "expected image, mask and, where known, original, model and mask_type"
        )
    return columns


def tampcoco_pieces(
    files: CorpusFiles, root: str | None, prefix: str, subsets: tuple[str, ...], notes: Notes
) -> Pieces:
    """TampCOCO: the lines of its lists, and the images that stand in no list, by their names, as `train`.

    Where a list of the training images is there and not empty, images outside the lists are left out.
    """
    images: dict[str, dict[str, str]] = {subset: {} for subset in subsets}
    lists: dict[str, dict[str, str]] = {subset: {} for subset in subsets}
    for name in below(files, prefix):
        image, listed = TAMPCOCO_IMAGE.match(name), TAMPCOCO_LIST.search(name)
        if image and image["subset"] in images and is_image_name(name):
            images[image["subset"]][image["inside"]] = prefix + image["base"]
        elif listed and listed["subset"] in lists:
            lists[listed["subset"]][SPLITS[listed["split"]]] = prefix + name
    pieces: Pieces = {}
    for subset in subsets:
        bases = images[subset]
        if not bases:
            continue
        source, base = f"tampcoco-{subset}", next(iter(bases.values()))
        named: set[str] = set()
        for split, name in lists[subset].items():
            ranges = line_ranges(files, name)
            found = [LinePiece(root, source, part, (), base) for part in ranges]
            pieces.setdefault(split, []).extend(found)
            if not ranges:
                notes.add("empty list", name)
            elif split == "train":
                named = set(bases)
            else:
                named.update(_inside(text.split(",")[0]) for part in ranges for _, text in read_lines(files, part))
        rest = [folder + inside for inside, folder in bases.items() if inside not in named]
        if rest:
            pieces.setdefault("train", []).extend(
                NamePiece(root, source, tuple(part)) for part in cut_into_pieces(rest)
            )
    return pieces


def engine_pieces(files: CorpusFiles, root: str | None, prefix: str) -> Pieces:
    """A folder of manipulated images with metadata.jsonl, alone or in split folders."""
    pieces: Pieces = {}
    for name in below(files, prefix):
        match = ENGINE_LIST.match(name)
        if match:
            folder = prefix + name.removesuffix("metadata.jsonl")
            found = [LinePiece(root, "manipulations", part, (), folder) for part in line_ranges(files, prefix + name)]
            pieces.setdefault(match["split"] or "train", []).extend(found)
    return pieces


def tampcoco_mask(image: str) -> str:
    """Mask of a TampCOCO image, by the rule that every published list follows."""
    folder, _, name = image.rpartition("/")
    folder = re.sub(r"(?:bcmc|bcm)_images$", "bcm_masks", folder)
    return f"{re.sub('_images$', '_masks', folder)}/{ALIGNED.sub('', name).replace('.jpg', '.png')}"


def read_lines(files: CorpusFiles, part: LineRange) -> Iterator[tuple[int, str]]:
    """Number and text of the lines of a range, without the empty ones.

    Raises:
        ValueError: a line is not UTF-8.
    """
    with files.open(part.name) as stream:
        stream.seek(part.offset)
        for number in range(part.first, part.first + part.lines):
            try:
                text = stream.readline().decode("utf-8").removeprefix(BYTE_ORDER_MARK).strip()
            except UnicodeDecodeError as error:
                raise ValueError(f"{part.name} line {number} is not UTF-8: {error}") from error
            if text:
                yield number, text


def read_piece_records(files: CorpusFiles, piece: LinePiece, notes: Notes) -> Iterator[tuple[str, dict[str, Any]]]:
    """Place and fields of the lines of a piece; TampCOCO's have `image` and `mask` with paths below the corpus."""
    if not piece.columns and not piece.source.startswith("tampcoco"):
        yield from read_records(files, piece.lines, notes)
        return
    for number, text in read_lines(files, piece.lines):
        where = f"{piece.lines.name} line {number}"
        fields = next(csv.reader([text]), [])
        if piece.columns:
            if number > 1:
                yield where, dict(zip(piece.columns, fields, strict=False))
            continue
        image, mask = piece.folder + _inside(fields[0]), fields[1].strip() if len(fields) > 1 else ""
        listed = piece.folder + _inside(mask) if mask.lower() not in ("", "none") else ""
        yield where, {"image": image, "mask": listed if listed in files else tampcoco_mask(image)}


def _inside(path: str) -> str:
    """The last two parts of a path in a list: its folder of TampCOCO and its name."""
    return "/".join(path.strip().replace("\\", "/").split("/")[-2:])


__all__ = [
    "TAMPCOCO_SUBSETS",
    "LinePiece",
    "NamePiece",
    "Piece",
    "Pieces",
    "authentic_pieces",
    "below",
    "engine_pieces",
    "manifest_pieces",
    "read_piece_records",
    "tampcoco_mask",
    "tampcoco_pieces",
]
