"""The images of an evaluation for its page: what a model said of each, beside the truth."""

import html
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from forgescope.evaluation.counts import FN, FP, TP, confusion_counts
from forgescope.evaluation.evaluator import Example
from forgescope.evaluation.perturbations import NONE
from forgescope.evaluation.results import ImageRecord, Skipped

from .analyze import Analyzer
from .examination import Examination
from .html_report import legends
from .journal import Row, write_whole
from .overlay import tinted
from .page_template import fill_template
from .photograph_table import Entry, Pictures, entry_of, histogram_of, optional_columns, photograph_table
from .report import ForgeryReport
from .report_pictures import INLINED_EDGE, LAYERS, MOST_INLINED, THUMBNAIL_EDGE, data_address, reduced, webp
from .results import probability_picture

# Colours that stay apart for people who do not see red or green: found, falsely marked, missed.
FOUND_COLOR, FALSE_COLOR, MISSED_COLOR = (0, 158, 115), (213, 94, 0), (0, 114, 178)
COMPARED_OPACITY = 0.6
COMPARED_LEGEND = (
    "Over the grey photograph, green marks forged pixels that the model found, orange those that it marked falsely, "
    "blue those that it missed; F1 and IoU of an image are those of these pixels, at the checkpoint's mask threshold "
    "of {threshold:g}."
)
LAYER_NAMES = {"overlay": "Overlay", "compared": "Found and missed"} | LAYERS | {"truth": "True mask"}
PICTURES_SUFFIX = "_pictures"
MISSED, FALSE_ALARM = "missed", "false alarm"


class ImageBook:
    """The images of a run, as the page of the evaluation shows them.

    Args:
        analyzer: the checkpoint.
        page: file of the page. With more than `MOST_INLINED` images, their pictures are written into a folder beside
            it, reduced; else the page holds them.
        total: number of images.
        prepare: what is done to images before the model sees them; None: nothing.
    """

    def __init__(
        self,
        analyzer: Analyzer,
        page: Path,
        total: int,
        prepare: Callable[[Image.Image], Image.Image] | None = None,
    ):
        self.analyzer, self.prepare = analyzer, prepare
        self.folder = page.with_name(page.stem + PICTURES_SUFFIX) if total > MOST_INLINED else None
        self.rows: list[Row] = []
        self.entries: list[Entry] = []
        self.pictures: dict[int, Pictures] = {}

    def watch(self, example: Example, prediction: Any, record: ImageRecord) -> None:
        """Keep an image that was scored, see `Evaluator`.

        Raises:
            OSError: a picture cannot be written.
        """
        found = prediction if isinstance(prediction, Examination) else prediction.examination
        photo = example.image if self.prepare is None else self.prepare(example.image)
        report = self.analyzer.report(photo, found)
        truth = None
        if found.probability_map is not None and example.mask is not None:
            truth = (np.asarray(example.mask) > 0).astype(np.uint8)
        row = report.to_dict() | {"path": record.name, "error": None}
        self._keep(row, report, truth, _facts(report, truth, record))

    def add_failures(self, skipped: Sequence[Skipped]) -> None:
        """Keep images that could not be scored."""
        for one in skipped:
            empty = dict.fromkeys(("verdict", "score", "forged_fraction"))
            row = {"path": one.name, "error": one.reason, **empty}
            self.rows.append(row)
            self.entries.append(entry_of(row))

    def section(self, perturbation: str) -> str:
        """Write histogram and photographs as markup for `evaluation_page`.

        Args:
            perturbation: name of what was done to the images first.
        """
        thresholds = next((row["thresholds"] for row in self.rows if row["error"] is None), None)
        columns = optional_columns(self.rows, self.analyzer.localizer.editors)
        sentences = [] if perturbation == NONE.name else [f"Images are shown after {perturbation}."]
        sentences += legends(self.rows, columns)
        if any(entry.get("f1") is not None for entry in self.entries):
            sentences.append(COMPARED_LEGEND.format(threshold=self.analyzer.rule.mask_threshold))
        return fill_template(
            "evaluation_photographs.html",
            legend=html.escape(" ".join(sentences)),
            histogram=histogram_of(self.entries, thresholds),
            table=photograph_table(self.entries, self.pictures, thresholds, columns, self._wrong_filter()),
        )

    def _wrong_filter(self) -> str:
        wrong = sum(bool(entry.get("outcome")) for entry in self.entries)
        return f'<label><input type="checkbox" id="wrong"> wrong verdicts alone {wrong}</label>'

    def _keep(self, row: Row, report: ForgeryReport, truth: NDArray[np.uint8] | None, facts: Row) -> None:
        number, drawn = len(self.entries), _drawn(report, truth)
        small = reduced(drawn["overlay"], THUMBNAIL_EDGE)
        entry = entry_of(row, self.analyzer.localizer.editors, (data_address(webp(small)), small.size))
        self.rows.append(row)
        self.entries.append(entry | facts)
        photo = self._address(number, "photo", drawn.pop("photo"))
        layers = [
            {"kind": kind, "name": name, "source": self._address(number, kind, drawn[kind])}
            for kind, name in LAYER_NAMES.items()
            if kind in drawn
        ]
        self.pictures[number] = {"photo": photo, "layers": layers}

    def _address(self, number: int, kind: str, picture: Image.Image) -> str:
        """Put a picture into the page, or into the folder beside it."""
        content = webp(picture)
        if self.folder is None:
            return data_address(content)
        self.folder.mkdir(parents=True, exist_ok=True)
        file = write_whole(self.folder / f"{number:06d}_{kind}.webp", content)
        return quote(os.fsencode(os.path.relpath(file, self.folder.parent)))


