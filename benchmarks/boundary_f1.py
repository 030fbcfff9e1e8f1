"""Speed of the boundary F1: dilation by a disk against the Euclidean distance transform, which count alike.

    python benchmarks/boundary_f1.py [--sizes 512 1024] [--seconds 2]

One thread. Each row is milliseconds an image of eight classes, best of repeated calls; the last column is everything
that an evaluation counts of a class map, with the default tolerance of 2 pixels.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from forgescope.evaluation import boundary
from forgescope.evaluation.class_maps import ClassRule, measure_class_map

EDITORS = 8
SHAPES = 16
# pixels: the default, 0.75 % of the diagonal of 512 x 512, and where the two methods meet
TOLERANCES = (2.0, 5.43, 12.0, 24.0)


def class_map(size: int, seed: int) -> np.ndarray:
    """Ellipses of every class, one over another."""
    random, ids = np.random.default_rng(seed), np.zeros((size, size), np.uint8)
    for number in range(SHAPES):
        axes = random.integers(size // 25, size // 5, 2).tolist()
        centre = random.integers(0, size, 2).tolist()
        cv2.ellipse(ids, centre, axes, float(random.uniform(0, 180)), 0, 360, 1 + number % EDITORS, -1)
    return ids


def milliseconds(function: Callable[[], Any], seconds: float) -> float:
    """Time of the fastest of as many calls as fit."""
    function()
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - start)
    return best * 1000


def main() -> None:
    """Print one line a size and tolerance."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 1024])
    parser.add_argument("--seconds", type=float, default=2.0)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    default = boundary.LARGEST_DISK
    rule = ClassRule(("authentic", *(f"editor {number}" for number in range(EDITORS))))
    print(f"{'size':>6}{'tolerance':>11}{'dilation':>10}{'distance':>10}{'all counts':>12}")
    for size in arguments.sizes:
        target = class_map(size, 0)
        prediction = np.roll(target, (1, 2), axis=(0, 1))
        every = milliseconds(lambda: measure_class_map(prediction, target, rule), arguments.seconds)  # noqa: B023
        for pixels in TOLERANCES:
            times, counts = [], []
            for largest in (pixels, -1.0):
                boundary.LARGEST_DISK = largest
                call = lambda: boundary.boundary_counts(prediction, target, EDITORS + 1, boundary.Tolerance(pixels))  # noqa: B023, E731
                times.append(milliseconds(call, arguments.seconds))
                counts.append(call())
            boundary.LARGEST_DISK = default
            if not np.array_equal(*counts):
                raise SystemExit("the two methods differ")
            print(f"{size:>6}{pixels:>9.2f}px{times[0]:>10.2f}{times[1]:>10.2f}{every:>12.2f}")


if __name__ == "__main__":
    main()
