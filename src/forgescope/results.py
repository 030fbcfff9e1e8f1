"""The folder that a run over many photographs fills: report.jsonl, report.csv, report.html, masks and overlays.

report.jsonl is the journal of a run: one object an image, written when the image is done, so that an interrupted run
goes on where it stopped.
"""

import csv
import hashlib
import io
import json
import os
import re
from pathlib import Path
from typing import Any

from PIL import Image

from .editor_maps import shares_text
from .report import ForgeryReport

Row = dict[str, Any]
JOURNAL = "report.jsonl"
CSV_COLUMNS = (
    "path",
    "verdict",
    "score",
    "forged_fraction",
    "ai_fraction",
    "region_count",
    "attribution",
    "mask",
    "ai_mask",
    "overlay",
    "model",
    "precision",
    "notes",
    "error",
)
# What must be equal for rows to stand in one report.
SETTINGS = ("model", "precision", "rule", "tile", "editors")
OVERLAY_QUALITY = 90
LONGEST_STEM = 80
HASH_DIGITS = 10


class ResultsFolder:
    """Results of one run, on disk.

    Args:
        folder: made when missing.
        settings: values of `SETTINGS` for the rows to come.
        overwrite: forget the rows of an earlier run.

    Raises:
        ValueError: the folder holds rows of other settings.
        OSError: the folder cannot be made or read.
    """

    def __init__(self, folder: str | os.PathLike, settings: Row, overwrite: bool = False):
        self.folder = Path(folder).absolute()
        self.settings = settings
        self.folder.mkdir(parents=True, exist_ok=True)
        self.journal = self.folder / JOURNAL
        if overwrite:
            self.journal.unlink(missing_ok=True)
        self.rows = self._read_journal()
        self._check_settings()

    def done(self, path: str) -> bool:
        """Say whether a photograph has a row; one that failed has not, and is tried again."""
        return os.path.abspath(path) in self.rows

    def add(self, report: ForgeryReport, with_overlay: bool = True) -> Row:
        """Write masks, overlay and row of a photograph.

        Args:
            report: result for a file.
            with_overlay: write the overlay picture too.

        Returns:
            The row.

        Raises:
            OSError: a file cannot be written; those before it are whole.
        """
        name = picture_name(report.path or "image")
        mask = self._write_picture(Path("masks") / f"{name}.png", report.mask_image(), {"format": "PNG"})
        ai_mask, ai_picture = None, report.ai_mask_image()
        if ai_picture is not None:
            ai_mask = self._write_picture(Path("ai_masks") / f"{name}.png", ai_picture, {"format": "PNG"})
        overlay = None
        if with_overlay:
            options = {"format": "JPEG", "quality": OVERLAY_QUALITY}
            overlay = self._write_picture(Path("overlays") / f"{name}.jpg", report.overlay(), options)
        pictures = {"mask": mask, "ai_mask": ai_mask, "overlay": overlay}
        return self._append(report.to_dict() | pictures | {"error": None})

    def add_failure(self, path: str, error: str) -> Row:
        """Write the row of a photograph that could not be examined; returns it."""
        empty = dict.fromkeys(("verdict", "score", "forged_fraction", "ai_fraction", "mask", "ai_mask", "overlay"))
        return self._append({"path": path} | empty | {"error": error})

    def write_csv(self) -> Path:
        """Write report.csv from all rows and return its path; raises OSError when it cannot be written."""
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, CSV_COLUMNS, extrasaction="ignore")
        writer.writeheader()
        for row in self.rows.values():
            texts = {"notes": " ".join(row.get("notes", ())), "attribution": shares_text(row.get("attribution") or {})}
            writer.writerow(row | {"region_count": len(row.get("regions", ()))} | texts)
        return write_whole(self.folder / "report.csv", text.getvalue().encode("utf-8", errors="backslashreplace"))

    def _append(self, row: Row) -> Row:
        """Add one line to the journal; when the disk is full, no half line stays behind."""
        row |= self.settings
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
        self.rows[os.path.abspath(row["path"])] = row
        return row

    def _write_picture(self, name: Path, picture: Image.Image, options: Row) -> str:
        (self.folder / name.parent).mkdir(exist_ok=True)
        content = io.BytesIO()
        picture.save(content, **options)
        return str(write_whole(self.folder / name, content.getvalue()))

    def _read_journal(self) -> dict[str, Row]:
        """Rows by absolute path; failed ones and a last line cut off by a crash are dropped, from the file too."""
        if not self.journal.exists():
            return {}
        lines = self.journal.read_bytes().splitlines(keepends=True)
        rows: dict[str, Row] = {}
        for number, line in enumerate(lines, start=1):
            try:
                row = json.loads(line)
                rows[os.path.abspath(row["path"])] = row
            except (ValueError, TypeError, KeyError) as error:
                if number == len(lines) and not line.endswith(b"\n"):
                    continue
                raise ValueError(
                    f"line {number} of {self.journal} is no row of a report: choose another --out, or --overwrite"
                ) from error
        kept = {path: row for path, row in rows.items() if row.get("error") is None}
        if len(kept) < len(lines):
            write_whole(self.journal, b"".join(map(_json_line, kept.values())))
        return kept

    def _check_settings(self) -> None:
        for row in self.rows.values():
            for key in SETTINGS:
                if row.get(key) != self.settings.get(key):
                    raise ValueError(
                        f"{self.folder} holds results with {key} {row.get(key)!r}, this run has "
                        f"{self.settings.get(key)!r}: choose another --out, or --overwrite"
                    )


def picture_name(path: str) -> str:
    """Name the pictures of a photograph: its stem for the eye, a hash of its whole path against clashes.

    Example:
        >>> picture_name("/photos/a b.jpg")
        'a_b-a6cfb18f42'
    """
    absolute = os.path.abspath(path)
    stem = re.sub(r"[^\w.-]", "_", Path(path).stem)[:LONGEST_STEM]
    digest = hashlib.sha256(absolute.encode("utf-8", errors="surrogateescape")).hexdigest()
    return f"{stem}-{digest[:HASH_DIGITS]}"


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
