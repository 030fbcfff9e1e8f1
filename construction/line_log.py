"""JSON Lines that are appended to while a job runs, and read again after it was killed."""

import json
import os
from pathlib import Path
from typing import Any

from .image_folder import write_atomically


def append_line(file: Path, row: dict[str, Any]) -> None:
    """Append a row; it is on disk when this returns."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as log:
        log.write(json.dumps(row, ensure_ascii=False) + "\n")
        log.flush()
        os.fsync(log.fileno())


def whole_lines(file: Path) -> list[dict[str, Any]]:
    """Rows of a file, none for one that is absent; a last line without its end is taken out of it."""
    if not file.is_file():
        return []
    data = file.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        write_atomically(file, whole)
    # bytes end a line at \n alone (JSON escapes \r); text would also be cut at U+2028 within a string
    return [json.loads(line) for line in whole.splitlines()]


def write_lines(file: Path, rows: list[dict[str, Any]]) -> None:
    """Write all rows anew, atomically."""
    write_atomically(file, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())


__all__ = ["append_line", "whole_lines", "write_lines"]
