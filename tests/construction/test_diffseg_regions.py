import numpy as np
import pytest

from forgescope.construction.diffseg.regions import (
    NamedObject,
    Region,
    choose_regions,
    distinct_regions,
    grown_region,
    mask_iou,
    sized_regions,
)


def region(mask, score=0.5, person=False, name="thing") -> Region:
    return Region(NamedObject(name, person), (0.0, 0.0, 1.0, 1.0), score, np.asarray(mask, dtype=bool))


def blocks(seed: int, count: int) -> list[Region]:
    """Rectangles of which many overlap a lot."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        mask = np.zeros((24, 30), dtype=bool)
        top, left = rng.integers(0, 6, 2)
        mask[top : top + rng.integers(8, 18), left : left + rng.integers(8, 24)] = True
        found.append(region(mask, float(rng.random())))
    return found


def slow_iou(first, second) -> float:
    both = either = 0
    for one, other in zip(first.ravel().tolist(), second.ravel().tolist(), strict=True):
        both += one and other
        either += one or other
    return both / either if either else 0.0


def test_iou_against_a_count():
    found = blocks(0, 12)
    for one in found:
        for other in found:
            assert mask_iou(one.mask, other.mask) == slow_iou(one.mask, other.mask)
    empty = np.zeros((3, 3), dtype=bool)
    assert mask_iou(empty, empty) == 0.0


@pytest.mark.parametrize("seed", range(5))
def test_distinct_regions_against_brute_force(seed):
    found = blocks(seed, 20)
    kept = distinct_regions(found, 0.7)
    expected = []
    for candidate in sorted(found, key=lambda one: one.score, reverse=True):
        if not any(slow_iou(candidate.mask, other.mask) > 0.7 for other in expected):
            expected.append(candidate)
    assert [id(one) for one in kept] == [id(one) for one in expected]
    assert 1 < len(kept) < len(found)


def test_the_bound_itself_is_kept():
    first, second = np.zeros((1, 10)), np.zeros((1, 10))
    first[0, :10] = 1
    second[0, :7] = 1
    assert len(distinct_regions([region(first), region(second)], 0.7)) == 2
    assert len(distinct_regions([region(first), region(second)], 0.69)) == 1


def test_areas():
    shares = [0.0, 0.01, 0.25, 0.8, 0.9]
    found = []
    for share in shares:
        mask = np.zeros(100)
        mask[: round(100 * share)] = 1
        found.append(region(mask.reshape(10, 10)))
    assert [one.area for one in found] == pytest.approx(shares)
    assert [one.area for one in sized_regions(found, 0.01, 0.8)] == pytest.approx([0.01, 0.25, 0.8])
    assert [one.area for one in sized_regions(found, 0.0, 1.0)] == pytest.approx(shares[1:])


def test_regions_grow():
    mask = np.zeros((11, 11))
    mask[5, 5] = 1
    assert grown_region(region(mask), 0).mask.sum() == 1
    grown = grown_region(region(mask), 3).mask
    assert grown[2:9, 5].all()
    assert grown[5, 2:9].all()
    assert not grown[:2].any()
    assert not grown[2, 2]


def test_people_and_large_things_come_first():
    areas, people = (0.04, 0.16, 0.36), (True, False, False)
    found = []
    for area, person in zip(areas, people, strict=True):
        mask = np.zeros(100)
        mask[: round(100 * area)] = 1
        found.append(region(mask, person=person))
    draws = [choose_regions(found, 1, 3.0, 0.5, np.random.default_rng(seed))[0] for seed in range(6000)]
    shares = [sum(one is other for one in draws) / 6000 for other in found]
    # 3 x 0.2, 0.4 and 0.6
    assert shares == pytest.approx([0.375, 0.25, 0.375], abs=0.02)


def test_none_is_chosen_twice():
    found = blocks(1, 5)
    chosen = choose_regions(found, 3, 2.0, 0.5, np.random.default_rng(0))
    assert len({id(one) for one in chosen}) == 3
    assert len(choose_regions(found[:2], 3, 2.0, 0.5, np.random.default_rng(0))) == 2
