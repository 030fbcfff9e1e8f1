"""Alignment: known maps are found again, crops are the largest, hopeless pairs are refused with their numbers."""

import io
import itertools

import cv2
import numpy as np
import pytest
from PIL import Image

from forgescope.construction.promptforge.align import (
    Alignment,
    AlignmentConfig,
    Rejection,
    RejectReason,
    align,
    change_of_size,
    largest_common_crop,
    least_squares_affine,
    match_keypoints,
    warp_and_crop,
)


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    """A scene with corners and textures at all scales: (480, 640, 3)."""
    rng = np.random.default_rng(3)
    image = np.full((480, 640, 3), 128, np.uint8)
    for _ in range(250):
        x, y, size = int(rng.integers(640)), int(rng.integers(480)), int(rng.integers(6, 60))
        colour = tuple(int(value) for value in rng.integers(0, 256, 3))
        if rng.random() < 0.5:
            cv2.rectangle(image, (x, y), (x + size, y + size // 2), colour, -1)
        else:
            cv2.circle(image, (x, y), size // 2, colour, -1)
    return cv2.GaussianBlur(image, (0, 0), 0.8)


def warped(image: np.ndarray, affine: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return cv2.warpAffine(image, affine, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer).convert("RGB"))


def largest_error(found: np.ndarray, true: np.ndarray, width: int, height: int) -> float:
    corners = np.array([[0, 0], [width - 1, 0], [0, height - 1], [width - 1, height - 1]], float)
    return float(np.linalg.norm(corners @ (found - true)[:, :2].T + (found - true)[:, 2], axis=1).max())


# 10 % crop shown at full size again, 6 % smaller, sheared, moved by less than a pixel
MAPS = {
    "crop": np.array([[1 / 0.9, 0, -32 / 0.9], [0, 1 / 0.9, -24 / 0.9]]),
    "scale": np.array([[0.94, 0, 12.5], [0, 0.94, 7.25]]),
    "shear": np.array([[1, 0.03, -4.0], [0.01, 1, 2.0]]),
    "shift": np.array([[1, 0, 2.4], [0, 1, -1.6]]),
}


@pytest.mark.parametrize("quality", [None, 60])
@pytest.mark.parametrize("name", MAPS)
def test_known_maps_are_recovered_within_half_a_pixel(photo, name, quality):
    edited = warped(photo, MAPS[name], (640, 480))
    if quality:
        edited = jpeg(edited, quality)
    found = align(photo, edited)
    assert isinstance(found, Alignment)
    assert largest_error(found.affine, MAPS[name], 640, 480) < 0.5
    assert found.inlier_ratio > 0.6
    assert found.num_matches == len(found.inliers) > 100
    assert 0 < found.reprojection_error < 1.5


def test_an_unmoved_image_keeps_every_pixel(photo):
    edited = photo.copy()
    edited[100:220, 200:330] = 255 - edited[100:220, 200:330]
    found = align(photo, edited)
    assert isinstance(found, Alignment)
    np.testing.assert_array_equal(found.affine, [[1, 0, 0], [0, 1, 0]])
    assert found.crop == (0, 0, 640, 480)
    original, same = warp_and_crop(photo, edited, found)
    np.testing.assert_array_equal(original, photo)
    np.testing.assert_array_equal(same, edited)


def test_a_larger_edited_image_is_a_change_of_size(photo):
    edited = cv2.resize(photo, (960, 720), interpolation=cv2.INTER_CUBIC)
    found = align(photo, edited)
    assert isinstance(found, Alignment)
    np.testing.assert_allclose(found.affine, change_of_size((480, 640), (720, 960)))
    # the outermost half pixel of a larger image lies outside the centres of the smaller one
    assert found.crop == (1, 1, 959, 719)


def test_the_literal_form_has_no_still_map(photo):
    found = align(photo, jpeg(photo, 60), AlignmentConfig(still_error=0, refine=False))
    assert isinstance(found, Alignment)
    assert not np.array_equal(found.affine, [[1, 0, 0], [0, 1, 0]])
    assert largest_error(found.affine, np.array([[1.0, 0, 0], [0, 1, 0]]), 640, 480) < 0.5


def test_refinement_follows_the_points(photo):
    edited = jpeg(warped(photo, MAPS["crop"], (640, 480)), 60)
    errors = []
    for refine in (False, True):
        found = align(photo, edited, AlignmentConfig(refine=refine))
        assert isinstance(found, Alignment)
        errors.append(largest_error(found.affine, MAPS["crop"], 640, 480))
    assert errors[1] < 0.1 < errors[0]


def test_warping_brings_the_original_into_the_edited_frame(photo):
    edited = warped(photo, MAPS["crop"], (640, 480))
    found = align(photo, edited)
    assert isinstance(found, Alignment)
    original, same = warp_and_crop(photo, edited, found)
    left, top, right, bottom = found.crop
    assert original.shape == same.shape == (bottom - top, right - left, 3)
    assert np.abs(original.astype(int) - same).mean() < 2
    assert np.abs(photo.astype(int) - edited).mean() > 10


def test_shrinking_does_not_alias(photo):
    rng = np.random.default_rng(0)
    large = np.repeat(np.repeat(photo, 4, axis=0), 4, axis=1)
    large = np.clip(large + rng.normal(0, 40, large.shape), 0, 255).astype(np.uint8)
    affine = change_of_size((1920, 2560), (480, 640))
    alignment = Alignment(affine, (0, 0, 640, 480), (10, 10), 10, np.ones(10, bool), 0.0)
    original, _ = warp_and_crop(large, photo, alignment)
    assert np.abs(original.astype(int) - photo).mean() < 10  # 32 without averaging


def test_grey_equals_colour(photo):
    grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
    edited = warped(photo, MAPS["shear"], (640, 480))
    found, from_grey = align(photo, edited), align(grey, edited)
    assert isinstance(found, Alignment)
    assert isinstance(from_grey, Alignment)
    np.testing.assert_array_equal(found.affine, from_grey.affine)


def test_too_few_keypoints(photo):
    flat = np.full_like(photo, 200)
    found = align(flat, photo)
    assert isinstance(found, Rejection)
    assert found.reason is RejectReason.KEYPOINTS
    assert found.num_keypoints[0] == 0
    assert found.num_keypoints[1] > 500


@pytest.mark.parametrize("size", [(1, 1), (2, 2000), (31, 400)])
def test_tiny_images_are_refused(photo, size):
    tiny = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    found = align(tiny, photo)
    assert isinstance(found, Rejection)
    assert found.reason is RejectReason.KEYPOINTS
    assert found.num_keypoints[0] == 0


def test_too_few_matches(photo):
    found = align(photo, photo, AlignmentConfig(min_matches=5000))
    assert isinstance(found, Rejection)
    assert found.reason is RejectReason.MATCHES
    assert 500 < found.num_matches <= 1000


def test_unrelated_images_are_refused(photo):
    rng = np.random.default_rng(9)
    other = cv2.GaussianBlur(rng.integers(0, 256, (480, 640, 3)).astype(np.uint8), (0, 0), 2)
    found = align(photo, cv2.normalize(other, None, 0, 255, cv2.NORM_MINMAX))
    assert isinstance(found, Rejection)
    assert found.reason in (RejectReason.MATCHES, RejectReason.INLIERS)
    assert found.inlier_ratio < 0.6


def test_a_mirrored_image_is_refused(photo):
    found = align(photo, np.ascontiguousarray(photo[:, ::-1]))
    assert isinstance(found, Rejection)


def test_at_most_the_wanted_keypoints(photo):
    points, edited_points, counts = match_keypoints(photo, photo, AlignmentConfig(keypoints=300))
    assert max(counts) <= 300
    np.testing.assert_array_equal(points, edited_points)
    assert points.shape == (len(points), 2)


def test_least_squares_equals_the_normal_equations():
    rng = np.random.default_rng(1)
    points, edited = rng.normal(size=(30, 2)) * 100, rng.normal(size=(30, 2)) * 100
    affine, error = least_squares_affine(points, edited)
    design = np.column_stack([points, np.ones(30)])
    expected = np.linalg.solve(design.T @ design, design.T @ edited).T
    np.testing.assert_allclose(affine, expected, atol=1e-9)
    assert error == pytest.approx(np.sqrt(((design @ expected.T - edited) ** 2).sum(1).mean()))


@pytest.mark.parametrize(
    "affine",
    [
        [[1, 0, 5], [0, 1, -3]],
        [[0.8, 0.1, 2], [-0.1, 0.9, 4]],
        [[0.7, -0.5, 12], [0.5, 0.7, 2]],
        [[1.3, 0.2, -9], [0.0, 1.1, -2]],
    ],
)
def test_the_crop_is_the_largest_of_all(affine):
    affine = np.array(affine, float)
    height, width = 22, 30
    left, top, right, bottom = largest_common_crop(affine, (height, width), (height, width))
    inverse = cv2.invertAffineTransform(affine)
    rows, columns = np.mgrid[:height, :width]
    sources = np.stack([columns, rows], axis=-1) @ inverse[:, :2].T + inverse[:, 2]
    filled = ((sources >= -1e-6) & (sources <= np.array([width - 1, height - 1]) + 1e-6)).all(axis=-1)
    assert filled[top:bottom, left:right].all()
    best = max(
        (x1 - x0) * (y1 - y0)
        for x0, x1 in itertools.combinations(range(width + 1), 2)
        for y0, y1 in itertools.combinations(range(height + 1), 2)
        if filled[y0, x0] and filled[y0, x1 - 1] and filled[y1 - 1, x0] and filled[y1 - 1, x1 - 1]
    )
    # the search is over real sides; whole pixels cost it at most a row and a column
    assert (right - left) * (bottom - top) >= best - (height + width)


def test_no_common_window():
    assert largest_common_crop(np.array([[1.0, 0, 500], [0, 1, 0]]), (50, 60), (50, 60)) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"keypoints": 0}, "at least 1"),
        ({"min_matches": 2}, "at least 3, got 2"),
        ({"match_ratio": 1.5}, r"got 1.5 and 0.6"),
        ({"min_inlier_ratio": -0.1}, r"got 0.75 and -0.1"),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        AlignmentConfig(**settings)


def test_paper_values():
    config = AlignmentConfig()
    assert (config.keypoints, config.match_ratio) == (1000, 0.75)
    assert (config.min_keypoints, config.min_matches, config.min_inlier_ratio) == (10, 10, 0.6)
