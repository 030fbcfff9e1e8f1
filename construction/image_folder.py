"""A folder of made images with masks: begun or gone on with, filled item by item, finished with metadata.jsonl.

    DIR/images/  DIR/masks/  DIR/ai_masks/  DIR/metadata.jsonl  DIR/settings.json

Who makes the items says what their rows hold. Every file is written atomically, and each row is logged when its files
are there, so a run that was interrupted goes on where it stopped.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .framing import encode_png
from .manipulation import Manipulation

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")
PARTIAL_NAME = ".metadata.partial.jsonl"

# Index of an item, its row (None when it could not be made), and the photographs that failed with the reason.
Outcome = tuple[int, dict[str, Any] | None, dict[str, str]]


@dataclasses.dataclass
class FolderResult:
    """Outcome of a run: rows of metadata.jsonl, items made now, failed photographs with reasons, items not made."""

    rows: list[dict[str, Any]]
    made: int
    failed_photos: dict[str, str]
    missing: list[int]


def find_photos(paths: list[Path], out: Path | None = None) -> list[Path]:
    """Photographs under files and folders (by suffix; a file that is named is always taken), sorted, each once.

    Args:
        paths: files and folders.
        out: folder that is to be written; images that are in it already are no photographs.

    Raises:
        FileNotFoundError: a path does not exist.
        ValueError: no photograph was found, or `out` is one of the folders.
    """
    photos: set[Path] = set()
    made = None if out is None else out.resolve()
    for path in paths:
        if path.is_dir():
            place = path.resolve()
            if place == made:
                raise ValueError(f"{path} would be filled with what is made of it: choose another folder to write")
            inside = made is not None and made.is_relative_to(place)
            photos.update(
                file
                for file in path.rglob("*")
                if file.suffix.lower() in PHOTO_SUFFIXES
                and file.is_file()
                and not (inside and made in file.resolve().parents)
            )
        elif path.is_file():
            photos.add(path)
        else:
            raise FileNotFoundError(f"{path} does not exist: give photographs or folders of photographs")
    if not photos:
        raise ValueError(f"no photographs in {', '.join(map(str, paths))}: expected files {', '.join(PHOTO_SUFFIXES)}")
    return sorted(photos)


def describe_photos(photos: list[Path]) -> dict[str, Any]:
    """Settings that tell whether a folder was begun with these photographs: they may move, but not change."""
    names = "\n".join(f"{photo.name} {photo.stat().st_size}" for photo in photos)
    # names may hold bytes that are no UTF-8
    digest = hashlib.sha256(names.encode(errors="surrogateescape")).hexdigest()
    return {"photos": len(photos), "photos_hash": digest[:16]}


def begin_folder(out: Path, settings: dict[str, Any]) -> None:
    """Create a folder and keep its settings in settings.json, or check that it was begun with the same.

    Raises:
        ValueError: the folder holds something else, or was begun with other settings.
    """
    settings = json.loads(json.dumps(settings))
    path = out / "settings.json"
    if not path.exists():
        if (out / "metadata.jsonl").exists():
            raise ValueError(f"{out} holds a dataset of another origin: choose an empty folder")
        write_atomically(path, json.dumps(settings, indent=1, sort_keys=True).encode())
        return
    begun = json.loads(path.read_text(encoding="utf-8"))
    changed = sorted(key for key in {**settings, **begun} if begun.get(key) != settings.get(key))
    if changed:
        raise ValueError(f"{out} was begun with other {', '.join(changed)}: use the same or another folder")


def finished_rows(out: Path) -> dict[int, dict[str, Any]]:
    """Rows of items whose files are all there; an incomplete last line of an interrupted run is dropped."""
    rows: dict[int, dict[str, Any]] = {}
    for name in ("metadata.jsonl", PARTIAL_NAME):
        path = out / name
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                continue
            files = [out / row[key] for key in ("file_name", "mask_file_name", "ai_mask_file_name")]
            if all(file.exists() for file in files):
                rows[row["index"]] = row
    return rows


def finish_folder(out: Path, rows: dict[int, dict[str, Any]], outcomes: Iterable[Outcome]) -> FolderResult:
    """Log each item as it is made, so that a killed run can go on, and write metadata.jsonl.

    Args:
        out: the folder, begun by `begin_folder`.
        rows: rows that are there already (`finished_rows`), by index.
        outcomes: the other items, in any order; their files are written when their outcome comes.
    """
    rows = dict(rows)
    before = len(rows)
    failed: dict[str, str] = {}
    missing: list[int] = []
    partial_file = out / PARTIAL_NAME
    with partial_file.open("w", encoding="utf-8") as log:
        log.writelines(json.dumps(row) + "\n" for row in rows.values())
        for index, row, problems in outcomes:
            failed.update(problems)
            if row is None:
                missing.append(index)
                continue
            rows[index] = row
            log.write(json.dumps(row) + "\n")
            log.flush()
    ordered = [rows[index] for index in sorted(rows)]
    text = "".join(json.dumps(row) + "\n" for row in ordered)
    write_atomically(out / "metadata.jsonl", text.encode())
    partial_file.unlink()
    return FolderResult(ordered, len(rows) - before, dict(sorted(failed.items())), sorted(missing))


def save_item(
    out: Path,
    name: str,
    made: Manipulation,
    index: int,
    *,
    id: str,
    source: str,
    photos: tuple[str, str | None],
    **columns: Any,
) -> dict[str, Any]:
    """Write the files of an image, each atomically.

    Args:
        out: the folder.
        name: of the files, without suffix.
        made: the image.
        index: number of the item in the folder.
        id: of the row.
        source: of the row.
        photos: names of the host and of the donor.
        **columns: further fields of the row.

    Returns:
        The row of metadata.jsonl.
    """
    # `file_name` comes first: imagefolder (datasets 5.2) gives that file to the first image column it meets.
    row: dict[str, Any] = {
        "file_name": f"images/{name}{made.suffix}",
        "mask_file_name": f"masks/{name}.png",
        "ai_mask_file_name": f"ai_masks/{name}.png",
        "label": made.label,
        "task": made.task,
        "id": id,
        "index": index,
        "source": source,
        "photo": photos[0],
        "donor": photos[1],
        "parameters": json.dumps(made.parameters, sort_keys=True),
        **columns,
    }
    write_atomically(out / row["file_name"], made.encoded)
    write_atomically(out / row["mask_file_name"], encode_png(made.mask * 255))
    write_atomically(out / row["ai_mask_file_name"], encode_png(made.ai_mask * 255))
    return row


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that it is either complete or absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


__all__ = [
    "PHOTO_SUFFIXES",
    "FolderResult",
    "Outcome",
    "begin_folder",
    "describe_photos",
    "find_photos",
    "finish_folder",
    "finished_rows",
    "save_item",
    "write_atomically",
]
