"""The `classical` backbone: colour, gradient and texture descriptors, no weights, nothing to download.

It stands in for the semantic features of PromptForge-350k (section 3.2) where none can be had. Two images of one scene
are compared cell by cell: the distance d of two descriptors becomes the similarity c / (c + d). Cosine similarity
would forget how strong a texture is, and call the noise of two flat walls unlike.
"""

from dataclasses import dataclass

import cv2
import numpy as np

DIAGONAL = 0.5**0.5


@dataclass(frozen=True)
class ClassicalConfig:
    """Settings; none of them is in the paper, all were chosen by hand on pairs of originals and edits.

    Args:
        side: both images are reduced to this longest side, in pixels, before anything is computed.
        scales: standard deviations, in reduced pixels, of the windows that descriptors are averaged over. Windows
            smaller than 2 see the pixel noise that editors leave everywhere.
        colour_weight: weight of mean Lab values (0..100).
        gradient_weight: weight of mean absolute slopes of L in four directions.
        texture_weight: weight of the standard deviation of L.
        half_distance: distance that makes the similarity 0.5; the slope at which small changes stop counting.
    """

    side: int = 256
    scales: tuple[float, ...] = (2.0, 4.0)
    colour_weight: float = 0.1
    gradient_weight: float = 1.0
    texture_weight: float = 0.25
    half_distance: float = 3.0


def classical_similarity(
    original: np.ndarray, edited: np.ndarray, config: ClassicalConfig | None = None
) -> np.ndarray:
    """Similarity of two aligned images at every cell.

    Args:
        original: (H, W, 3) RGB uint8.
        edited: the same size.
        config: settings.

    Returns:
        (h, w) float32 in (0, 1], 1 = alike; the longest side has `config.side` cells, or the image's if that is less.
    """
    config = config or ClassicalConfig()
    first, second = (describe(image, config) for image in (original, edited))
    distance = np.sqrt(np.square(first - second).sum(axis=2))
    return config.half_distance / (config.half_distance + distance)


def describe(image: np.ndarray, config: ClassicalConfig) -> np.ndarray:
    """Descriptor of every cell: (h, w, 8 x scales) float32.

    Args:
        image: (H, W, 3) RGB uint8.
        config: settings.
    """
    lab = cv2.cvtColor(_reduce(image, config.side).astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    lightness = lab[..., 0]
    across = cv2.Sobel(lightness, cv2.CV_32F, 1, 0, ksize=3, scale=1 / 8)
    down = cv2.Sobel(lightness, cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8)
    diagonals = (across + down) * DIAGONAL, (across - down) * DIAGONAL
    slopes = np.abs(cv2.merge([across, down, *diagonals]))
    parts = []
    for scale in config.scales:
        # smoothing takes at most four channels at a time
        mean = cv2.GaussianBlur(cv2.merge([lab, lightness * lightness]), (0, 0), scale)
        variance = mean[..., 3] - np.square(mean[..., 0])
        parts += [
            config.colour_weight * mean[..., :3],
            config.gradient_weight * cv2.GaussianBlur(slopes, (0, 0), scale),
            config.texture_weight * np.sqrt(np.maximum(variance, 0))[..., None],
        ]
    return np.concatenate(parts, axis=2)


def _reduce(image: np.ndarray, side: int) -> np.ndarray:
    height, width = image.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


__all__ = ["ClassicalConfig", "classical_similarity", "describe"]
