import math

import numpy as np
import pytest

from forgescope.evaluation.boundary import (
    LARGEST_DISK,
    Tolerance,
    boundary_counts,
    boundary_f1,
    boundary_pixels,
    parse_tolerance,
    pixels_within,
)


def brute_boundary(mask):
    """Pixels of a region with one of four neighbours outside it; beyond the frame is outside."""
    height, width = mask.shape
    found = []
    for y, x in zip(*np.nonzero(mask), strict=True):
        around = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
        if any(not (0 <= v < height and 0 <= u < width) or not mask[v, u] for v, u in around):
            found.append((int(y), int(x)))
    return found


def brute_counts(prediction, target, num_classes, tolerance):
    counts = np.zeros((num_classes, 4), dtype=np.int64)
    for one in range(1, num_classes):
        found, wanted = brute_boundary(prediction == one), brute_boundary(target == one)
        sides = ((found, wanted), (wanted, found))
        near = [sum(any(math.dist(a, b) <= tolerance for b in other) for a in own) for own, other in sides]
        counts[one] = len(found), near[0], len(wanted), near[1]
    return counts


def random_maps(seed, size=(18, 23), classes=4):
    """Two maps of rectangles that partly agree."""
    random = np.random.default_rng(seed)
    target = np.zeros(size, np.uint8)
    for _ in range(5):
        y, x = random.integers(0, size[0]), random.integers(0, size[1])
        target[y : y + random.integers(1, 9), x : x + random.integers(1, 9)] = random.integers(0, classes)
    prediction = np.roll(target, random.integers(-2, 3, 2), axis=(0, 1))
    noise = random.random(size) < 0.03
    prediction[noise] = random.integers(0, classes, noise.sum())
    return prediction, target


@pytest.mark.parametrize("tolerance", [0, 1, 1.5, 2, 2.5, 5.43, LARGEST_DISK + 0.5, 40])
def test_counts_equal_a_search_over_all_pairs_of_pixels(tolerance):
    for seed in range(4):
        prediction, target = random_maps(seed)
        counts = boundary_counts(prediction, target, 4, Tolerance(tolerance))
        np.testing.assert_array_equal(counts, brute_counts(prediction, target, 4, tolerance))


def test_disk_and_distance_transform_mark_the_same_pixels():
    marked = np.zeros((60, 70), np.uint8)
    marked[20, 30] = marked[50, 5] = 1
    rows, columns = np.mgrid[:60, :70]
    for distance in (1, 2, 3.7, LARGEST_DISK, LARGEST_DISK + 0.1, LARGEST_DISK + 3, 26):
        expected = np.zeros(marked.shape, bool)
        for y, x in ((20, 30), (50, 5)):
            expected |= np.hypot(rows - y, columns - x) <= distance
        np.testing.assert_array_equal(pixels_within(marked, distance), expected)


def square(left, size=(40, 60), side=10):
    ids = np.zeros(size, np.uint8)
    ids[15 : 15 + side, left : left + side] = 1
    return ids


@pytest.mark.parametrize(
    ("shift", "tolerance", "hits"),
    [
        (0, 0, 36),
        (1, 0, 18),  # upper and lower edges lie on one another but for the pixel at each end
        (1, 1, 36),
        (2, 1, 20),  # upper and lower edges but for a pixel each, and the two pixels next to them on the left edge
        (2, 2, 36),
        (20, 2, 0),
    ],
)
def test_a_shifted_square_by_hand(shift, tolerance, hits):
    counts = boundary_counts(square(20 + shift), square(20), 2, Tolerance(tolerance))[1]
    assert (counts[0], counts[2]) == (36, 36)
    assert counts[1] == counts[3]
    assert counts[1] == hits
    assert boundary_f1(counts) == pytest.approx(hits / 36)


def test_precision_and_recall_are_weighed_as_a_harmonic_mean():
    target = square(20)
    prediction = target.copy()
    prediction[2:4, 2:4] = 1  # 4 more boundary pixels, far from any true one
    counts = boundary_counts(prediction, target, 2)[1]
    assert counts.tolist() == [40, 36, 36, 36]
    assert boundary_f1(counts) == pytest.approx(2 * 0.9 / 1.9)


