"""A detector that needs no weights: it marks the brightest parts of an image and says so.

from bright_regions import bright_regions, noisy_photo
"""

import cv2
import numpy as np
from PIL import Image

from forgescope.refinement.artifacts import Artifact


def bright_regions(image: Image.Image, count: int = 2, share: float = 0.05) -> list[Artifact]:
    """The largest connected parts among the brightest pixels of an image; none in an image of one brightness.

    Args:
        image: PIL RGB.
        count: parts at most.
        share: of the pixels that count as bright, 0..1.
    """
    gray = cv2.GaussianBlur(np.asarray(image.convert("L")), (0, 0), max(1.0, min(image.size) / 40))
    if gray.max() == gray.min():
        return []
    bright = (gray >= np.quantile(gray, 1 - share)).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(bright)
    order = sorted(range(1, len(stats)), key=lambda label: -int(stats[label][cv2.CC_STAT_AREA]))[:count]
    return [
        Artifact("bright part", f"part {place} is overexposed", (labels == label).astype(np.uint8), 0.5)
        for place, label in enumerate(order)
    ]


def noisy_photo(width: int, height: int, seed: int = 0) -> Image.Image:
    """Smooth random colours with noise, mode RGB."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)).resize((width, height))
    noise = rng.integers(-12, 13, (height, width, 3))
    return Image.fromarray(np.clip(np.asarray(coarse, dtype=int) + noise, 0, 255).astype(np.uint8))


__all__ = ["bright_regions", "noisy_photo"]
