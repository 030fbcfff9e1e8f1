import cv2
import numpy as np
import pytest

from forgescope.construction.appearance import (
    add_noise,
    blend,
    bounding_box,
    change_brightness,
    match_colours,
    place_image,
    place_mask,
    placement_matrix,
    recompress,
    soft_alpha,
)


@pytest.fixture
def square() -> np.ndarray:
    mask = np.zeros((240, 320), np.uint8)
    mask[60:120, 80:160] = 1
    return mask


def test_full_colour_match_takes_the_hosts_statistics(photo, donor, square):
    host = np.asarray(photo)
    layer = change_brightness(np.asarray(donor.resize(photo.size)), 0.6)
    matched = match_colours(layer, host, square, 1.0)

    def mean(image):
        return cv2.cvtColor(image, cv2.COLOR_RGB2LAB)[square == 1].astype(float).mean(0)

    before, after = np.abs(mean(layer) - mean(host)).max(), np.abs(mean(matched) - mean(host)).max()
    assert before > 5
    assert after < 2
    assert np.abs(match_colours(layer, host, square, 0.0).astype(int) - layer).max() <= 6  # rounding of Lab only


def test_whole_pixel_shift_is_an_exact_copy(photo, square):
    image = np.asarray(photo)
    for interpolation in ("linear", "cubic", "lanczos"):
        matrix = placement_matrix((0, 0), (40.4, 30.2), 1.0, 0.0, False)
        mask = place_mask(square, matrix, (240, 320))
        layer = place_image(image, matrix, mask, interpolation)
        assert (mask == np.roll(square, (30, 40), (0, 1))).all()
        assert (layer[mask == 1] == image[square == 1]).all()


def test_scale_changes_the_area_quadratically_and_rotation_keeps_it(square):
    centre = (120.0, 90.0)
    half = place_mask(square, placement_matrix(centre, (160, 120), 0.5, 0, False), (240, 320))
    turned = place_mask(square, placement_matrix(centre, (160, 120), 1.0, 30, True), (240, 320))
    assert abs(half.sum() / square.sum() - 0.25) < 0.02
    assert abs(turned.sum() / square.sum() - 1.0) < 0.02


def test_feathered_edge_stays_at_one_half(square):
    alpha = soft_alpha(square, 2.0)
    assert ((alpha > 0.5) != (square == 1)).sum() <= 16  # the four corners
    assert (soft_alpha(square, 0.0) == square).all()


def test_blend_keeps_the_host_where_the_paste_is_transparent(photo, donor, square):
    host, paste = np.asarray(photo), np.asarray(donor.resize(photo.size))
    alpha = soft_alpha(square, 1.5)
    mixed = blend(host, paste, alpha)
    assert (mixed[alpha == 0] == host[alpha == 0]).all()
    assert (mixed[alpha == 1] == paste[alpha == 1]).all()
    assert (blend(host, paste, np.zeros_like(alpha)) == host).all()


def test_bounding_box_is_cut_at_the_image_border(square):
    rows, columns = bounding_box(square, 100)
    assert (rows.start, rows.stop, columns.start, columns.stop) == (0, 220, 0, 260)


def test_noise_brightness_and_jpeg_have_the_stated_strength(photo):
    grey = np.full((100, 100, 3), 100, np.uint8)
    assert abs(add_noise(grey, 3.0, np.random.default_rng(0)).std() - 3.0) < 0.1
    assert (change_brightness(grey, 1.2) == 120).all()
    image = np.asarray(photo).astype(int)
    errors = [np.abs(recompress(np.asarray(photo), quality, "4:2:0") - image).mean() for quality in (60, 95)]
    assert errors[0] > errors[1] > 0
