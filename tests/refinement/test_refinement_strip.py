import numpy as np
import pytest
from bright_regions import bright_regions, noisy_photo
from PIL import Image

from forgescope.refinement.artifacts import Artifact
from forgescope.refinement.records import Step
from forgescope.refinement.strip import COLORS, draw_strip, outlined


def steps(*sizes, artifacts=()):
    return [Step(number, noisy_photo(*size), artifacts=tuple(artifacts)) for number, size in enumerate(sizes)]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_size_grows_with_the_steps(count):
    strip = draw_strip(steps(*[(60, 40)] * count), cell=100)
    assert (strip.mode, strip.size) == ("RGB", (12 + count * 112, 12 + 67 + 6 + 20 + 12))


def test_captions_make_room():
    photo = noisy_photo(60, 40)
    found = bright_regions(photo, count=2)
    assert len(found) == 2
    assert draw_strip(steps((60, 40), artifacts=found), cell=100).height == 12 + 67 + 6 + 3 * 20 + 12
    many = draw_strip(steps((60, 40), artifacts=found * 5), cell=100)
    assert many.height == 12 + 67 + 6 + 8 * 20 + 12


def test_images_of_any_shape_are_fitted():
    strip = draw_strip(steps((60, 40), (7, 900), (2000, 3), (1, 1)), cell=64)
    assert strip.size == (12 + 4 * 76, 12 + 64 + 6 + 20 + 12)
    assert outlined(steps((7, 900))[0], 64).size == (1, 64)


def test_outlines_run_around_the_masks_and_leave_the_inside():
    photo = Image.new("RGB", (100, 100), (128, 128, 128))
    masks = np.zeros((2, 100, 100), np.uint8)
    masks[0, 20:40, 20:40] = 1
    masks[1, 60:80, 50:90] = 1
    artifacts = tuple(Artifact("hand", "six fingers", mask) for mask in masks)
    drawn = np.asarray(outlined(Step(0, photo, artifacts=artifacts), 100))
    for mask, color in zip(masks, COLORS, strict=False):
        assert (drawn[mask == 1] == 128).all()
        rows, columns = np.nonzero((drawn == color).all(axis=-1))
        tops, lefts = np.nonzero(mask)
        assert (rows.min(), rows.max()) == (tops.min() - 2, tops.max() + 2)
        assert (columns.min(), columns.max()) == (lefts.min() - 2, lefts.max() + 2)
    changed = (drawn != 128).any(axis=-1)
    assert changed.sum() == (26 * 26 - 20 * 20) + (26 * 46 - 20 * 40)


def test_a_region_of_one_pixel_is_seen_in_a_small_picture():
    mask = np.zeros((900, 900), np.uint8)
    mask[450, 450] = 1
    step = Step(0, Image.new("RGB", (900, 900)), artifacts=(Artifact("eye", "blurred", mask),))
    drawn = np.asarray(outlined(step, 100))
    assert (drawn == COLORS[0]).all(axis=-1).sum() == 5 * 5 - 1


def test_long_and_strange_texts_stay_in_their_cell():
    artifact = Artifact("a very long phrase \n" * 20 + "\u624b", "x", np.zeros((40, 60), np.uint8))
    strip = np.asarray(draw_strip([*steps((60, 40), artifacts=[artifact]), *steps((60, 40))], cell=100))
    gap = strip[85:, 112:124]
    assert (gap == 255).all()


def test_scores_and_unexamined_images_are_drawn():
    plain = Step(0, noisy_photo(60, 40), artifacts=())
    drawn = {
        draw_strip([step], cell=200).tobytes()
        for step in (plain, Step(0, plain.image), Step(0, plain.image, artifacts=(), preference=0.3124))
    }
    assert len(drawn) == 3


def test_no_steps():
    with pytest.raises(ValueError, match="no steps to draw"):
        draw_strip([])
