"""K-means on features whose groups are known, quotas against giving out one by one, draws against their definition."""

import sys
from collections import Counter
from itertools import product

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from forgescope.construction.synthscars_clusters import (
    cluster_features,
    draw_samples,
    equal_quotas,
    number_by_size,
)
from forgescope.construction.synthscars_settings import CurationSettings


def groups(sizes, spread=0.05, width=16, seed=0):
    """Features around one random direction a group, in mixed order, and their groups."""
    rng = np.random.default_rng(seed)
    truth = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    centres = rng.normal(size=(len(sizes), width))
    return (centres[truth] + spread * rng.normal(size=(len(truth), width))).astype(np.float32), truth


def quotas_one_by_one(sizes, samples):
    quotas = [0] * len(sizes)
    given = 0
    while given < min(samples, sum(sizes)):
        for cluster, size in enumerate(sizes):
            if quotas[cluster] < size and given < samples:
                quotas[cluster] += 1
                given += 1
    return quotas


@pytest.mark.parametrize("normalize", [True, False])
def test_groups_are_found_and_numbered_by_size(normalize):
    values, truth = groups((60, 35, 20, 4))
    labels = cluster_features(values, 4, seed=1, normalize=normalize)
    # the group with most images has number 0 here too
    assert np.array_equal(labels, truth)
    assert labels.dtype == np.int64


def test_length_counts_only_without_normalizing():
    values, truth = groups((30, 30), spread=0.01)
    lengths = np.random.default_rng(1).choice([1.0, 40.0], size=(60, 1))
    longer = (values * lengths).astype(np.float32)
    assert adjusted_rand_score(cluster_features(longer, 2), truth) == 1
    assert adjusted_rand_score(cluster_features(longer, 2, normalize=False), truth) < 0.9


def test_clusters_depend_on_the_seed_alone():
    values = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
    first = cluster_features(values, 12, seed=3, restarts=1)
    assert np.array_equal(first, cluster_features(values, 12, seed=3, restarts=1))
    assert not np.array_equal(first, cluster_features(values, 12, seed=4, restarts=1))


def test_few_and_equal_images():
    assert cluster_features(np.zeros((0, 0), np.float32), 3).tolist() == []
    assert cluster_features(np.ones((1, 4), np.float32), 3).tolist() == [0]
    # two different rows give two clusters whatever was asked for, and a row of zeros does no harm
    same = np.zeros((7, 4), np.float32)
    same[2:] = 1
    assert cluster_features(same, 5).tolist() == [1, 1, 0, 0, 0, 0, 0]


def test_numbers_go_by_size_then_by_first_image():
    labels = np.array([7, 3, 3, 9, 9, 5, 7, 9])
    assert number_by_size(labels).tolist() == [1, 2, 2, 0, 0, 3, 1, 0]


def test_quotas_equal_those_given_one_by_one():
    for sizes in product(range(5), repeat=4):
        for samples in range(1, 19):
            assert equal_quotas(sizes, samples) == quotas_one_by_one(sizes, samples)
    rng = np.random.default_rng(0)
    for _ in range(50):
        sizes = rng.integers(0, 60, int(rng.integers(1, 20))).tolist()
        samples = int(rng.integers(1, 800))
        assert equal_quotas(sizes, samples) == quotas_one_by_one(sizes, samples)


def test_quotas_that_can_be_checked_by_hand():
    assert equal_quotas([100, 50, 3], 30) == [14, 13, 3]
    assert equal_quotas([10, 10, 10], 7) == [3, 2, 2]
    assert equal_quotas([5, 1], 100) == [5, 1]
    assert equal_quotas([], 4) == []


def test_every_cluster_gives_its_quota():
    _, labels = groups((40, 25, 9, 2))
    drawn = draw_samples(labels, 31, seed=5)
    assert drawn.dtype == bool
    assert np.bincount(labels[drawn]).tolist() == equal_quotas([40, 25, 9, 2], 31) == [10, 10, 9, 2]


def test_a_larger_draw_holds_the_smaller_one():
    _, labels = groups((40, 25, 9, 2))
    before = np.zeros(len(labels), dtype=bool)
    for samples in range(1, 80):
        drawn = draw_samples(labels, samples, seed=5)
        assert drawn.sum() == min(samples, 76)
        assert (drawn | ~before).all()
        before = drawn


def test_within_a_cluster_every_image_is_as_likely():
    labels = np.array([0] * 6 + [1] * 4)
    counts = np.sum([draw_samples(labels, 4, seed) for seed in range(3000)], axis=0)
    # two of six, two of four; four standard deviations of 3000 draws
    expected = np.array([1000] * 6 + [1500] * 4)
    assert np.abs(counts - expected).max() < 4 * np.sqrt(3000 * 0.25)
    pairs = Counter(tuple(np.flatnonzero(draw_samples(labels, 4, seed)[:6])) for seed in range(3000))
    assert len(pairs) == 15
    assert min(pairs.values()) > 130


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"samples": 0}, "samples must be at least 1, got 0"),
        ({"samples": 3, "clusters": 0}, "clusters must be at least 1, got 0"),
        ({"samples": 3, "seed": -1}, "seed must be 0 to 4294967295, got -1"),
    ],
)
def test_settings_that_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        CurationSettings(**values)


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.cluster", None)
    with pytest.raises(ImportError, match=r'clustering needs scikit-learn: pip install "forgescope\[curate\]"'):
        cluster_features(np.ones((3, 2), np.float32), 2)
