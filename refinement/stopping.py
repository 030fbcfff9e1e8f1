"""When refinement ends. The paper gives a number of rounds for each way; the other rules are ours."""

import dataclasses
from collections.abc import Sequence

from .artifacts import union_of
from .records import Step

# Rounds of the experiments: section 5.5.2 and 5.5.1. The published script for regeneration makes one round.
PAPER_INPAINTING_ROUNDS = 3
PAPER_REGENERATION_ROUNDS = 2

CLEAN, ROUNDS, NO_GAIN = "clean", "rounds", "no gain"


@dataclasses.dataclass(frozen=True)
class StopRule:
    """What ends a run; the first that holds.

    Args:
        rounds: new images at most (N of Eq. 5), at least 1.
        largest_clean_area: share of the image, 0..1, that masks may cover in an image that counts as clean; None: an
            image is clean only when the detector names no artifact. Not given in the paper.
        patience: rounds without a better preference score that are borne; None: the score stops nothing. Not given in
            the paper.
    """

    rounds: int
    largest_clean_area: float | None = None
    patience: int | None = None

    def __post_init__(self):
        if self.rounds < 1:
            raise ValueError(f"rounds must be at least 1, got {self.rounds}")
        if self.largest_clean_area is not None and not 0.0 <= self.largest_clean_area <= 1.0:
            raise ValueError(f"largest_clean_area must be between 0 and 1, got {self.largest_clean_area}")
        if self.patience is not None and self.patience < 1:
            raise ValueError(f"patience must be at least 1, got {self.patience}")


def why_stop(rule: StopRule, steps: Sequence[Step]) -> str | None:
    """Why no further image is to be made.

    Returns:
        `clean`, `rounds` or `no gain`; None to go on.
    """
    if not steps:
        return None
    if is_clean(steps[-1], rule.largest_clean_area):
        return CLEAN
    if len(steps) > rule.rounds:
        return ROUNDS
    if rule.patience is not None and len(steps) - 1 - best_step(steps).number >= rule.patience:
        return NO_GAIN
    return None


def is_clean(step: Step, largest_area: float | None = None) -> bool:
    """Whether an image was examined and nothing, or no more than this share of it, 0..1, is marked."""
    if step.artifacts is None:
        return False
    if not step.artifacts or largest_area is None:
        return not step.artifacts
    return float(union_of(step.artifacts, (step.image.height, step.image.width)).mean()) <= largest_area


def best_step(steps: Sequence[Step]) -> Step:
    """The first step with the highest preference score; the last one where there are no scores, as in the paper."""
    if steps[-1].preference is None:
        return steps[-1]
    return max(steps, key=lambda step: float("-inf") if step.preference is None else step.preference)


__all__ = [
    "CLEAN",
    "NO_GAIN",
    "PAPER_INPAINTING_ROUNDS",
    "PAPER_REGENERATION_ROUNDS",
    "ROUNDS",
    "StopRule",
    "best_step",
    "is_clean",
    "why_stop",
]
