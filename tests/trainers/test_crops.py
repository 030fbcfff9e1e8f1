import numpy as np
import pytest
from PIL import Image
from torchvision.transforms.v2 import functional as tvF

from forgescope.trainers.crops import central_corner, crop, enlarge, random_corner


def noise(width, height):
    return Image.fromarray(np.random.default_rng(0).integers(1, 256, (height, width, 3), dtype=np.uint8))


def mask_of(image):
    return Image.fromarray((np.asarray(image)[..., 0] > 127).astype(np.uint8) * 255)


@pytest.mark.parametrize("size", [(33, 32), (32, 32), (47, 64), (100, 81)])
@pytest.mark.parametrize("padding", [0, 1, 5])
def test_the_central_window_is_that_of_torchvision_on_the_padded_image(size, padding):
    image = noise(*size)
    expected = tvF.center_crop(tvF.pad(image, [padding] * 4), [32, 32])
    window, _ = crop(image, {}, central_corner(image, 32, padding), 32)
    assert np.array_equal(window, expected)


def test_random_windows_reach_every_place_of_the_padded_image():
    image = noise(35, 33)
    padded = tvF.pad(image, [1, 1, 1, 1])
    generator = np.random.default_rng(1)
    corners = {random_corner(image, 32, 1, generator) for _ in range(400)}
    assert corners == {(left, top) for left in range(-1, 5) for top in range(-1, 3)}
    for left, top in corners:
        window, _ = crop(image, {}, (left, top), 32)
        assert np.array_equal(window, tvF.crop(padded, top + 1, left + 1, 32, 32))


def test_labels_are_those_of_the_window_and_255_beyond_the_image():
    image = noise(40, 36)
    mask = mask_of(image)
    given = np.asarray(mask) > 0
    window, labels = crop(image, {"drawn": mask, "nothing": None}, (-1, 5), 32)
    assert window.size == (32, 32)
    expected = np.full((32, 32), 255, np.uint8)
    expected[:31, 1:] = given[5:36, :31]
    assert np.array_equal(labels["drawn"], expected)
    assert np.array_equal(labels["nothing"], np.where(expected == 255, 255, 0))
    assert np.array_equal(np.asarray(window)[:31, 1:], np.asarray(image)[5:36, :31])
    assert not np.asarray(window)[31].any()


def test_small_images_are_enlarged_with_their_masks():
    image = noise(48, 32)
    larger, masks = enlarge(image, {"drawn": mask_of(image)}, 64)
    assert larger.size == masks["drawn"].size == (96, 64)
    assert np.array_equal(masks["drawn"], np.asarray(mask_of(image)).repeat(2, axis=0).repeat(2, axis=1))
    assert np.abs(np.asarray(larger, dtype=int).mean() - np.asarray(image, dtype=int).mean()) < 2
    assert enlarge(image, {}, 32)[0] is image


def test_a_thin_strip_lies_inside_its_window():
    strip = noise(200, 3)
    generator = np.random.default_rng(2)
    for _ in range(20):
        _, labels = crop(strip, {"nothing": None}, random_corner(strip, 32, 1, generator), 32)
        assert (labels["nothing"] != 255).any(axis=1).sum() == 3
