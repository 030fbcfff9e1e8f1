import cv2
import numpy as np
import pytest

from forgescope.construction.masks import draw_area, draw_mask, ellipse_mask, largest_component, object_mask

KINDS = ("object", "polygon", "brush", "blob", "border")


@pytest.mark.parametrize("kind", KINDS)
def test_share_stays_within_bounds(photo, kind):
    image = np.asarray(photo)
    for seed in range(12):
        mask, _ = draw_mask(image, kind, (0.02, 0.3), np.random.default_rng(seed))
        assert mask.shape == (240, 320)
        assert mask.dtype == np.uint8
        assert set(np.unique(mask)) == {0, 1}
        assert 0.02 <= mask.mean() <= 0.3


@pytest.mark.parametrize("kind", KINDS)
def test_narrow_bounds_are_kept(photo, kind):
    mask, _ = draw_mask(np.asarray(photo), kind, (0.1, 0.11), np.random.default_rng(0))
    assert 0.1 <= mask.mean() <= 0.11


def test_object_mask_finds_the_thing_that_stands_out():
    image = np.random.default_rng(0).normal(90, 5, (200, 200, 3)).clip(0, 255).astype(np.uint8)
    disc = np.zeros((200, 200), np.uint8)
    cv2.circle(disc, (110, 90), 30, 1, -1)
    image[disc == 1] = (220, 60, 40)
    overlaps = []
    for seed in range(20):
        mask = object_mask(image, (0.02, 0.2), np.random.default_rng(seed))
        if mask is not None:
            overlaps.append((mask & disc).sum() / (mask | disc).sum())
    assert len(overlaps) >= 10
    assert np.median(overlaps) > 0.85


def test_object_falls_back_to_blob_on_a_flat_picture():
    mask, kind = draw_mask(np.full((120, 160, 3), 128, np.uint8), "object", (0.02, 0.3), np.random.default_rng(0))
    assert kind in ("blob", "object")
    assert 0.02 <= mask.mean() <= 0.3


def test_small_areas_are_typical():
    rng = np.random.default_rng(0)
    areas = np.array([draw_area((0.01, 0.35), rng) for _ in range(2000)])
    assert areas.min() >= 0.01
    assert areas.max() <= 0.35
    assert abs(np.median(areas) - np.sqrt(0.01 * 0.35)) < 0.01


def test_ellipse_has_the_wanted_share():
    assert abs(ellipse_mask((200, 300), 0.1).mean() - 0.1) < 0.005


def test_largest_component_drops_islands_and_fills_holes():
    mask = np.zeros((20, 20), np.uint8)
    mask[2:12, 2:12] = 1
    mask[5:7, 5:7] = 0
    mask[16:18, 16:18] = 1
    cleaned = largest_component(mask)
    assert cleaned.sum() == 100
    assert cleaned[16, 16] == 0


def test_unknown_kind_is_refused(photo):
    with pytest.raises(ValueError, match="unknown mask kind 'star'"):
        draw_mask(np.asarray(photo), "star", (0.1, 0.2), np.random.default_rng(0))
