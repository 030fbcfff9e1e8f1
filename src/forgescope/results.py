"""The folder that a run over many photographs fills: report.jsonl, report.csv, report.html, masks and other pictures.

report.jsonl is the journal of a run: one object an image, written when the image is done.
"""

import csv
import hashlib
import io
import os
import re
from pathlib import Path

import cv2
import numpy as np
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
    "probability_map",
    "model",
    "precision",
    "notes",
    "error",
)
# What must be equal for rows to stand in one report.
SETTINGS = ("model", "precision", "rule", "tile", "editors", "explanations", "checkpoints")
OVERLAY_QUALITY = 90
# Probability maps are to be looked at: 18 kB a map in the median at this size and quality, against 55 kB and 40 times
# the time for a whole one without loss.
PROBABILITY_MAP_EDGE = 1024
PROBABILITY_MAP_QUALITY = 90
PICTURES = ("mask", "ai_mask", "overlay", "probability_map")
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
        """Write masks, overlay, probability map and row of a photograph.

        Args:
            report: result for a file; where its model marks no pixels, there are no pictures to write.
            with_overlay: write overlay and probability map too.

        Returns:
            The row.

        Raises:
            OSError: a file cannot be written; those before it are whole.
        """
        pictures = self._write_pictures(report, with_overlay) if report.marks_pixels else {}
        return self.append(report.to_dict() | dict.fromkeys(PICTURES) | pictures | {"error": None})

    def add_failure(self, path: str, error: str) -> Row:
        """Write the row of a photograph that could not be examined; returns it."""
        empty = dict.fromkeys(("verdict", "score", "forged_fraction", "ai_fraction", *PICTURES))
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

    def _write_pictures(self, report: ForgeryReport, with_overlay: bool) -> Row:
        """Kind of each picture that is written -> its file."""
        name = picture_name(report.path or "image")
        png, jpeg = {"format": "PNG"}, {"format": "JPEG", "quality": OVERLAY_QUALITY}
        written = {"mask": self._write_picture(Path("masks") / f"{name}.png", report.mask_image(), png)}
        ai_mask = report.ai_mask_image()
        if ai_mask is not None:
            written["ai_mask"] = self._write_picture(Path("ai_masks") / f"{name}.png", ai_mask, png)
        if with_overlay:
            written["overlay"] = self._write_picture(Path("overlays") / f"{name}.jpg", report.overlay(), jpeg)
        if with_overlay and report.probability_map is not None:
            options = {"format": "JPEG", "quality": PROBABILITY_MAP_QUALITY}
            picture = probability_picture(report.probability_map)
            written["probability_map"] = self._write_picture(
                Path("probability_maps") / f"{name}.jpg", picture, options
            )
        return written

    def _write_picture(self, name: Path, picture: Image.Image, options: Row) -> str:
        (self.folder / name.parent).mkdir(exist_ok=True)
        content = io.BytesIO()
        picture.save(content, **options)
        return str(write_whole(self.folder / name, content.getvalue()))


def probability_picture(probability_map: np.ndarray) -> Image.Image:
    """Make a picture of a probability map.

    Args:
        probability_map: (H, W) float, 0..1.

    Returns:
        Mode L, 0 for 0 and 255 for 1, reduced to `PROBABILITY_MAP_EDGE` pixels on its longer side.
    """
    height, width = probability_map.shape
    factor = PROBABILITY_MAP_EDGE / max(height, width)
    if factor < 1:
        size = (max(1, round(width * factor)), max(1, round(height * factor)))
        probability_map = cv2.resize(probability_map, size, interpolation=cv2.INTER_AREA)
    return Image.fromarray(np.rint(probability_map * 255).astype(np.uint8))


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