def _facts(report: ForgeryReport, truth: NDArray[np.uint8] | None, record: ImageRecord) -> Row:
    """What an evaluation knows of an image beside the report."""
    words = ("authentic", "forged") if record.label is None else ("real", "fake")
    outcome = MISSED if record.positive and report.verdict == "authentic" else None
    if not record.positive and report.verdict == "forged":
        outcome = FALSE_ALARM
    facts = {"truth": words[record.positive], "outcome": outcome, "subset": record.source, "f1": None, "iou": None}
    if truth is None or not truth.any():
        return facts
    (counts,) = confusion_counts(report.mask, truth)
    hit, wrong = int(counts[TP]), int(counts[FP] + counts[FN])
    return facts | {"f1": 2 * hit / (2 * hit + wrong), "iou": hit / (hit + wrong)}


def _drawn(report: ForgeryReport, truth: NDArray[np.uint8] | None) -> dict[str, Image.Image]:
    """Photograph and what lies over it, by kind, reduced to what a page shows."""
    assert report.image is not None
    drawn = {"photo": report.image, "overlay": report.overlay()}
    if report.probability_map is not None:
        drawn |= {"probability_map": probability_picture(report.probability_map), "mask": report.mask_image()}
    if (ai_mask := report.ai_mask_image()) is not None:
        drawn["ai_mask"] = ai_mask
    if truth is not None:
        drawn["truth"] = Image.fromarray(truth * 255)
    small = {kind: reduced(picture, INLINED_EDGE) for kind, picture in drawn.items()}
    if truth is not None:
        small["compared"] = compared(small["photo"], report.mask, truth)
    return small


def compared(photo: Image.Image, mask: NDArray[np.uint8], truth: NDArray[np.uint8]) -> Image.Image:
    """Draw over a photograph without its colours which forged pixels were found, falsely marked and missed.

    Args:
        photo: mode RGB, of any size.
        mask: (H, W) uint8, 1 = marked.
        truth: (H, W) uint8, 1 = forged.
    """
    marked, forged = (cv2.resize(one, photo.size, interpolation=cv2.INTER_NEAREST) > 0 for one in (mask, truth))
    parts = (
        (marked & forged, FOUND_COLOR),
        (marked & ~forged, FALSE_COLOR),
        (forged & ~marked, MISSED_COLOR),
    )
    grey = photo.convert("L").convert("RGB")
    picture = grey.copy()
    for part, color in parts:
        picture.paste(tinted(grey, color, COMPARED_OPACITY), mask=Image.fromarray(part * np.uint8(255)))
    return picture
