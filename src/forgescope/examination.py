"""What a model says of one photograph, before it becomes a report."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np

from .decision import NOT_NUMBERS, DecisionRule, Verdict, image_score


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
    """

    probability_map: np.ndarray | None
    ai_map: np.ndarray | None = None
    score: float | None = None
    class_map: np.ndarray | None = None
    editor_map: np.ndarray | None = None

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
