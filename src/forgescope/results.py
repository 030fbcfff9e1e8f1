"""The folder that a run over many photographs fills: report.jsonl, report.csv, report.html, masks and overlays.

report.jsonl is the journal of a run: one object an image, written when the image is done.
"""

import csv
import hashlib
import io
import os
import re
from pathlib import Path

from PIL import Image

from .editor_maps import shares_text
from .journal import Journal, Row, write_whole
from .report import ForgeryReport

JOURNAL = "report.jsonl"
CSV_COLUMNS = (
    "path",
    "verdict",
    "score",
    "forged_fraction",
    "ai_fraction",
    "region_count",
    "attribution",
    "explanation",
    "provenance",
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


class ResultsFolder(Journal):
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
        super().__init__(Path(folder) / JOURNAL, settings, SETTINGS, overwrite)

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
        return self.append(report.to_dict() | pictures | {"error": None})

    def add_failure(self, path: str, error: str) -> Row:
        """Write the row of a photograph that could not be examined; returns it."""
        empty = dict.fromkeys(("verdict", "score", "forged_fraction", "ai_fraction", "mask", "ai_mask", "overlay"))
        return self.append({"path": path} | empty | {"error": error})

    def write_csv(self) -> Path:
        """Write report.csv from all rows and return its path; raises OSError when it cannot be written."""
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, CSV_COLUMNS, extrasaction="ignore")
        writer.writeheader()
        for row in self.rows.values():
            texts = {"notes": " ".join(row.get("notes", ())), "attribution": shares_text(row.get("attribution") or {})}
            texts["provenance"] = (row.get("provenance") or {}).get("summary", "")
            writer.writerow(row | {"region_count": len(row.get("regions", ()))} | texts)
        return write_whole(self.folder / "report.csv", text.getvalue().encode("utf-8", errors="backslashreplace"))

    def _write_picture(self, name: Path, picture: Image.Image, options: Row) -> str:
        (self.folder / name.parent).mkdir(exist_ok=True)
        content = io.BytesIO()
        picture.save(content, **options)
        return str(write_whole(self.folder / name, content.getvalue()))


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
