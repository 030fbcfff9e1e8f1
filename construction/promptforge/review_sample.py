"""Which annotated pairs are reviewed: so many of each source, drawn by a hash (PromptForge-350k, section 4.3).

The order of a source's pairs is that of a hash of the seed and the pair's id. It does not depend on the order of the
lines, the number of files or what else is in the folder, and a corpus that grows keeps most of its sample.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

METADATA, REJECTS = "metadata.jsonl", "rejects.jsonl"
UNKNOWN_SOURCE = "unknown"
FILE_KEYS = ("file_name", "original_file_name", "mask_file_name")
ORDER_BYTES = 16


class Place(NamedTuple):
    """Where a pair's line stands; sorts by the hash of its id.

    Args:
        order: hash of the seed and the id.
        file: metadata.jsonl that holds the line.
        offset: first byte of the line.
    """

    order: bytes
    file: Path
    offset: int


@dataclass
class Candidates:
    """The pairs of a folder in drawing order.

    Args:
        by_source: places of each source, sorted; sources by name.
        problems: lines that cannot be used, one sentence each.
    """

    by_source: dict[str, list[Place]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def find_candidates(folder: Path, seed: int) -> Candidates:
    """Read every metadata.jsonl of an annotated folder once and put its pairs into drawing order.

    Only the places of the lines are kept: 350,000 pairs need some 60 MB.

    Args:
        folder: holds `<split>/metadata.jsonl`, or one metadata.jsonl.
        seed: of the draw.

    Raises:
        FileNotFoundError: the folder does not exist.
        ValueError: there is no metadata.jsonl.
    """
    found = Candidates()
    seen: set[bytes] = set()
    places: dict[str, list[Place]] = {}
    for file in metadata_files(folder):
        for offset, number, line in _lines(file):
            where = f"{file.relative_to(folder)}, line {number}"
            record = _record(line)
            if record is None:
                found.problems.append(f"{where}: not a JSON object")
                continue
            missing = [key for key in FILE_KEYS if not isinstance(record.get(key), str) or not record[key]]
            if missing:
                found.problems.append(f"{where}: no {', '.join(missing)}")
                continue
            order = drawing_order(pair_id(record), seed)
            if order in seen:
                found.problems.append(f"{where}: the id {pair_id(record)} was there before")
                continue
            seen.add(order)
            places.setdefault(pair_source(record), []).append(Place(order, file, offset))
    found.by_source = {source: sorted(places[source]) for source in sorted(places)}
    return found


def metadata_files(folder: Path) -> list[Path]:
    """The metadata.jsonl of a folder and of its splits, sorted.

    Raises:
        FileNotFoundError: the folder does not exist.
        ValueError: there is none, perhaps because every pair was rejected.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} does not exist: give the folder that was annotated")
    files = [file for file in (folder / METADATA, *sorted(folder.glob(f"*/{METADATA}"))) if file.is_file()]
    if not files and (folder / REJECTS).is_file():
        raise ValueError(f"no pair in {folder} was kept, all were rejected: {REJECTS} says why")
    if not files:
        raise ValueError(f"no <split>/{METADATA} in {folder}: give the folder that was annotated")
    return files


def read_place(place: Place) -> dict[str, Any]:
    """The record that a place points to."""
    with place.file.open("rb") as lines:
        lines.seek(place.offset)
        return json.loads(lines.readline())


def drawing_order(row_id: str, seed: int) -> bytes:
    """Hash by which the pairs of a source are drawn; seeds give unrelated orders."""
    return hashlib.sha256(f"{seed}\0{row_id}".encode("utf-8", "surrogatepass")).digest()[:ORDER_BYTES]


def pair_id(record: dict[str, Any]) -> str:
    """Id of a pair, or the stem of its edited image where it has none."""
    value = record.get("id")
    return Path(record["file_name"]).stem if value in (None, "") else str(value)


def pair_source(record: dict[str, Any]) -> str:
    """Source of a pair, or "unknown"."""
    return str(record.get("source") or UNKNOWN_SOURCE)


def _lines(file: Path) -> Iterator[tuple[int, int, bytes]]:
    """Offset, number (from 1) and bytes of the lines that are not empty."""
    offset = 0
    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield offset, number, line
            offset += len(line)


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:  # of the JSON or of its UTF-8
        return None
    return record if isinstance(record, dict) else None
