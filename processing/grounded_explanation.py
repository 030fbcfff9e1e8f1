"""What LEGION found in one image: its answer, the masks of its phrases, and the verdict."""

import math
from dataclasses import dataclass, field

import numpy as np
import torch

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
        fake_probability: 0..1, that the image is fake; it does not depend on the artifacts. None where not asked.
        problems: what is wrong with the answer, see `parse_grounded_text`.
    """

    text: str
    phrases: list[GroundedArtifact]
    mask: np.ndarray = field(repr=False)
    fake_probability: float | None = None
    problems: list[str] = field(default_factory=list)


def ground(
    text: str, mask_logits: torch.Tensor, threshold: float = 0.5, fake_probability: float | None = None
) -> GroundedExplanation:
    """Read an answer and give each phrase its mask.

    Args:
        text: what the model wrote, with tags.
        mask_logits: (n, H, W), the mask of each `[SEG]` before the sigmoid.
        threshold: probability above which a pixel is an artifact; the published code's logit of 0 is 0.5.
        fake_probability: handed on.

    Raises:
        ValueError: a threshold outside 0..1, or another number of masks than of `[SEG]`.
    """
    if not 0 < threshold < 1:
        raise ValueError(f"expected a threshold between 0 and 1, got {threshold}")
    read = parse_grounded_text(text)
    segs = sum(one.seg_index is not None for one in read.phrases)
    if segs != len(mask_logits):
        raise ValueError(f"expected a mask for each of the {segs} [SEG] of the answer, got {len(mask_logits)}")
    logits = mask_logits.detach().float().cpu()
    masks = logits > math.log(threshold / (1 - threshold))
    pixels = masks.sum(dim=(1, 2))
    scores = ((logits.sigmoid() * masks).sum(dim=(1, 2)) / pixels.clamp(min=1)).tolist()
    arrays = masks.to(torch.uint8).numpy()
    artifacts = [
        GroundedArtifact(one.phrase, one.explanation, np.zeros(logits.shape[1:], np.uint8))
        if one.seg_index is None
        else GroundedArtifact(one.phrase, one.explanation, arrays[one.seg_index], scores[one.seg_index])
        for one in read.phrases
    ]
    union = masks.any(dim=0).to(torch.uint8).numpy()
    return GroundedExplanation(read.text, artifacts, union, fake_probability, read.problems)


__all__ = ["GroundedArtifact", "GroundedExplanation", "ground"]
