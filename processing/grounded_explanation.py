"""What LEGION found in one image: its answer, the masks of its phrases, and the verdict."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F

from .grounded_text import parse_grounded_text


@dataclass(eq=False)
class GroundedArtifact:
    """One artifact: where it is, what is wrong with it, and its pixels.

    Args:
        phrase: where it is; empty where the model marked a region without naming it.
        explanation: what is wrong there; may be empty.
        mask: (H, W) uint8 at the size of the image, 1 = artifact; all 0 where the model named a phrase without mask.
        score: mean probability of the mask's pixels, 0 for an empty one; None without mask. Not given in the paper.
    """

    phrase: str
    explanation: str
    mask: np.ndarray = field(repr=False)
    score: float | None = None


@dataclass(eq=False)
class GroundedExplanation:
    """What the model says of an image.

    Args:
        text: the answer without tags.
        phrases: the artifacts in the order of the answer.
        mask: (H, W) uint8, 1 = artifact: all masks in one, which the paper evaluates.
        probability_map: (H, W) float32, 0..1: each pixel's highest probability to belong to an artifact.
        fake_probability: 0..1, that the image is fake; it does not depend on the artifacts. None where not asked.
        problems: what is wrong with the answer, see `parse_grounded_text`.
    """

    text: str
    phrases: list[GroundedArtifact]
    mask: np.ndarray = field(repr=False)
    probability_map: np.ndarray = field(repr=False)
    fake_probability: float | None = None
    problems: list[str] = field(default_factory=list)


def ground(
    text: str,
    mask_logits: torch.Tensor,
    threshold: float = 0.5,
    fake_probability: float | None = None,
    size: Sequence[int] | None = None,
) -> GroundedExplanation:
    """Read an answer and give each phrase its mask.

    The logits of one phrase at a time are held at the size of the image: 200 MB at 50 megapixels.

    Args:
        text: what the model wrote, with tags.
        mask_logits: (n, h, w), the mask of each `[SEG]` before the sigmoid.
        threshold: probability above which a pixel is an artifact; the published code's logit of 0 is 0.5.
        fake_probability: handed on.
        size: height and width of the image, to which the logits are resized; None: they have them.

    Raises:
        ValueError: a threshold outside 0..1, or another number of masks than of `[SEG]`.
    """
    if not 0 < threshold < 1:
        raise ValueError(f"expected a threshold between 0 and 1, got {threshold}")
    read = parse_grounded_text(text)
    segs = sum(one.seg_index is not None for one in read.phrases)
    if segs != len(mask_logits):
        raise ValueError(f"expected a mask for each of the {segs} [SEG] of the answer, got {len(mask_logits)}")
    height, width = mask_logits.shape[1:] if size is None else (int(side) for side in size)
    highest = mask_logits.new_full((height, width), -math.inf, dtype=torch.float32)
    found = []
    for low in mask_logits.detach().float():
        logits = low if size is None else _resized(low, height, width)
        torch.maximum(highest, logits, out=highest)
        found.append(_mask_and_score(logits.cpu(), math.log(threshold / (1 - threshold))))
    artifacts = [
        GroundedArtifact(one.phrase, one.explanation, np.zeros((height, width), np.uint8))
        if one.seg_index is None
        else GroundedArtifact(one.phrase, one.explanation, *found[one.seg_index])
        for one in read.phrases
    ]
    union = np.zeros((height, width), np.uint8)
    for mask, _ in found:
        np.maximum(union, mask, out=union)
    probabilities = highest.sigmoid_().cpu().numpy()
    return GroundedExplanation(read.text, artifacts, union, probabilities, fake_probability, read.problems)


def _resized(logits: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Logits (h, w) as `resize_masks` of the model resizes them: (height, width)."""
    return F.interpolate(logits[None, None], (height, width), mode="bilinear", align_corners=False)[0, 0]


def _mask_and_score(logits: torch.Tensor, limit: float) -> tuple[np.ndarray, float]:
    """Pixels above a logit, (H, W) uint8, and the mean probability of these."""
    mask = logits > limit
    inside = logits.sigmoid().mul_(mask).sum()
    return mask.view(torch.uint8).numpy(), (inside / mask.count_nonzero().clamp(min=1)).item()


__all__ = ["GroundedArtifact", "GroundedExplanation", "ground"]
