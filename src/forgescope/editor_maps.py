"""Which editor made which pixel: the maps of a model with several classes, and what a report says of them."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

# Values that are upsampled at a time, over all classes: 8 million are 32 MB.
VALUES_AT_A_TIME = 8_000_000
SMALLEST_SHOWN = 0.01


def class_maps(logits: torch.Tensor, grid: tuple[int, int], size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Upsample the logits of several classes a few rows at a time, equal to one bilinear upsampling of the whole.

    Args:
        logits: (C, h, w) float32 on the CPU, C at least 2; class 0 is authentic.
        grid: height and width that the logits cover, pixels.
        size: height and width wanted, at most the grid; what lies beyond is padding.

    Returns:
        (height, width) float32, 0..1: probability of a pixel to be edited, by whichever editor; and (height, width)
        uint8: class of the likeliest editor, 1 to C - 1, also where the pixel is more likely authentic.
    """
    classes, rows, _ = logits.shape
    height, width = size
    probabilities, editors = np.empty(size, np.float32), np.empty(size, np.uint8)
    place = ((torch.arange(height) + 0.5) * (rows / grid[0]) - 0.5).clamp(min=0)
    upper = place.long()
    lower = (upper + 1).clamp(max=rows - 1)
    step = max(VALUES_AT_A_TIME // (classes * grid[1]), 1)
    for start in range(0, height, step):
        part = slice(start, min(start + step, height))
        first, last = int(upper[part][0]), int(lower[part][-1])
        wide = F.interpolate(
            logits[None, :, first : last + 1], size=(last + 1 - first, grid[1]), mode="bilinear", align_corners=False
        )[0, :, :, :width]
        weight = (place[part] - upper[part])[:, None]
        strip = torch.lerp(wide[:, upper[part] - first], wide[:, lower[part] - first], weight)
        probabilities[part] = 1 - strip.softmax(dim=0)[0].numpy()
        editors[part] = strip[1:].argmax(dim=0).numpy() + 1
    return probabilities, editors


def editor_shares(mask: np.ndarray, editor_map: np.ndarray, editors: Sequence[str]) -> dict[str, float]:
    """Compute each editor's share of the marked pixels.

    Args:
        mask: (H, W), 1 = marked.
        editor_map: (H, W) ids, 1 for the first editor.
        editors: names.

    Returns:
        Shares that add up to 1, largest first, without editors that have none; nothing for an empty mask.
    """
    counts = np.bincount(editor_map[mask > 0], minlength=len(editors) + 1)
    return {editors[one - 1]: float(counts[one] / counts.sum()) for one in editor_ids(mask, editor_map)}


def editor_ids(mask: np.ndarray, editor_map: np.ndarray) -> list[int]:
    """List the ids of the editors of the marked pixels, in the order of `editor_shares`."""
    counts = np.bincount(editor_map[mask > 0])
    return [int(one) for one in np.argsort(-counts, kind="stable") if counts[one]]


def share_text(share: float) -> str:
    """Write a share that is not zero, such as `83%` or `<1%`."""
    return f"{share:.0%}" if share >= SMALLEST_SHOWN else f"<{SMALLEST_SHOWN:.0%}"


def shares_text(attribution: dict[str, float]) -> str:
    """Write the shares of editors, such as `sdxl 83%, flux.1 17%`."""
    return ", ".join(f"{name} {share_text(share)}" for name, share in attribution.items())
