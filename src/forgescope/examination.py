"""What a model says of one photograph, before it becomes a report."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from PIL import Image

from forgescope.processing.grounded_explanation import GroundedArtifact

from .decision import NOT_NUMBERS, DecisionRule, Verdict, image_score

Result = TypeVar("Result")


@dataclass(frozen=True)
class Failure:
    """A photograph that could not be examined: its path, and the reason in one sentence."""

    path: str | None
    error: str


@dataclass(frozen=True)
class Examination:
    """What a model says of one photograph.

    Args:
        probability_map: (H, W) float32, 0..1: probability of each pixel to be forged. From a model that marks only
            AI-made pixels, those; None from one that marks none.
        ai_map: (H, W) float32, 0..1: probability of each pixel to be AI-made; None from a model that does not say.
        score: a classifier's probability that the image holds AI-made pixels, 0..1; None from a model without one.
        class_map: (H, W) uint8, class of each pixel, 0 = authentic; None from a model without classes, or when it was
            not asked for.
        editor_map: (H, W) uint8, id of the likeliest editor of each pixel, 1 for the first, also where the pixel is
            more likely authentic; None from a model that tells no editors apart.
        phrases: artifacts that the model names, each with its mask; the mask of the report is all of them together.
            None from a model that names none.
        explanation: what the model says in words; None from one that says nothing.
        undecided: the model gave no verdict, and `score` says nothing.
        notes: sentences on what the model gave.
    """

    probability_map: np.ndarray | None
    ai_map: np.ndarray | None = None
    score: float | None = None
    class_map: np.ndarray | None = None
    editor_map: np.ndarray | None = None
    phrases: tuple[GroundedArtifact, ...] | None = None
    explanation: str | None = None
    undecided: bool = False
    notes: tuple[str, ...] = ()

    def final_score(self, rule: DecisionRule) -> float:
        """Return the score of the image: the classifier's, or that of the map where there is no classifier.

        Raises:
            ValueError: neither a classifier's score nor a map, or values that are not numbers.
        """
        if self.score is None:
            if self.probability_map is None:
                raise ValueError("expected a score or a probability map, got neither")
            return image_score(self.probability_map, rule.score_top_fraction)
        # a maximum is not a number when any value is not
        maxima = [one.max() for one in (self.probability_map, self.ai_map) if one is not None]
        if not np.isfinite([self.score, *maxima]).all():
            raise ValueError(NOT_NUMBERS)
        return self.score


def mask_notes(rule: DecisionRule, heads: Collection[str], verdict: Verdict, marked: bool) -> Iterator[str]:
    """Say what a reader may miss in the masks of a report, or misread.

    Args:
        rule: what the verdict rests on.
        heads: masks that a model with a classifier has, of "manipulation" and "ai".
        verdict: of the report.
        marked: whether a pixel is marked in any mask.

    Yields:
        Sentences.
    """
    if rule.score_reduction is not None and not heads:
        yield "This checkpoint has no mask head: no pixel is marked."
    elif rule.score_reduction is not None and "manipulation" not in heads:
        yield "This checkpoint has no head for altered pixels: the mask shows the AI-made ones."
    if marked and verdict != "forged":
        yield "Pixels are marked, but the score is too low to call the image forged."
        if "manipulation" in heads:
            yield "The score tells AI-made pixels; pixels that were copied or pasted are marked without raising it."
    if heads and not marked and verdict == "forged":
        yield "The score calls the image forged, but no pixel is marked."


def each_or_error(
    examine: Callable[[list[Image.Image]], Sequence[Result]], photos: list[Image.Image]
) -> list[Result | Exception]:
    """Examine photographs together; when that fails, one by one, so that one does not take the others with it.

    Args:
        examine: gives one result a photograph.
        photos: PIL images.

    Returns:
        One result or error a photograph.
    """
    try:
        return list(examine(photos)) if photos else []
    except (RuntimeError, MemoryError, ValueError) as error:
        if len(photos) == 1:
            return [error]
        return [one for photo in photos for one in each_or_error(examine, [photo])]


def failure(path: str | None, photo: Image.Image, error: Exception) -> Failure:
    """Say that a model failed on a photograph."""
    return Failure(path, f"{path or 'image'}: the model failed on {photo.width} x {photo.height} pixels ({error})")
