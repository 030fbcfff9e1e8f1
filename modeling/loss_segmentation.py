"""Losses for binary masks: focal and Dice (PromptForge-350k, section 5.2), cross-entropy (GAMMA, section 5.1)."""

import torch
import torch.nn.functional as F


def _image_mean(values: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Average (B, h, w) values over the valid pixels of each image, then over the images."""
    pixels = valid.flatten(1).sum(dim=1).clamp(min=1)
    return ((values * valid).flatten(1).sum(dim=1) / pixels).mean()


def _precise(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Logits in the shape of the target, in float32 or in float64 where that is given."""
    return logits.reshape(target.shape).to(torch.promote_types(logits.dtype, torch.float32))


def binary_mask_cross_entropy(logits: torch.Tensor, target: torch.Tensor, ignore_index: int = 255) -> torch.Tensor:
    """Binary cross-entropy of a mask (GAMMA, section 5.1).

    Args:
        logits: (B, h, w) or (B, 1, h, w), before the sigmoid.
        target: (B, h, w), 1 = forged, 0 = authentic, `ignore_index` = does not count.
        ignore_index: Value of pixels that do not count.

    Returns:
        Scalar float32 (float64 for float64 logits): mean over the pixels of an image, then over images. An image
        without a pixel that counts contributes 0.
    """
    logits = _precise(logits, target)
    forged = (target == 1).to(logits.dtype)
    loss = F.binary_cross_entropy_with_logits(logits, forged, reduction="none")
    return _image_mean(loss, target != ignore_index)


def binary_focal_loss(
    logits: torch.Tensor,
    target: torch.Tensor,
    gamma: float = 2.0,
    alpha: float | None = 0.25,
    ignore_index: int = 255,
) -> torch.Tensor:
    r"""Cross-entropy that counts easy pixels less (Lin et al., "Focal Loss for Dense Object Detection", Eq. 5).

    .. math:: FL = -\alpha_t (1 - p_t)^\gamma \log p_t

    Args:
        logits: (B, h, w) or (B, 1, h, w), before the sigmoid.
        target: (B, h, w), 1 = forged, 0 = real, `ignore_index` = does not count.
        gamma: Focusing, >= 0; 0 gives (weighted) cross-entropy. Not given in the PromptForge paper.
        alpha: Weight of forged pixels in [0, 1], real ones get 1 - alpha; `None` weighs both by 1. Not given either.
        ignore_index: Value of pixels that do not count.

    Returns:
        Scalar float32 (float64 for float64 logits): mean over the pixels of an image, then over images.
    """
    logits = _precise(logits, target)
    valid = target != ignore_index
    forged = (target == 1).to(logits.dtype)
    cross_entropy = F.binary_cross_entropy_with_logits(logits, forged, reduction="none")
    probability = logits.sigmoid()
    miss = probability + forged - 2 * probability * forged  # 1 - p_t
    loss = cross_entropy * miss**gamma
    if alpha is not None:
        loss = loss * (alpha * forged + (1 - alpha) * (1 - forged))
    return _image_mean(loss, valid)


def binary_dice_loss(
    logits: torch.Tensor, target: torch.Tensor, smooth: float = 1.0, ignore_index: int = 255
) -> torch.Tensor:
    r"""One minus the Dice coefficient of probabilities and mask (Milletari et al., "V-Net", section 3).

    .. math:: L = 1 - \frac{2 \sum p m + s}{\sum p + \sum m + s}

    Args:
        logits: (B, h, w) or (B, 1, h, w), before the sigmoid.
        target: (B, h, w), 1 = forged, 0 = real, `ignore_index` = does not count.
        smooth: s; keeps the loss of an image without forged pixels finite. Not given in the PromptForge paper.
        ignore_index: Value of pixels that do not count.

    Returns:
        Scalar float32 (float64 for float64 logits), mean over images, in [0, 1].
    """
    valid = target != ignore_index
    probability = (_precise(logits, target).sigmoid() * valid).flatten(1)
    forged = (target == 1).to(probability.dtype).flatten(1)
    overlap = (probability * forged).sum(dim=1)
    dice = (2 * overlap + smooth) / (probability.sum(dim=1) + forged.sum(dim=1) + smooth)
    return (1 - dice).mean()


__all__ = ["binary_dice_loss", "binary_focal_loss", "binary_mask_cross_entropy"]
