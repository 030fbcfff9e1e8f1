"""Pairs of an original and its edited image: from a table, or from a folder by their names."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..table_records import TABLE_SUFFIXES, is_table, table_records

PAIR_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
REQUIRED = ("original", "edited")
OPTIONAL = ("id", "source", "task", "instruction", "instruction_en")
# Folders that hold originals and edits under equal names, and endings of names that stand side by side.
FOLDER_NAMES = (("original", "edited"), ("originals", "edited"), ("source", "target"), ("before", "after"))
NAME = re.compile(r"(?P<key>.+?)[-_. ]+(?P<role>original|edited)$", re.IGNORECASE)
UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
DEFAULT_SOURCE = "pairs"


@dataclass(frozen=True)
class Pair:
    """One pair.

    Args:
        id: unique in the corpus; also the name of its files.
        original: file, or its bytes.
        edited: file, or its bytes.
        source: where the pair comes from, such as `x2edit-kontext`.
        task: one of PromptForge's eight tasks, or None.
        source_task: the same as the publisher spells it.
        instruction: what the editor was told.
        instruction_en: the same in English.
    """

    id: str
    original: Path | bytes
    edited: Path | bytes
    source: str = DEFAULT_SOURCE
    task: str | None = None
    source_task: str | None = None
    instruction: str | None = None
    instruction_en: str | None = None


def read_pairs(path: str | Path) -> list[Pair]:
    """Read a table (CSV or JSON Lines) or a folder of pairs.

    A table has the columns `original` and `edited`, paths relative to the table, and optionally `id`, `source`,
    `task`, `instruction` and `instruction_en`. A folder has two folders of equal names (`original` and `edited`, or
    `before` and `after`, `source` and `target`), or files NAME_original.* and NAME_edited.*.

    Raises:
        FileNotFoundError: no such file or folder.
        ValueError: no pairs, a missing column, a malformed line, or one id twice.
    """
    path = Path(path)
    if path.is_dir():
        pairs = list(_folder_pairs(path))
        if not pairs:
            names = ", ".join(" and ".join(names) for names in FOLDER_NAMES)
            raise ValueError(
                f"{path} holds no pairs: expected folders {names} with files of equal names, or files "
                "NAME_original.* and NAME_edited.*; or give a table of pairs"
            )
        return pairs
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: expected a folder of pairs, or a table (CSV or JSON Lines)")
    if not is_table(path):
        raise ValueError(f"{path} is no table of pairs: expected a name that ends in {' or '.join(TABLE_SUFFIXES)}")
    pairs = [_table_pair(record, where, path.parent) for where, record in table_records(path)]
    if not pairs:
        raise ValueError(f"{path} holds no pairs: expected a line with original and edited for each")
    return check_ids(pairs)


def check_ids(pairs: Iterable[Pair]) -> list[Pair]:
    """All pairs as a list.

    Raises:
        ValueError: one id twice.
    """
    seen: dict[str, Pair] = {}
    for pair in pairs:
        if pair.id in seen:
            raise ValueError(f"the id {pair.id} stands twice: give every pair an id of its own")
        seen[pair.id] = pair
    return list(seen.values())


def safe_id(text: str) -> str:
    """A text as a file name: other characters than letters, digits, dot, dash and underscore become one dash."""
    return UNSAFE.sub("-", text).strip(".-") or "pair"


def _table_pair(record: dict[str, Any], where: str, root: Path) -> Pair:
    missing = [name for name in REQUIRED if not record.get(name)]
    if missing:
        raise ValueError(f"{where} has no {' and no '.join(missing)}: expected columns {', '.join(REQUIRED)}")
    text = {name: str(record[name]) if record.get(name) not in (None, "") else None for name in OPTIONAL}
    edited = root / str(record["edited"])
    return Pair(
        id=safe_id(text["id"] or str(Path(record["edited"]).with_suffix(""))),
        original=root / str(record["original"]),
        edited=edited,
        source=text["source"] or DEFAULT_SOURCE,
        source_task=text["task"],
        instruction=text["instruction"],
        instruction_en=text["instruction_en"],
    )


def _folder_pairs(root: Path) -> Iterator[Pair]:
    for originals, edits in FOLDER_NAMES:
        if (root / originals).is_dir() and (root / edits).is_dir():
            by_name = {_key(file, root / originals): file for file in _images(root / originals)}
            for file in _images(root / edits):
                if _key(file, root / edits) in by_name:
                    key = _key(file, root / edits)
                    yield Pair(safe_id(key), by_name[key], file)
            return
    roles: dict[str, dict[str, Path]] = {}
    for file in _images(root):
        match = NAME.match(_key(file, root))
        if match:
            roles.setdefault(match["key"], {})[match["role"].lower()] = file
    for key, files in roles.items():
        if len(files) == len(REQUIRED):
            yield Pair(safe_id(key), files["original"], files["edited"])


def _images(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.suffix.lower() in PAIR_SUFFIXES and file.is_file())


def _key(file: Path, root: Path) -> str:
    return file.relative_to(root).with_suffix("").as_posix()


__all__ = ["Pair", "check_ids", "read_pairs", "safe_id"]
