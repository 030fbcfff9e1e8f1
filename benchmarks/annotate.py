"""Time of annotating a pair by stage, ours and the straightforward form, side by side in one run.

    python benchmarks/annotate.py [--side 1024] [--pairs 6] [--repeats 3]

The straightforward form reads both files one after the other, aligns at full size as the paper describes, finds the
crop by taking rows and columns away until no border is left, and compares 1,024-dimensional features cell by cell in
a loop. Ours: the same alignment with refinement, closed-form crop, one vectorised comparison. The feature network is
left out of both.
"""

import argparse
import io
import time
from collections.abc import Callable

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from forgescope.construction.promptforge.align import (
    Alignment,
    AlignmentConfig,
    align,
    largest_common_crop,
    warp_and_crop,
)
from forgescope.construction.promptforge.backbones import cell_cosine
from forgescope.construction.promptforge.descriptors import classical_similarity
from forgescope.construction.promptforge.semantic import edit_mask

FEATURES = 1024  # DINOv3 Large
PATCH = 16
# Size of the published corpus, section 4.1.
PAPER_PAIRS = 354_258


def make_pair(side: int, seed: int) -> tuple[bytes, bytes]:
    """JPEG bytes of a synthetic scene and of the same, cropped by a few pixels and edited."""
    random = np.random.default_rng(seed)
    image = cv2.GaussianBlur(random.integers(0, 256, (side, side, 3)).astype(np.uint8), (0, 0), 2)
    image = cv2.normalize(image, None, 0, 255, cv2.NORM_MINMAX)
    for _ in range(400):
        x, y, size = (int(value) for value in random.integers(8, (side, side, side // 8)))
        colour = tuple(int(value) for value in random.integers(0, 256, 3))
        cv2.rectangle(image, (x, y), (x + size, y + size // 2), colour, -1)
    affine = np.array([[1.02, 0, -9.0], [0, 1.02, -6.0]])
    edited = cv2.warpAffine(image, affine, (side, side), borderMode=cv2.BORDER_REFLECT)
    cv2.circle(edited, (side // 2, side // 2), side // 8, (250, 30, 30), -1)
    return _jpeg(image), _jpeg(edited)


def greedy_crop(valid: np.ndarray) -> tuple[int, int, int, int]:
    """Take the emptiest side away until every pixel of the window is filled."""
    left, top, right, bottom = 0, 0, valid.shape[1], valid.shape[0]
    while not valid[top:bottom, left:right].all():
        window = valid[top:bottom, left:right]
        shares = (window[:, 0].mean(), window[0].mean(), window[:, -1].mean(), window[-1].mean())
        side = int(np.argmin(shares))
        left, top, right, bottom = (
            left + (side == 0),
            top + (side == 1),
            right - (side == 2),
            bottom - (side == 3),
        )
    return left, top, right, bottom


def loop_similarity(first: torch.Tensor, second: torch.Tensor) -> np.ndarray:
    """Cosine similarity cell by cell: (C, h, w) twice to (h, w)."""
    result = np.zeros(first.shape[1:], np.float32)
    for row in range(result.shape[0]):
        for column in range(result.shape[1]):
            result[row, column] = F.cosine_similarity(first[:, row, column], second[:, row, column], dim=0)
    return result


def stages(pair: tuple[bytes, bytes], features: tuple[torch.Tensor, torch.Tensor]) -> dict[str, tuple[float, float]]:
    """Milliseconds of every stage: straightforward, ours."""
    times: dict[str, tuple[float, float]] = {}
    both, decode = _timed(lambda: [np.asarray(Image.open(io.BytesIO(data)).convert("RGB")) for data in pair])
    times["read"] = (decode, decode)
    found, ours = _timed(lambda: align(*both))
    assert isinstance(found, Alignment)
    _, literal = _timed(lambda: align(*both, AlignmentConfig(refine=False, still_error=0)))
    size = both[1].shape[:2]
    valid, warp_mask = _timed(
        lambda: cv2.warpAffine(np.ones(both[0].shape[:2], np.uint8), found.affine, size[::-1]) > 0
    )
    _, greedy = _timed(lambda: greedy_crop(valid))
    _, closed = _timed(lambda: largest_common_crop(found.affine, both[0].shape[:2], size))
    times["align"] = (literal - closed, ours - closed)
    times["crop"] = (warp_mask + greedy, closed)
    images, warp = _timed(lambda: warp_and_crop(*both, found))
    times["warp"] = (warp, warp)
    _, loop = _timed(lambda: loop_similarity(*features))
    similarity, vectors = _timed(lambda: cell_cosine(features[0][None], features[1][None])[0].numpy())
    times["cosine"] = (loop, vectors)
    _, otsu = _timed(lambda: edit_mask(similarity))
    times["Otsu, mask"] = (otsu, otsu)
    _, classical = _timed(lambda: classical_similarity(*images))
    times["(classical backbone)"] = (classical, classical)
    return times


def main() -> None:
    """Time and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    cells = arguments.side // PATCH
    generator = torch.Generator().manual_seed(0)
    features = tuple(torch.randn(FEATURES, cells, cells, generator=generator) for _ in range(2))
    best: dict[str, np.ndarray] = {}
    for seed in range(arguments.pairs):
        pair = make_pair(arguments.side, seed)
        runs = [stages(pair, features) for _ in range(arguments.repeats)]  # type: ignore[arg-type]
        for stage in runs[0]:
            fastest = np.min([run[stage] for run in runs], axis=0)
            best[stage] = best.get(stage, 0) + fastest / arguments.pairs
    print(f"pairs of {arguments.side} x {arguments.side}, milliseconds a pair, best of {arguments.repeats}")
    print("| stage | straightforward | forgescope | ratio |\n|---|---|---|---|")
    counted = {stage: value for stage, value in best.items() if not stage.startswith("(")}
    total = np.sum(list(counted.values()), axis=0)
    for stage, (plain, ours) in [*best.items(), ("all but the backbone", total)]:
        print(f"| {stage} | {plain:.2f} | {ours:.2f} | {plain / max(ours, 1e-6):.1f} |")
    print(f"pairs a second: {1000 / total[0]:.1f} and {1000 / total[1]:.1f}")
    hours = PAPER_PAIRS * total[1] / 3_600_000
    print(f"{PAPER_PAIRS:,} pairs in one process, without the network: {hours:.1f} hours")


def _timed(function: Callable[[], object]) -> tuple:
    start = time.perf_counter()
    value = function()
    return value, 1000 * (time.perf_counter() - start)


def _jpeg(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


if __name__ == "__main__":
    main()
