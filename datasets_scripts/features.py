"""Columns that every corpus of this package has, the reader of folders that hold them, and pictures turned upright.

A folder holds metadata.jsonl and the files it names: the form of `load_dataset("imagefolder")`, with one row an image
and `file_name`, `mask_file_name`, `label`, `id` and so on. Masks: non-zero = forged pixel. Labels: 1 = fake.
"""

import hashlib
import json
from pathlib import Path
from typing import Literal

import datasets
from PIL import ExifTags, Image

LABEL_NAMES = ("real", "fake")
SPLITS = ("train", "validation", "test")
# Share of a folder without split folders that becomes its validation split.
VALIDATION_PERCENT = 10
# Column of the dataset -> field of metadata.jsonl that names its file, relative to the folder.
FILE_FIELDS = {"image": "file_name", "mask": "mask_file_name", "ai_mask": "ai_mask_file_name"}
TEXT_COLUMNS = ("id", "source", "task", "photo", "donor", "parameters")
AUTHENTIC_TASK = "authentic"
# Share of an annotated PromptForge corpus that becomes its test split (95:5 in the paper, section 4.1).
PROMPTFORGE_TEST_PERCENT = 5
# Missing files named in one error message.
MAX_NAMED_FILES = 3
# How a picture of each EXIF orientation is turned upright; 1 is upright. As in processing/image_conversion.py, which
# is copied to the Hub, and which the folders that read corpora do not import.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Where Pillow looks for the orientation; dropped from a picture that was turned, or it would be turned again.
ORIENTATION_KEYS = ("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp")
# Orientations that swap the sides.
SIDEWAYS = (5, 6, 7, 8)


def forgery_features() -> datasets.Features:
    """Columns of a forgery corpus.

    `image` RGB; `mask` and `ai_mask` mode L, 0 = untouched, else forged or generated, None = nothing; `label` real or
    fake, None where the corpus does not say; `id`, `source`, `task`, `photo`, `donor`, `parameters` text or None.
    """
    return datasets.Features(
        {
            "image": datasets.Image(),
            "mask": datasets.Image(mode="L"),
            "ai_mask": datasets.Image(mode="L"),
            "label": datasets.ClassLabel(names=list(LABEL_NAMES)),
            **{name: datasets.Value("string") for name in TEXT_COLUMNS},
        }
    )


def load_forgery_folder(data_dir: str | Path, split: str | None = None) -> datasets.Dataset:
    """Read a folder of images with masks; nothing is copied or cached.

    Args:
        data_dir: folder with metadata.jsonl, or with folders train, validation and test that have one each.
        split: `train`, `validation`, `test`, or None for all rows. Without a `validation` folder a tenth of the
            photographs (of the ids, where no photograph is named) is cut off by hash: images made from one
            photograph never stand on both sides, and a row keeps its side when the folder grows.

    Returns:
        Dataset with the columns of `forgery_features()`.

    Raises:
        FileNotFoundError: the folder, its metadata.jsonl or an image or mask is missing.
        ValueError: unknown or absent split, a line that is no JSON object, no mask field, a forged row without mask.
    """
    root = Path(data_dir)
    if split is not None and split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: expected one of {SPLITS} or None")
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is not a folder: expected one with metadata.jsonl")
    folders = {name: root / name for name in SPLITS if (root / name / "metadata.jsonl").is_file()}
    if not folders:
        if split == "test":
            raise ValueError(f"{root} has no test folder: expected {root / 'test' / 'metadata.jsonl'}")
        return _to_dataset(_select(_read_rows(root), split), split)
    if split is None:
        rows = [row for folder in folders.values() for row in _read_rows(folder)]
    elif split in folders and not (split == "train" and "validation" not in folders):
        rows = _read_rows(folders[split])
    elif split != "test" and "train" in folders:
        rows = _select(_read_rows(folders["train"]), split)
    else:
        raise ValueError(f"{root} has no {split} folder: found {', '.join(folders)}")
    return _to_dataset(rows, split)


def hash_percent(key: str, cut: int) -> int:
    """A whole number 0..99 that the SHA-256 of a key decides alone.

    Args:
        key: id of a row, or name of its photograph.
        cut: 0 to 3: which eight bytes of the hash decide; different cuts of one corpus are independent.
    """
    digest = hashlib.sha256(key.encode()).digest()
    return int.from_bytes(digest[8 * cut : 8 * (cut + 1)], "big") % 100


def is_validation_key(key: str) -> bool:
    """Whether a photograph or id falls into the validation tenth: decided by its SHA-256 alone."""
    return hash_percent(key, cut=0) < VALIDATION_PERCENT


def promptforge_split(key: str) -> Literal["train", "test"]:
    """Side of the 95:5 cut of a PromptForge corpus that an id falls on: decided by its SHA-256 alone.

    The authors cut at random and published neither seed nor list, so this cut is not theirs. It is independent of
    `is_validation_key`: a tenth of the training side is still a tenth.

    Args:
        key: the `id` of the pair.
    """
    return "test" if hash_percent(key, cut=1) < PROMPTFORGE_TEST_PERCENT else "train"


