"""The rows and rejects of a folder that is made image by image, each logged when it is done.

    OUT/metadata.jsonl  OUT/rejects.jsonl

A reject is a row with a `reason`. A run that was stopped goes on with the rows that are there.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .line_log import append_line, whole_lines, write_lines

Row = dict[str, Any]


class RowLog:
    """What a folder holds, by the `index` of each row.

    Args:
        out: the folder.
    """

    def __init__(self, out: Path):
        self._metadata, self._rejected = out / "metadata.jsonl", out / "rejects.jsonl"
        self.rows = _by_index(whole_lines(self._metadata))
        self.rejects = _by_index(whole_lines(self._rejected))

    def done(self) -> set[int]:
        """Indices of rows and rejects."""
        return self.rows.keys() | self.rejects.keys()

    def add(self, row: Row) -> bool:
        """Append a row or reject, which is on disk when this returns; says whether it is a row."""
        is_reject = "reason" in row
        append_line(self._rejected if is_reject else self._metadata, row)
        (self.rejects if is_reject else self.rows)[row["index"]] = row
        return not is_reject

    def finish(self) -> tuple[list[Row], list[Row]]:
        """Write both files anew, in order of the indices; returns rows and rejects."""
        ordered = [[part[index] for index in sorted(part)] for part in (self.rows, self.rejects)]
        for file, rows in zip((self._metadata, self._rejected), ordered, strict=True):
            write_lines(file, rows)
        return ordered[0], ordered[1]


def _by_index(rows: Iterable[Row]) -> dict[int, Row]:
    return {row["index"]: row for row in rows}


__all__ = ["RowLog"]
