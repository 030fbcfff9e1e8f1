"""Clusters of features, and the same share of images from each (LEGION, section 3.2).

The paper clusters features of a ResNet-50 and draws uniformly from each cluster; it names neither the method nor the
number of clusters. Here it is k-means of scikit-learn.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

# Length below which a vector of features has no direction.
SMALLEST_LENGTH = 1e-8


def cluster_features(
    values: np.ndarray, clusters: int, seed: int = 0, restarts: int = 3, normalize: bool = True
) -> np.ndarray:
    """Cluster images by k-means.

    One thread does it, since several add up in an order of their own and may end elsewhere the next time.

    Args:
        values: (N, D) float32, a row an image.
        clusters: how many; N at most, and fewer come out where fewer rows differ.
        seed: of the first centres.
        restarts: see `CurationSettings`.
        normalize: see `CurationSettings`.

    Returns:
        (N,) int64, the cluster of each image: 0 is the largest, equally large ones go by their first image.

    Raises:
        ImportError: scikit-learn is missing.
    """
    kmeans = load_kmeans()
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    if not len(values):
        return np.zeros(0, dtype=np.int64)
    if normalize:
        values = values / np.linalg.norm(values, axis=1, keepdims=True).clip(SMALLEST_LENGTH)
    model = kmeans(n_clusters=min(clusters, len(values)), n_init=restarts, random_state=seed)
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different rows than clusters
        labels = model.fit_predict(values)
    return number_by_size(labels)


def load_kmeans() -> Any:
    """The class of scikit-learn.

    Raises:
        ImportError: scikit-learn is missing.
    """
    try:
        from sklearn.cluster import KMeans
    except ImportError as error:
        raise ImportError('clustering needs scikit-learn: pip install "forgescope[curate]"') from error
    return KMeans


def number_by_size(labels: np.ndarray) -> np.ndarray:
    """Number clusters anew, without gaps: 0 is the largest, equally large ones go by their first image.

    Args:
        labels: (N,) any whole numbers.
    """
    _, first, inverse, counts = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
    ranks = np.empty(len(counts), dtype=np.int64)
    ranks[np.lexsort((first, -counts))] = np.arange(len(counts))
    return ranks[inverse]


def equal_quotas(sizes: Sequence[int], samples: int) -> list[int]:
    """How many images each cluster gives.

    Images are taken one by one, in turns, in the order of the clusters; a cluster that has no more drops out. So all
    clusters give the same number, but for those that are too small, which give all they have, and for the last turn,
    which the first clusters alone may take part in.

    Args:
        sizes: images of each cluster.
        samples: images to take, all together; more than there are means all.
    """
    quotas = [0] * len(sizes)
    left = min(samples, sum(sizes))
    while left:
        able = [cluster for cluster, size in enumerate(sizes) if quotas[cluster] < size]
        if left < len(able):
            able, turns = able[:left], 1
        else:
            turns = min(left // len(able), *(sizes[cluster] - quotas[cluster] for cluster in able))
        for cluster in able:
            quotas[cluster] += turns
        left -= turns * len(able)
    return quotas


def draw_samples(labels: np.ndarray, samples: int, seed: int = 0) -> np.ndarray:
    """Draw from each cluster its quota, uniformly and without putting back.

    With a larger number of samples the same images are drawn, and more.

    Args:
        labels: (N,) clusters from 0.
        samples: images to draw, all together.
        seed: of the draw; each cluster has a stream of its own.

    Returns:
        (N,) bool, True for images that were drawn.
    """
    drawn = np.zeros(len(labels), dtype=bool)
    for cluster, quota in enumerate(equal_quotas(np.bincount(labels).tolist(), samples)):
        members = np.flatnonzero(labels == cluster)
        drawn[np.random.default_rng([seed, cluster]).permutation(members)[:quota]] = True
    return drawn


__all__ = ["cluster_features", "draw_samples", "equal_quotas", "load_kmeans", "number_by_size"]