def _select(rows: list[dict], split: str | None) -> list[dict]:
    """Rows of one side of the cut; a side that would be empty gets the rows of one photograph."""
    if split is None:
        return rows
    keys = sorted({_split_key(row) for row in rows}, key=lambda key: hashlib.sha256(key.encode()).digest())
    chosen = {key for key in keys if is_validation_key(key)}
    if len(keys) < 2:
        raise ValueError(
            f"cannot cut a validation split from images of {len(keys)} photograph: "
            "add photographs, or folders train and validation"
        )
    if not chosen or len(chosen) == len(keys):
        chosen = {keys[0]}
    return [row for row in rows if (_split_key(row) in chosen) == (split == "validation")]


def _split_key(row: dict) -> str:
    return str(row.get("photo") or row["id"])


def _read_rows(folder: Path) -> list[dict]:
    """Rows of one metadata.jsonl with absolute paths under the names of the columns."""
    path = folder / "metadata.jsonl"
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist: expected one JSON object a line with file_name, "
            "mask_file_name, label and id (`forgescope construct manipulations` writes it)"
        )
    rows = []
    # bytes end a line at \n alone; text would also be cut at U+2028 within a string
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        if line.strip():
            rows.append(_parse_row(line, f"{path} line {number}", folder))
    if not rows:
        raise ValueError(f"{path} is empty: expected one JSON object a line")
    if all(row["mask"] is None for row in rows) and not any(row["names_mask"] for row in rows):
        raise ValueError(f"{path} names no masks: expected the field mask_file_name (null for authentic images)")
    named_files = [row[column] for row in rows for column in FILE_FIELDS if row[column]]
    missing = [name for name in named_files if not Path(name).is_file()]
    if missing:
        named = ", ".join(missing[:MAX_NAMED_FILES])
        raise FileNotFoundError(
            f"{len(missing)} files that {path} names are missing: {named}"
            f"{', ...' if len(missing) > MAX_NAMED_FILES else ''}"
        )
    return rows


def _parse_row(line: bytes, where: str, folder: Path) -> dict:
    try:
        raw = json.loads(line)
    except ValueError as error:
        raise ValueError(f"{where} is not JSON ({error}): expected one object a line") from error
    return parse_metadata_row(raw, where, folder)


def parse_metadata_row(raw: object, where: str, folder: Path) -> dict:
    """Read one object of metadata.jsonl.

    Args:
        raw: the object.
        where: its place, named in errors.
        folder: folder of the file.

    Returns:
        `image`, `mask` and `ai_mask` (paths below `folder`, or None), `label` (1, 0 or None) and the text columns.

    Raises:
        ValueError: no object with a file_name, an unknown label, or a forged image without mask_file_name.
    """
    if not isinstance(raw, dict) or not isinstance(raw.get("file_name"), str):
        raise ValueError(f"{where} has no file_name: expected an object that names an image file")
    row: dict = {column: str(folder / raw[field]) if raw.get(field) else None for column, field in FILE_FIELDS.items()}
    row["names_mask"] = FILE_FIELDS["mask"] in raw
    row["label"] = _parse_label(raw.get("label"), where)
    row.update({name: _as_text(raw.get(name)) for name in TEXT_COLUMNS})
    row["id"] = row["id"] or Path(raw["file_name"]).stem
    if row["mask"] is None and (row["label"] == 1 or (row["task"] or AUTHENTIC_TASK) != AUTHENTIC_TASK):
        raise ValueError(
            f"{where} is a forged image ({row['task'] or 'label fake'}) without mask_file_name: "
            "only authentic images may go without a mask"
        )
    return row


def _parse_label(label: object, where: str) -> int | None:
    if label in LABEL_NAMES:
        return LABEL_NAMES.index(str(label))
    if label is None or (label in (0, 1) and not isinstance(label, bool)):
        return label
    raise ValueError(f"{where} has label {label!r}: expected 0, 1, {', '.join(LABEL_NAMES)} or null")


def _as_text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, sort_keys=True)


def _to_dataset(rows: list[dict], split: str | None) -> datasets.Dataset:
    features = forgery_features()
    columns = {name: [row[name] for row in rows] for name in features}
    return datasets.Dataset.from_dict(columns, features=features, split=split)


def orientation_of(image: Image.Image) -> int:
    """EXIF orientation 1..8; 1 (upright) when it is absent, unknown or in damaged data."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # Pillow raises several types
        image.load()  # raises what is wrong with the pixels, which `getexif` may have met
        return 1
    return orientation if orientation in TURNS else 1


def turned_upright(image: Image.Image) -> Image.Image:
    """Decode an image and turn its pixels as its EXIF orientation says; the same object when there is nothing to turn.

    Unlike `ImageOps.exif_transpose`, no EXIF is written anew, which fails where it is damaged.
    """
    image.load()
    turn = TURNS.get(orientation_of(image))  # after decoding: Pillow turns TIFF files while it decodes them
    if turn is None:
        return image
    turned = image.transpose(turn)
    turned.info = {key: value for key, value in turned.info.items() if key not in ORIENTATION_KEYS}
    return turned
