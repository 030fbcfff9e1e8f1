"""Mask losses of LEGION (Eq. 4), with the normalisation of the published code."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F

# Added to the number of masks in the published code.
COUNT_EPSILON = 1e-8


def dice_loss(logits: torch.Tensor, masks: torch.Tensor, scale: float = 1000.0, eps: float = 1e-6) -> torch.Tensor:
    """Dice loss of each mask.

    Args:
        logits: (n, H, W) float.
        masks: (n, H, W) float, 1 = artifact.
        scale: Divides probabilities and targets, so that sums over large masks stay small.
        eps: Added to numerator and denominator.

    Returns:
        (n,), 0 for a perfect mask, towards 1 for a disjoint one.
    """
    probabilities, targets = logits.sigmoid().flatten(1), masks.flatten(1)
    overlap = 2 * (probabilities / scale * targets).sum(dim=1)
    total = (probabilities / scale).sum(dim=1) + (targets / scale).sum(dim=1)
    return 1 - (overlap + eps) / (total + eps)


def phrase_mask_losses(
    logits: Sequence[torch.Tensor], masks: Sequence[torch.Tensor], scale: float = 1000.0, eps: float = 1e-6
) -> tuple[torch.Tensor, torch.Tensor]:
    """Binary cross-entropy and Dice loss of a batch: means over all its masks, whichever image they belong to.

    Args:
        logits: One tensor (n_i, H_i, W_i) an image, at the size of its masks.
        masks: One tensor (n_i, H_i, W_i) an image, 1 = artifact; of any dtype.
        scale: See `dice_loss`.
        eps: See `dice_loss`.

    Returns:
        Two scalars, float32 (float64 for float64 logits); the cross-entropy of a mask is the mean over its pixels.
        0 where there is no mask.

    Raises:
        ValueError: If the shapes differ.
    """
    cross_entropy = dice = torch.zeros((), device=logits[0].device if logits else None)
    count = 0
    for one, given in zip(logits, masks, strict=True):
        if one.shape != given.shape:
            raise ValueError(f"expected masks of shape {tuple(one.shape)}, got {tuple(given.shape)}")
        precise = one.to(torch.promote_types(one.dtype, torch.float32))
        target = given.to(precise)
        pixels = F.binary_cross_entropy_with_logits(precise, target, reduction="none").flatten(1)
        cross_entropy = cross_entropy + pixels.mean(dim=1).sum()
        dice = dice + dice_loss(precise, target, scale, eps).sum()
        count += len(one)
    return cross_entropy / (count + COUNT_EPSILON), dice / (count + COUNT_EPSILON)


__all__ = ["dice_loss", "phrase_mask_losses"]