@pytest.mark.parametrize("seed", range(3))
def test_identical_maps_have_a_score_of_one_at_every_tolerance(seed):
    _, target = random_maps(seed)
    for tolerance in (0, 2, 30):
        values = boundary_f1(boundary_counts(target, target, 4, Tolerance(tolerance)))
        there = [one in target for one in range(1, 4)]
        np.testing.assert_array_equal(values[1:], np.where(there, 1, np.nan))


def test_empty_masks():
    empty, full = np.zeros((12, 9), np.uint8), np.ones((12, 9), np.uint8)
    assert np.isnan(boundary_f1(boundary_counts(empty, empty, 2))).all()
    assert boundary_f1(boundary_counts(full, empty, 2)[1]) == 0
    assert boundary_f1(boundary_counts(empty, full, 2)[1]) == 0
    # the frame is the boundary of an image that is edited everywhere
    assert boundary_counts(full, full, 2)[1].tolist() == [38, 38, 38, 38]
    assert np.isnan(boundary_f1(boundary_counts(full, full, 2)[0]))


def test_the_boundary_of_touching_classes_lies_in_both():
    ids = np.zeros((5, 6), np.uint8)
    ids[1:4, 1:3], ids[1:4, 3:5] = 1, 2
    marked = boundary_pixels(ids)
    for one in (1, 2):
        expected = np.zeros(ids.shape, bool)
        expected[tuple(np.array(brute_boundary(ids == one)).T)] = True
        np.testing.assert_array_equal(marked & (ids == one), expected)


def test_ignored_pixels_belong_to_no_class():
    target, prediction = square(20), square(20)
    prediction[0:3, 0:3] = 1
    target[0:5, 0:5] = 255
    assert boundary_f1(boundary_counts(prediction, target, 2)[1]) == 1


def test_a_share_of_the_diagonal_grows_with_the_image():
    tolerance = parse_tolerance("0.75%")
    assert tolerance == Tolerance(0.0075, "diagonal")
    assert tolerance.pixels((512, 512)) == pytest.approx(5.43, abs=1e-3)
    assert tolerance.pixels((30, 40)) == pytest.approx(0.375)
    large, small = np.kron(square(20), np.ones((8, 8), np.uint8)), square(20)
    shifted = np.roll(large, 3, axis=1)
    assert boundary_f1(boundary_counts(shifted, large, 2, tolerance)[1]) == 1
    assert boundary_f1(boundary_counts(np.roll(small, 3, axis=1), small, 2, tolerance)[1]) < 0.7


@pytest.mark.parametrize(
    ("text", "tolerance", "name"), [("2", 2, "2px"), ("2px", 2, "2px"), ("1.5px", 1.5, "1.5px"), ("0", 0, "0px")]
)
def test_tolerances_are_read_and_named(text, tolerance, name):
    assert parse_tolerance(text) == Tolerance(tolerance)
    assert str(parse_tolerance(text)) == name
    assert str(parse_tolerance("0.75%")) == "0.75%"


@pytest.mark.parametrize("text", ["two", "-1", "nan", "inf", "101%", "", "2 %px"])
def test_other_tolerances_are_refused(text):
    with pytest.raises(ValueError, match="expected a boundary tolerance such as 2px or 0.75%, got"):
        parse_tolerance(text)


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match="the unit of a tolerance must be pixels or diagonal, got 'metres'"):
        Tolerance(2, "metres")
    with pytest.raises(ValueError, match="expected two class maps .H, W. of one size, got .12, 9. and .9, 12."):
        boundary_counts(np.zeros((12, 9), np.uint8), np.zeros((9, 12), np.uint8), 2)
    with pytest.raises(ValueError, match="expected two class maps"):
        boundary_counts(np.zeros((0, 9), np.uint8), np.zeros((0, 9), np.uint8), 2)
