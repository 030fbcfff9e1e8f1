"""Speed of the pixel metrics against the form with products of float masks, side by side in one run.

    python benchmarks/metrics.py [--sizes 512 1024] [--batch 8] [--seconds 2]

One thread. Each row is images a second for binary masks that lie in memory, best of repeated batches.
"""

import argparse
import time
from collections.abc import Callable

import cv2
import numpy as np
import torch

from forgescope.evaluation.counts import confusion_counts
from forgescope.evaluation.histograms import histogram_auc, score_histogram
from forgescope.evaluation.rules import SegmentationRule
from forgescope.evaluation.segmentation import segmentation_metrics

EPSILON = 1e-8
RULE = SegmentationRule(metrics=("precision", "recall", "f1", "iou"))


def float_products(called: torch.Tensor, truth: torch.Tensor) -> float:
    """Mean F1 the naive way: four products of float masks, each summed."""
    tp = (called * truth).sum(dim=(1, 2))
    _ = ((1 - called) * (1 - truth)).sum(dim=(1, 2))
    fp = (called * (1 - truth)).sum(dim=(1, 2))
    fn = ((1 - called) * truth).sum(dim=(1, 2))
    precision, recall = tp / (tp + fp + EPSILON), tp / (tp + fn + EPSILON)
    return float((2 * precision * recall / (precision + recall + EPSILON)).mean())


def sorted_auc(scores: torch.Tensor, truth: torch.Tensor) -> float:
    """Mean pixel AUC the naive way: sort every image."""
    areas = []
    for values, labels in zip(scores.flatten(1), truth.flatten(1), strict=True):
        ordered = labels[torch.argsort(values, descending=True)]
        positives = ordered.sum()
        rates = ordered.cumsum(0) / positives, (1 - ordered).cumsum(0) / (len(ordered) - positives)
        areas.append(float(torch.trapezoid(*rates)))
    return float(np.mean(areas))


def images_per_second(function: Callable[[], float], batch: int, seconds: float) -> tuple[float, float]:
    """Return the value and the rate of the fastest of as many calls as fit into the time."""
    value, best, end = function(), float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        value = function()
        best = min(best, time.perf_counter() - start)
    return value, batch / best


def compare(size: int, batch: int, seconds: float) -> list[tuple[str, float, float]]:
    """Time every way at one size; each entry is its name, its value and images a second."""
    random = np.random.default_rng(0)
    truth = np.zeros((batch, size, size), dtype=bool)
    truth[:, size // 4 : size // 2, size // 4 : size // 2] = True
    scores = np.clip(random.normal(0.35 + 0.3 * truth, 0.15), 0, 1).astype(np.float32)
    called = scores > 0.5
    floats = torch.from_numpy(called).float(), torch.from_numpy(truth).float()
    tensor = torch.from_numpy(scores)
    ways = {
        "F1, products of float masks": lambda: float_products(*floats),
        "F1, precision, recall, IoU, forgescope": lambda: segmentation_metrics(confusion_counts(called, truth), RULE)[
            "f1"
        ],
        "F1 and the others, masks not checked": lambda: segmentation_metrics(
            confusion_counts(called, truth, validate=False), RULE
        )["f1"],
        "AUC, sorted": lambda: sorted_auc(tensor, floats[1]),
        "AUC, histogram, forgescope": lambda: float(
            np.mean([histogram_auc(score_histogram(*pair)) for pair in zip(scores, truth, strict=True)])
        ),
    }
    return [(name, *images_per_second(function, batch, seconds)) for name, function in ways.items()]


def main() -> None:
    """Print one table a size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 1024])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=2.0, help="time for each row")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    for size in options.sizes:
        print(f"\n{size} x {size}, batch {options.batch}, one thread")
        naive = {}
        for name, value, rate in compare(size, options.batch, options.seconds):
            kind = name.split(",")[0]
            naive.setdefault(kind, rate)
            print(f"  {name:45s} value {value:.6f}  {rate:9.0f} images/s  {rate / naive[kind]:6.1f} x")


if __name__ == "__main__":
    main()
