"""The journal of a run over files: one JSON object a line, so that a stopped run goes on where it stopped."""

import json
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

Row = dict[str, Any]
# Key of a row's file, whatever folder the run was started in: `path` is as the user gave it.
PLACE = "absolute_path"


class Journal:
    """Rows of one run, on disk.

    Args:
        file: JSON lines; its folder is made when missing.
        settings: part of every row; must be equal for rows to stand in one file.
        compared: names of all settings that a row can have.
        overwrite: forget the rows of an earlier run.

    Raises:
        ValueError: the file holds rows of other settings.
        OSError: the folder cannot be made, or the file not read.
    """

    def __init__(
        self, file: str | os.PathLike, settings: Row, compared: Collection[str] | None = None, overwrite: bool = False
    ):
        self.journal = Path(file).absolute()
        self.folder = self.journal.parent
        self.settings = settings
        self.folder.mkdir(parents=True, exist_ok=True)
        if overwrite:
            self.journal.unlink(missing_ok=True)
        self.rows = self._read()
        self._check_settings(settings if compared is None else compared)

    def done(self, path: str) -> bool:
        """Say whether a file has a row; one that failed has not, and is tried again."""
        return os.path.abspath(path) in self.rows

    def append(self, row: Row) -> Row:
        """Add a row, with the settings of the run; when the disk is full, no half line stays behind.

        Args:
            row: has `path`, and `error`: None or a sentence.

        Returns:
            The whole row.

        Raises:
            OSError: it cannot be written.
        """
        row |= self.settings | {PLACE: os.path.abspath(row["path"])}
        rest = _json_line(row)
        # unbuffered: a buffer would try again to write what the disk had no room for, after the line was taken back
        with open(self.journal, "ab", buffering=0) as file:
            end = file.seek(0, os.SEEK_END)
            try:
                while rest:
                    rest = rest[file.write(rest) :]
            except OSError:
                file.truncate(end)
                raise
        self.rows[row[PLACE]] = row
        return row

    def _read(self) -> dict[str, Row]:
        """Rows by absolute path; failed ones and a last line cut off by a crash are dropped, from the file too.

        A last line that lacks its end alone gets it, for the next row would be added to it.
        """
        if not self.journal.exists():
            return {}
        lines = self.journal.read_bytes().splitlines(keepends=True)
        rows: dict[str, Row] = {}
        for number, line in enumerate(lines, start=1):
            try:
                row = _from_here(json.loads(line))
                rows[row[PLACE]] = row
            except (ValueError, TypeError, KeyError) as error:
                if number == len(lines) and not line.endswith(b"\n"):
                    continue
                raise ValueError(
                    f"line {number} of {self.journal} is no row of a report: choose another --out, or --overwrite"
                ) from error
        kept = {path: row for path, row in rows.items() if row.get("error") is None}
        if len(kept) < len(lines) or not all(line.endswith(b"\n") for line in lines):
            write_whole(self.journal, b"".join(map(_json_line, kept.values())))
        return kept

    def _check_settings(self, compared: Collection[str]) -> None:
        for row in self.rows.values():
            for key in compared:
                if row.get(key) != self.settings.get(key):
                    raise ValueError(
                        f"{self.folder} holds results with {key} {row.get(key)!r}, this run has "
                        f"{self.settings.get(key)!r}: choose another --out, or --overwrite"
                    )


def _from_here(row: Row) -> Row:
    """A row that was read, with a `path` that leads to its file from the folder of this run too."""
    path = os.path.abspath(row["path"])
    place = row.setdefault(PLACE, path)
    return row if place == path else row | {"path": place}


def write_whole(path: Path, content: bytes) -> Path:
    """Write a file whole or not at all.

    Args:
        path: where it is to be.
        content: all of it.

    Returns:
        `path`.

    Raises:
        OSError: it cannot be written; what was at `path` before is still there.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return path


def _json_line(row: Row) -> bytes:
    """One line of ASCII, so that file names of any bytes survive."""
    return json.dumps(row).encode("ascii") + b"\n"
