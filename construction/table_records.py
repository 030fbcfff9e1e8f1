"""Tables of items as CSV or JSON Lines: one record a line, with the place it stands at for messages."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TABLE_SUFFIXES = (".csv", ".jsonl")


def is_table(path: Path) -> bool:
    """Whether a file's name ends as a table's does."""
    return path.suffix.lower() in TABLE_SUFFIXES


def table_records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Place and fields of each line of a table; of a CSV all fields are texts.

    Raises:
        ValueError: a line that cannot be read; the message names it.
        OSError: the file cannot be read.
    """
    return _csv_records(path) if path.suffix.lower() == ".csv" else _json_records(path)


def _csv_records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            for number, record in enumerate(csv.DictReader(file), start=2):
                yield f"{path}, line {number}", record
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is no CSV file: {error}") from error


def _json_records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    # split at \n alone: text.splitlines would also cut at U+2028 within a text
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{where} is no JSON: {error}") from error
        if not isinstance(record, dict):
            raise ValueError(f"{where} is no JSON object: {line[:60]}")
        yield where, record


__all__ = ["TABLE_SUFFIXES", "is_table", "table_records"]
