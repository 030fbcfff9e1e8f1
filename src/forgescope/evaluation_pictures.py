"""What a model said of the images of an evaluation, drawn beside the truth for its page."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from forgescope.evaluation.counts import FN, FP, TP, confusion_counts
from forgescope.evaluation.evaluator import Example
from forgescope.evaluation.perturbations import NONE
from forgescope.evaluation.results import EvaluationResult, ImageRecord

from .analyze import Analyzer
from .decision import Verdict
from .evaluation_images import ImageBook, outcome_of
from .evaluation_runs import EvaluationRun
from .examination import Examination
from .journal import Row
from .overlay import tinted
from .report import ForgeryReport
from .report_pictures import INLINED_EDGE
from .results import probability_picture

# Colours that stay apart for people who do not see red or green: found, falsely marked, missed.
FOUND_COLOR, FALSE_COLOR, MISSED_COLOR = (0, 158, 115), (213, 94, 0), (0, 114, 178)
COMPARED_OPACITY = 0.6
COMPARED_LEGEND = (
    "Over the grey photograph, green marks {pixels} that were found, orange those that were marked falsely, blue "
    "those that were missed; F1 and IoU of an image are those of these pixels."
)
CALLED_BY_TABLE = (
    "Verdicts are by the thresholds of the checkpoint, misses and false alarms by the threshold of the table."
)
VERDICTS: tuple[Verdict, Verdict] = ("authentic", "forged")
Mask = NDArray[np.uint8]


class WatchedImages:
    """The images of a run, kept while they are scored.

    Args:
        analyzer: the checkpoint.
        page: see `ImageBook`.
        total: likewise.
        prepare: what is done to images before the model sees them; None: nothing.
        called: whether a table calls an image of this record fake; None: the checkpoint's verdict is what counts.
    """

    def __init__(
        self,
        analyzer: Analyzer,
        page: Path,
        total: int,
        prepare: Callable[[Image.Image], Image.Image] | None = None,
        called: Callable[[ImageRecord], bool] | None = None,
    ):
        self.analyzer, self.prepare, self.called = analyzer, prepare, called
        self.book = ImageBook(page, total, analyzer.localizer.editors)

    def watch(self, example: Example, prediction: Any, record: ImageRecord) -> None:
        """Keep an image that was scored, see `Evaluator`.

        Raises:
            OSError: a picture cannot be written.
        """
        if self.book.full:
            self.book.left_out += 1
            return
        found = prediction if isinstance(prediction, Examination) else prediction.examination
        photo = example.image if self.prepare is None else self.prepare(example.image)
        report = self.analyzer.report(photo, found)
        truth = None
        if found.probability_map is not None and example.mask is not None:
            truth = (np.asarray(example.mask) > 0).astype(np.uint8)
        verdict = report.verdict if self.called is None else VERDICTS[self.called(record)]
        words = ("authentic", "forged") if record.label is None else ("real", "fake")
        facts: Row = {
            "truth": words[record.positive],
            "outcome": outcome_of(verdict, record.positive),
            "subset": record.source,
        }
        if truth is not None:
            facts |= agreement(report.mask, truth)
        self.book.keep(report.to_dict() | {"path": record.name}, _drawn(photo, report, truth), facts)

    def section(self, result: EvaluationResult) -> str:
        """Write the images as markup for `evaluation_page`.

        Args:
            result: of the run that was watched.
        """
        self.book.add_failures(result.skipped)
        name = result.perturbation.name
        sentences = [] if name == NONE.name else [f"Images are shown after {name}."]
        sentences += [CALLED_BY_TABLE] if self.called is not None else []
        if any("f1" in entry for entry in self.book.entries):
            threshold = self.analyzer.rule.mask_threshold
            sentences += [
                f"Pixels are marked from a probability of {threshold:g}.",
                COMPARED_LEGEND.format(pixels="forged pixels"),
            ]
        return self.book.section(sentences)


def section_of(images: WatchedImages | None, run: EvaluationRun) -> str:
    """Markup of the images of the first run of several; empty where none were kept."""
    return "" if images is None else images.section(run.results[0])


def agreement(mask: Mask, truth: Mask) -> dict[str, float | None]:
    """F1 and IoU of the marked pixels of an image, 0 to 1; None for an image without a forged pixel.

    Args:
        mask: (H, W) uint8, 1 = marked.
        truth: (H, W) uint8, 1 = forged.
    """
    if not truth.any():
        return {"f1": None, "iou": None}
    (counts,) = confusion_counts(mask, truth)
    hit, wrong = int(counts[TP]), int(counts[FP] + counts[FN])
    return {"f1": 2 * hit / (2 * hit + wrong), "iou": hit / (hit + wrong)}


def compared(photo: Image.Image, mask: Mask, truth: Mask) -> Image.Image:
    """Draw over a photograph without its colours which forged pixels were found, falsely marked and missed.

    Args:
        photo: mode RGB.
        mask: (H, W) uint8, 1 = marked.
        truth: (H, W) uint8, 1 = forged.

    Returns:
        Mode RGB, at most `INLINED_EDGE` pixels wide and high.
    """
    grey = photo.convert("L")
    grey.thumbnail((INLINED_EDGE, INLINED_EDGE))
    grey = grey.convert("RGB")
    marked, forged = (cv2.resize(one, grey.size, interpolation=cv2.INTER_NEAREST) > 0 for one in (mask, truth))
    parts = (
        (marked & forged, FOUND_COLOR),
        (marked & ~forged, FALSE_COLOR),
        (forged & ~marked, MISSED_COLOR),
    )
    picture = grey.copy()
    for part, color in parts:
        picture.paste(tinted(grey, color, COMPARED_OPACITY), mask=Image.fromarray(part * np.uint8(255)))
    return picture


def _drawn(photo: Image.Image, report: ForgeryReport, truth: Mask | None) -> dict[str, Image.Image]:
    """Photograph, and what lies over it."""
    drawn = {"photo": photo}
    if report.marks_pixels:
        drawn |= {"overlay": report.overlay(), "mask": report.mask_image()}
    if report.probability_map is not None:
        drawn["probability_map"] = probability_picture(report.probability_map)
    if (ai_mask := report.ai_mask_image()) is not None:
        drawn["ai_mask"] = ai_mask
    if truth is not None:
        drawn |= {"truth": Image.fromarray(truth * 255), "compared": compared(photo, report.mask, truth)}
    return drawn
