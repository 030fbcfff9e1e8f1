"""Pictures of an evaluation of artifacts: its chart, and some images beside what is annotated and what was found."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from forgescope.evaluation.grounded_plots import save_grounded_plot
from forgescope.evaluation.grounded_protocol import GroundedRow
from forgescope.evaluation.grounded_scores import united
from forgescope.evaluation.perturbations import NONE
from forgescope.evaluation.rows import Row

from .grounded_answers import read_grounded_answers
from .grounded_data import GroundedImages
from .overlay import draw_overlay

# Images that are shown, from the first on.
SHOWN = 12
# Pixels of the longer side of an image in a picture, and between images.
SIDE, GAP = 384, 8


def save_pictures(rows: Sequence[Row], images: GroundedImages, answers: Path, place: Path, chart: str) -> None:
    """Write the chart, and the first images as strips: as it is, with what is annotated, with what was found.

    Args:
        rows: rows of the evaluation.
        images: its images.
        answers: its answers, JSON lines.
        place: folder to write into, made where it is missing; with an ending such as `.png`, the chart alone.
        chart: name of the chart in the folder.

    Raises:
        ImportError: matplotlib is missing.
        ValueError: there is no number to draw.
        OSError: a file cannot be read or written.
    """
    file = place if place.suffix else place / chart
    file.parent.mkdir(parents=True, exist_ok=True)
    save_grounded_plot([row for row in rows if isinstance(row, GroundedRow)], file)
    if place.suffix:
        return
    book = read_grounded_answers(answers)
    perturbation = NONE.name if NONE.name in book.answers else next(iter(book.answers))
    answered = {item.id: item for item in images.items if (found := book.find(item, perturbation)) and found.marks}
    shown = dict(list(answered.items())[:SHOWN])
    for number, (name, photo) in enumerate(images.read(set(shown))):
        answer = book.find(shown[name], perturbation)
        if answer is None or not isinstance(photo, Image.Image):
            continue
        size = (photo.height, photo.width)
        try:
            whole = answer.whole(size)
            marked = united(answer.parts(size), size) if whole is None else whole
            strip = _strip([photo, draw_overlay(photo, shown[name].whole()), draw_overlay(photo, marked)])
        except (ValueError, OSError):
            continue  # the evaluation has named it
        strip.save(place / f"image_{number:02d}.png")


def _strip(pictures: Sequence[Image.Image]) -> Image.Image:
    """Pictures of one size beside each other, reduced."""
    small = []
    for picture in pictures:
        picture = picture.copy()
        picture.thumbnail((SIDE, SIDE))
        small.append(np.pad(np.asarray(picture), ((0, 0), (0, GAP), (0, 0)), constant_values=255))
    return Image.fromarray(np.concatenate(small, axis=1)[:, :-GAP])
