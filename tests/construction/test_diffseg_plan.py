from collections import Counter

import pytest

from forgescope.construction.diffseg.plan import draw_plan
from forgescope.construction.diffseg.settings import EDIT_TYPES, EditSettings

EDITORS = EditSettings().id2editor
ITEMS = 10_000
# quantile 0.999 of the chi-square distribution for 2 and 7 degrees of freedom
CHI_SQUARE = {2: 13.82, 7: 24.32}


@pytest.fixture(scope="module")
def plans():
    return [draw_plan(EditSettings(), EDITORS, index) for index in range(ITEMS)]


def assert_fits(counts: Counter, expected: dict) -> None:
    total = sum(counts.values())
    assert set(counts) == set(expected)
    statistic = sum((counts[key] - total * share) ** 2 / (total * share) for key, share in expected.items())
    assert statistic < CHI_SQUARE[len(expected) - 1]


def test_one_two_and_three_edits_stand_as_1_to_4_to_5(plans):
    assert_fits(Counter(map(len, plans)), {1: 0.1, 2: 0.4, 3: 0.5})


def test_edit_types_are_uniform(plans):
    assert_fits(Counter(turn.edit_type for plan in plans for turn in plan), dict.fromkeys(EDIT_TYPES, 1 / 3))


@pytest.mark.parametrize("place", range(3))
def test_editors_are_uniform_in_every_turn(plans, place):
    assert_fits(Counter(plan[place].editor for plan in plans if len(plan) > place), dict.fromkeys(EDITORS, 1 / 8))


def test_seeds_differ(plans):
    seeds = [seed for plan in plans for turn in plan for seed in (turn.seed, turn.removal_seed)]
    assert len(set(seeds)) > len(seeds) - 20  # a few of 48,000 numbers of 32 bits may meet
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_a_plan_depends_on_seed_and_index_alone(plans):
    assert draw_plan(EditSettings(keep_background=False), EDITORS, 77) == plans[77]
    others = [draw_plan(EditSettings(seed=1), EDITORS, index) for index in range(50)]
    assert others != plans[:50]


def test_other_weights():
    settings = EditSettings(turn_weights=(0, 1))
    assert {len(draw_plan(settings, ("a",), index)) for index in range(50)} == {2}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"turn_weights": ()}, "turn_weights must be numbers of 0 or more, not all 0"),
        ({"turn_weights": (1, -1)}, "turn_weights"),
        ({"turn_weights": (0, 0)}, "turn_weights"),
        ({"image_size": 0}, "image_size must be at least 1, got 0"),
        ({"tries": 0}, "tries must be at least 1"),
        ({"min_area": 0.5, "max_area": 0.4}, "0 <= min_area < max_area <= 1"),
        ({"max_iou": 1.1}, "max_iou"),
        ({"person_weight": 0}, "person_weight must be above 0"),
        ({"area_exponent": -1}, "area_exponent"),
        ({"seed": -1}, "seed and mask_dilation must be at least 0"),
        ({"id2editor": ("a", "a")}, "id2editor must hold 1 to 255 different names"),
        ({"id2editor": ()}, "id2editor"),
    ],
)
def test_bad_settings(change, message):
    with pytest.raises(ValueError, match=message):
        EditSettings(**change)
