"""Intra-image contrastive loss (PromptForge-350k, section 5.2, Eq. 2)."""

import torch
import torch.nn.functional as F


def region_counts(mask: torch.Tensor, height: int, width: int, ignore_index: int = 255) -> torch.Tensor:
    """Count the forged and the real mask pixels that fall into each cell of a feature grid.

    A mask pixel belongs to the cell that nearest-neighbour upsampling of the grid to the mask's size puts on it.

    Args:
        mask: (B, h, w), any dtype; 1 = forged, 0 = real, `ignore_index` = neither.
        height: Rows of the feature grid.
        width: Columns of the feature grid.
        ignore_index: Value of pixels that count for neither region.

    Returns:
        (B, 2, height * width) float32: forged counts first, then real counts.
    """
    rows = torch.arange(mask.shape[-2], device=mask.device) * height // mask.shape[-2]
    columns = torch.arange(mask.shape[-1], device=mask.device) * width // mask.shape[-1]
    cells = (rows[:, None] * width + columns[None, :]).flatten()  # (h*w,)
    forged = (mask == 1).flatten(1)
    real = ((mask != 1) & (mask != ignore_index)).flatten(1)
    pixels = torch.stack([forged, real], dim=1).to(torch.float32)  # (B, 2, h*w)
    counts = pixels.new_zeros(mask.shape[0], 2, height * width)
    return counts.index_add_(2, cells, pixels)


def weighted_contrastive_loss(
    features: torch.Tensor,
    forged_weight: torch.Tensor,
    real_weight: torch.Tensor,
    temperature: float,
    normalize_negatives: bool = False,
) -> torch.Tensor:
    r"""Evaluate Eq. 2 for vectors that occur several times each.

    .. math::
        L = -\frac{1}{n_f} \sum_i f_i \log \frac{\frac{1}{n_f} \sum_j f_j \exp(s_{ij} / \tau)}
            {\sum_k r_k \exp(s_{ik} / \tau)}

    with cosine similarity s, f and r the multiplicities of a vector in the forged and the real region, and
    n_f the sum of f. With multiplicities of 0 and 1 this is Eq. 2 word for word, the anchor itself included in the
    numerator. Logarithms of sums are used throughout, so no exponential overflows.

    Args:
        features: (N, C), any float dtype; normalised here, in float32 or in float64 where that is given.
        forged_weight: (N,) float, >= 0, how often each vector occurs in the forged region.
        real_weight: (N,) float, >= 0, how often each vector occurs in the real region.
        temperature: Tau, > 0.
        normalize_negatives: Divide the denominator by the number of real vectors as the numerator is by that of the
            forged ones; `False` is the literal Eq. 2.

    Returns:
        Scalar; 0 (with gradient 0) where one of the two regions is empty.
    """
    precise = torch.promote_types(features.dtype, torch.float32)
    features = features.to(precise)
    forged, real = forged_weight > 0, real_weight > 0
    if not bool(forged.any()) or not bool(real.any()):
        return features.sum() * 0.0
    directions = F.normalize(features, dim=-1)
    anchors = directions[forged]
    anchor_weight, negative_weight = forged_weight[forged].to(precise), real_weight[real].to(precise)
    total = anchor_weight.sum()

    positives = anchors @ anchors.T / temperature + anchor_weight.log()  # (n_f, n_f)
    negatives = anchors @ directions[real].T / temperature + negative_weight.log()  # (n_f, n_r)
    log_numerator = positives.logsumexp(dim=1) - total.log()
    log_denominator = negatives.logsumexp(dim=1)
    if normalize_negatives:
        log_denominator = log_denominator - negative_weight.sum().log()
    return -(anchor_weight * (log_numerator - log_denominator)).sum() / total


def sample_region(region: torch.Tensor, limit: int) -> torch.Tensor:
    """Draw at most `limit` of the pixels of one region, without replacement.

    Args:
        region: (P,) bool.
        limit: Largest number of pixels, the "predefined threshold" of section 5.2.

    Returns:
        (min(limit, pixels),) int64 positions.
    """
    positions = region.nonzero().flatten()
    if positions.numel() <= limit:
        return positions
    return positions[torch.randperm(positions.numel(), device=region.device)[:limit]]


def sampled_weights(
    mask: torch.Tensor, height: int, width: int, limit: int, ignore_index: int = 255
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw mask pixels of one image and count them on the feature grid.

    Args:
        mask: (h, w) of one image.
        height: Rows of the feature grid.
        width: Columns of the feature grid.
        limit: Largest number of pixels a region.
        ignore_index: Value of pixels that count for neither region.

    Returns:
        Forged and real multiplicities, (height * width,) float32 each.
    """
    pixels = mask.flatten()
    drawn = torch.full_like(pixels, ignore_index)
    drawn[sample_region(pixels == 1, limit)] = 1
    drawn[sample_region((pixels != 1) & (pixels != ignore_index), limit)] = 0
    counts = region_counts(drawn.view_as(mask)[None], height, width, ignore_index)[0]
    return counts[0], counts[1]


def intra_image_contrastive_loss(
    features: torch.Tensor,
    mask: torch.Tensor,
    temperature: float = 0.1,
    mode: str = "grid",
    max_vectors: int = 1024,
    normalize_negatives: bool = False,
    ignore_index: int = 255,
) -> torch.Tensor:
    """Pull the forged features of an image together and away from its real ones (Eq. 2), averaged over the batch.

    The features of Eq. 2 are the encoder's map upsampled (nearest) to the mask. All pixels of a cell then share one
    vector, so the sums run over cells weighted by their pixel counts: the same value without an (h*w) x (h*w) matrix.

    Args:
        features: (B, C, H, W) fused features of the main and the noise stream.
        mask: (B, h, w) ground truth, 1 = forged, 0 = real, `ignore_index` = padding.
        temperature: Tau of Eq. 2 (its value is not given in the paper).
        mode: "grid" (exact) or "sampled" (at most `max_vectors` mask pixels a region, section 5.2).
        max_vectors: Limit for "sampled"; not given in the paper.
        normalize_negatives: See `weighted_contrastive_loss`.
        ignore_index: Label of pixels that count for neither region.

    Returns:
        Scalar float32 (float64 for float64 features). An image without forged or without real pixels contributes 0.

    Example:
        >>> features = torch.eye(4).reshape(1, 4, 2, 2)  # four orthogonal vectors
        >>> mask = torch.tensor([[[1, 1], [0, 0]]])
        >>> round(intra_image_contrastive_loss(features, mask, temperature=1.0).item(), 4)
        0.073
    """
    batch, _, height, width = features.shape
    vectors = features.flatten(2).transpose(1, 2)  # (B, H*W, C)
    if mode == "grid":
        counts = region_counts(mask, height, width, ignore_index)
        weights = [(counts[index, 0], counts[index, 1]) for index in range(batch)]
    else:
        weights = [sampled_weights(mask[index], height, width, max_vectors, ignore_index) for index in range(batch)]
    losses = [
        weighted_contrastive_loss(vectors[index], forged, real, temperature, normalize_negatives)
        for index, (forged, real) in enumerate(weights)
    ]
    return torch.stack(losses).mean()


__all__ = ["intra_image_contrastive_loss", "region_counts", "weighted_contrastive_loss"]
