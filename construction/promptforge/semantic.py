"""From two aligned images to the mask of what was edited (PromptForge-350k, section 3.2, algorithm 2).

A backbone gives the similarity of the two images at every cell; Otsu's threshold on that map divides edited from
untouched. What the paper leaves to do (section 7) is here too: Otsu finds a threshold even where nothing was edited,
so the threshold has an upper bound; and edits of colour alone, which semantic features miss, get a cue of their own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

# Similarity of aligned pairs: two lists of (H, W, 3) RGB uint8 images, pairwise of one size, to one (h, w) float32 map
# a pair, 1 = alike. The size of a map is the backbone's own.
SimilarityModel = Callable[[Sequence[np.ndarray], Sequence[np.ndarray]], list[np.ndarray]]

OTSU_BINS = 256
FLAT = 1e-6  # similarities closer together than this are one value


@dataclass(frozen=True)
class MaskConfig:
    """Settings of the mask.

    Args:
        size: side of the square mask in pixels (section 4.1).
        highest_threshold: Otsu's threshold is not let above this similarity; None leaves it as it is (the paper).
            0.6 belongs to the `classical` backbone: on our pairs the most changed cell lies below 0.15 where something
            was edited and above 0.4 after JPEG, noise, rescaling or a pixel's shift.
        min_share: a mask that covers a smaller share of the image means that nothing was edited; not in the paper.
        colour_cue: whether a change of colour alone counts as an edit too (section 7 asks for such a cue).
        colour_distance: Lab distance (of a and b) at which the colour cue's similarity is 0.5; not in the paper.
    """

    size: int = 128
    highest_threshold: float | None = 0.6
    min_share: float = 0.001
    colour_cue: bool = False
    colour_distance: float = 12.0

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"size must be at least 1 pixel, got {self.size}")
        if not 0 <= self.min_share < 1:
            raise ValueError(f"min_share must lie in [0, 1), got {self.min_share}")
        if self.colour_distance <= 0:
            raise ValueError(f"colour_distance must be above 0, got {self.colour_distance}")


@dataclass(frozen=True)
class EditMask:
    """What was edited.

    Args:
        mask: (size, size) uint8, 1 = edited; all 0 when nothing was.
        similarity: (size, size) float32, the map that was divided.
        threshold: similarity below which a cell is edited.
        otsu_threshold: the same before its upper bound.
        separability: Otsu's criterion, 0..1: share of the map's variance that the division explains.
    """

    mask: np.ndarray
    similarity: np.ndarray
    threshold: float
    otsu_threshold: float
    separability: float

    @property
    def edited_share(self) -> float:
        """Share of the image that was edited, 0..1."""
        return float(self.mask.mean())

    def at_size(self, height: int, width: int) -> np.ndarray:
        """The mask divided anew at another size: (height, width) uint8, borders smooth instead of square cells."""
        if not self.mask.any():
            return np.zeros((height, width), np.uint8)
        similarity = cv2.resize(self.similarity, (width, height), interpolation=cv2.INTER_LINEAR)
        return (similarity < self.threshold).astype(np.uint8)


def edit_mask(similarity: np.ndarray, config: MaskConfig | None = None) -> EditMask:
    """Divide a similarity map.

    Args:
        similarity: (h, w) float, any size; a map of NaN or infinity is an error.
        config: settings.

    Returns:
        The mask; it is empty when nothing lies below the threshold's upper bound.

    Raises:
        ValueError: values that are no numbers.
    """
    config = config or MaskConfig()
    if not np.isfinite(similarity).all():
        raise ValueError("the similarity map holds NaN or infinity: the backbone does not fit this precision")
    shrinks = min(similarity.shape) >= config.size
    similarity = cv2.resize(
        similarity.astype(np.float32),
        (config.size, config.size),
        interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR,
    )
    found, separability = otsu_threshold(similarity)
    threshold = found if config.highest_threshold is None else min(found, config.highest_threshold)
    mask = (similarity < threshold).astype(np.uint8)
    if mask.mean() < config.min_share:
        mask[:] = 0
    return EditMask(mask, similarity, threshold, found, separability)


def otsu_threshold(values: np.ndarray) -> tuple[float, float]:
    """Otsu's threshold of a map, from a histogram of 256 bins between its smallest and its largest value.

    Args:
        values: any shape, finite.

    Returns:
        The upper edge of the last bin of the lower class, so that `values < threshold` is that class; and the share of
        the variance that lies between the classes, 0..1 (0 for a constant map).
    """
    low, high = float(values.min()), float(values.max())
    if high - low < FLAT:
        return low, 0.0
    counts, edges = np.histogram(values, bins=OTSU_BINS)
    centres = (edges[:-1] + edges[1:]) / 2
    weights = counts / counts.sum()
    below = weights.cumsum()
    mean_below = (weights * centres).cumsum()
    mean = mean_below[-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        between = np.nan_to_num((mean * below - mean_below) ** 2 / (below * (1 - below)))
    best = int(between[:-1].argmax())
    variance = float((weights * (centres - mean) ** 2).sum())
    return min(float(edges[best + 1]), high), min(1.0, float(between[best] / variance)) if variance > 0 else 0.0


def colour_similarity(original: np.ndarray, edited: np.ndarray, side: int, half_distance: float) -> np.ndarray:
    """How alike the colours of two aligned images are, whatever their brightness.

    Args:
        original: (H, W, 3) RGB uint8.
        edited: the same size.
        side: both are averaged over this many cells a side.
        half_distance: Lab distance at which the similarity is 0.5.

    Returns:
        (side, side) float32 in (0, 1].
    """
    first, second = (
        cv2.cvtColor(
            cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32) / 255,
            cv2.COLOR_RGB2LAB,
        )[..., 1:]
        for image in (original, edited)
    )
    # an editor's tint of the whole image is no local edit
    shift = np.median((second - first).reshape(-1, 2), axis=0)
    distance = np.linalg.norm(second - first - shift, axis=2)
    distance = cv2.GaussianBlur(distance, (0, 0), 1.0)
    return half_distance / (half_distance + distance)


def annotate_aligned(
    originals: Sequence[np.ndarray],
    edited: Sequence[np.ndarray],
    model: SimilarityModel,
    config: MaskConfig | None = None,
) -> list[EditMask]:
    """Masks of a batch of aligned pairs.

    Args:
        originals: (H, W, 3) RGB uint8 images, warped and cropped.
        edited: the same, pairwise of one size.
        model: the backbone.
        config: settings.

    Returns:
        One mask a pair.
    """
    config = config or MaskConfig()
    masks = []
    for first, second, similarity in zip(originals, edited, model(originals, edited), strict=True):
        if config.colour_cue:
            size = (config.size, config.size)
            cue = colour_similarity(first, second, config.size, config.colour_distance)
            similarity = np.minimum(cv2.resize(similarity, size, interpolation=cv2.INTER_LINEAR), cue)
        masks.append(edit_mask(similarity, config))
    return masks


__all__ = [
    "EditMask",
    "MaskConfig",
    "SimilarityModel",
    "annotate_aligned",
    "colour_similarity",
    "edit_mask",
    "otsu_threshold",
]
