"""JSON Lines that are appended to while a job runs, and read again after it was killed; and other JSON files."""

import json
import os
from pathlib import Path
from typing import Any

from .image_folder import write_atomically


def append_line(file: Path, row: dict[str, Any]) -> None:
    """Append a row; it is on disk when this returns."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab") as log:
        log.write(_encoded(row))
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
    write_atomically(file, b"".join(map(_encoded, rows)))


def write_json(file: Path, value: Any) -> None:
    """Write one value, indented, atomically."""
    write_atomically(file, _encoded(value, indent=1))


def _encoded(value: Any, indent: int | None = None) -> bytes:
    """A value in UTF-8; what that has no place for, such as the bytes of a file name, is written as JSON's escape."""
    return f"{json.dumps(value, indent=indent, ensure_ascii=False)}\n".encode(errors="backslashreplace")


__all__ = ["append_line", "whole_lines", "write_json", "write_lines"]
