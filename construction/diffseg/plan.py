"""What is drawn before anything is looked at: number of edits, and type, editor and seeds of each."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from .settings import EDIT_TYPES, EditSettings

# Last number of the seeds of an item's two streams: one for its plan, one for the choice among the regions found.
PLAN_STREAM, REGION_STREAM = 0, 1


@dataclasses.dataclass(frozen=True)
class PlannedTurn:
    """One edit.

    Args:
        edit_type: one of `EDIT_TYPES`.
        editor: name of the editor.
        seed: of the editor's noise.
        removal_seed: of the noise that removes what was there, in an addition.
    """

    edit_type: str
    editor: str
    seed: int
    removal_seed: int


def draw_plan(settings: EditSettings, editors: Sequence[str], index: int) -> list[PlannedTurn]:
    """Draw the edits of one item; they depend on the seed and the item's index alone.

    The number of edits follows `turn_weights`; edit types and editors are drawn uniformly (section 3.1, items 3 to 5).

    Args:
        settings: seed and weights.
        editors: names to draw from, in a fixed order.
        index: number of the item.
    """
    rng = np.random.default_rng([settings.seed, index, PLAN_STREAM])
    weights = np.array(settings.turn_weights, dtype=float)
    turns = 1 + int(rng.choice(len(weights), p=weights / weights.sum()))
    return [
        PlannedTurn(
            EDIT_TYPES[int(rng.integers(len(EDIT_TYPES)))],
            editors[int(rng.integers(len(editors)))],
            int(rng.integers(2**32)),
            int(rng.integers(2**32)),
        )
        for _ in range(turns)
    ]


def region_generator(settings: EditSettings, index: int) -> np.random.Generator:
    """Source of the choice among an item's regions."""
    return np.random.default_rng([settings.seed, index, REGION_STREAM])


__all__ = ["PlannedTurn", "draw_plan", "region_generator"]
