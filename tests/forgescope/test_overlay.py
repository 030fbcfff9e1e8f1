"""AI-made pixels in an overlay: hatched and outlined inside, readable at any size, red and blue at once."""

import numpy as np
import pytest
from PIL import Image

from forgescope.overlay import draw_overlay

BLUE, WHITE, RED = [0, 114, 255], [255, 255, 255], [255, 32, 32]
GREY = Image.new("RGB", (200, 100), (100, 100, 100))
# 60 % of blue and 40 % of the grey
HATCHED = [40, 108, 193]


@pytest.fixture
def nothing():
    return np.zeros((100, 200), np.uint8)


def test_a_whole_picture_has_a_frame_and_can_still_be_seen(nothing):
    drawn = np.asarray(draw_overlay(GREY, nothing, nothing + 1))
    for edge in (drawn[0], drawn[1], drawn[-1], drawn[:, 0], drawn[:, 1], drawn[:, -1]):
        assert np.mean(np.all(edge == BLUE, axis=-1)) == 1
    assert drawn[2, 50].tolist() == WHITE
    inside = drawn[3:-3, 3:-3].reshape(-1, 3)
    untouched = np.all(inside == [100, 100, 100], axis=-1)
    hatched = np.abs(inside.astype(int) - HATCHED).max(axis=-1) <= 1
    assert (untouched | hatched).all()
    assert hatched.mean() == pytest.approx(1 / 12, abs=0.005)


def test_a_part_is_outlined_on_its_inside(nothing):
    nothing[20:60, 50:120] = 1
    drawn = np.asarray(draw_overlay(GREY, np.zeros_like(nothing), nothing))
    assert drawn[[20, 21, 22], 80].tolist() == [BLUE, BLUE, WHITE]
    assert drawn[40, [50, 51, 52]].tolist() == [BLUE, BLUE, WHITE]
    outside = drawn[nothing == 0]
    assert (outside == 100).all()
    assert not (drawn[nothing == 1] == 100).all()


def test_one_region_in_both_masks_has_a_red_and_a_blue_line(nothing):
    nothing[20:60, 50:120] = 1
    drawn = np.asarray(draw_overlay(GREY, nothing, nothing))
    assert drawn[17:23, 80].tolist() == [[100] * 3, WHITE, RED, BLUE, BLUE, WHITE]
    # not hatched: red as without AI-made pixels
    assert drawn[40, 81].tolist() == np.asarray(draw_overlay(GREY, nothing))[40, 81].tolist() == [154, 65, 65]


def test_lines_and_hatching_grow_with_the_picture(nothing):
    large = GREY.resize((2000, 1000))
    drawn = np.asarray(draw_overlay(large, np.zeros((1000, 2000), np.uint8), np.ones((1000, 2000), np.uint8)))
    assert drawn[:12, 500].tolist() == [BLUE] * 8 + [WHITE] * 4
    along = np.abs(drawn[500, 500:1460].astype(int) - HATCHED).max(axis=-1) <= 1
    assert along.sum() == 80
    assert np.diff(np.flatnonzero(np.diff(along.astype(int)) == 1)).tolist() == [48] * 19


def test_bands_leave_no_seams():
    generator = np.random.default_rng(1)
    photo = Image.fromarray(generator.integers(0, 256, (1100, 40, 3), dtype=np.uint8))
    made = np.zeros((1100, 40), np.uint8)
    made[100:1000, 5:30] = 1
    drawn = np.asarray(draw_overlay(photo, np.zeros_like(made), made)).astype(int)
    # the hatching repeats every 12 rows, also across the border of two bands at 100 + 512
    changed = np.any(drawn != np.asarray(photo), axis=-1)[110:990, 10:25]
    np.testing.assert_array_equal(changed[12:], changed[:-12])


def test_empty_masks_and_wrong_sizes(nothing):
    np.testing.assert_array_equal(draw_overlay(GREY, nothing, nothing), GREY)
    np.testing.assert_array_equal(draw_overlay(GREY, nothing, None), GREY)
    with pytest.raises(ValueError, match="expected a photograph of 100 x 200, got 200 x 100"):
        draw_overlay(GREY, nothing, nothing.T)
