"""First and last step of every constructed image, authentic ones included: framing a photograph, and saving it.

Both steps are the same for all kinds, so that nothing but the forgery tells a forged image from an authentic one.
"""

import io

import cv2
import numpy as np
from PIL import Image

from .appearance import encode_jpeg, recompress
from .manipulation_config import Drawn, ManipulationConfig

# A photograph whose shorter side is below this (pixels) holds no region worth forging.
MIN_PHOTO_SIDE = 48
# Fast PNG: level 1 is a third larger than level 6 and four times as quick.
PNG_COMPRESSION = 1


def frame_photo(photo: np.ndarray, config: ManipulationConfig, rng: np.random.Generator) -> tuple[np.ndarray, Drawn]:
    """Cut a random frame out of a photograph, at its own resolution or resampled.

    Args:
        photo: (H, W, 3) uint8 RGB.
        config: sizes and probabilities.
        rng: source of all randomness.

    Returns:
        The frame (h, w, 3) uint8, no side above `config.max_side`, and what was drawn.

    Raises:
        ValueError: for a photograph that is too small.
    """
    height, width = photo.shape[:2]
    if min(height, width) < MIN_PHOTO_SIDE:
        raise ValueError(f"photograph of {width}x{height} pixels is too small: both sides need {MIN_PHOTO_SIDE}")
    longest = config.max_side * rng.uniform(config.min_side_share, 1.0)
    aspect = width / height * (1.0 + rng.uniform(-config.aspect_jitter, config.aspect_jitter))
    frame = np.array([longest / max(aspect, 1.0), longest * min(aspect, 1.0)])
    ratio = _draw_reduction((height, width), frame, config, rng)
    crop = np.minimum(np.rint(frame * ratio), [height, width]).astype(int)
    top, left = (int(rng.integers(0, free + 1)) for free in np.array([height, width]) - crop)
    image = photo[top : top + crop[0], left : left + crop[1]]
    if ratio != 1.0:
        size = np.maximum(np.rint(crop / ratio), 32).astype(int)
        image = cv2.resize(
            image, (int(size[1]), int(size[0])), interpolation=cv2.INTER_AREA if ratio > 1 else cv2.INTER_CUBIC
        )
    drawn: Drawn = {"crop": [top, left, int(crop[0]), int(crop[1])], "reduction": round(ratio, 4)}
    if rng.random() < config.host_jpeg_probability:
        quality, subsampling = draw_compression(config.history_quality, config, rng)
        image = recompress(image, quality, subsampling)
        drawn["history"] = [quality, subsampling]
    return np.ascontiguousarray(image), drawn


def _draw_reduction(
    shape: tuple[int, int], frame: np.ndarray, config: ManipulationConfig, rng: np.random.Generator
) -> float:
    """Draw how many pixels of the photograph become one pixel of the frame (H, W), along each side."""
    largest = float(min(shape / frame))
    smallest = config.min_crop_share * max(shape) / float(max(frame))
    low, high = 1 / config.max_enlargement, max(1.0, largest)
    ratio = max(float(np.exp(rng.uniform(np.log(low), np.log(high)))), smallest)
    if rng.random() < config.intact_probability and smallest <= 1.0:
        ratio = 1.0
    return min(ratio, high)


def finish(
    image: np.ndarray, masks: list[np.ndarray], config: ManipulationConfig, rng: np.random.Generator
) -> tuple[bytes, str, list[np.ndarray], Drawn]:
    """Resize (sometimes) and encode a finished image.

    Returns:
        The file's bytes, its suffix (`.png` or `.jpg`), the masks at the final size, and what was drawn.
    """
    drawn: Drawn = {}
    if rng.random() < config.resize_probability:
        factor = rng.uniform(*config.resize)
        size = tuple(max(32, round(side * factor)) for side in image.shape[1::-1])
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        masks = [
            (cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.5).astype(np.uint8)
            for mask in masks
        ]
        drawn["resize"] = round(factor, 4)
    use_jpeg = rng.random() < {"png": 0.0, "jpeg": 1.0, "mixed": config.jpeg_probability}[config.image_format]
    if not use_jpeg:
        drawn["format"] = "png"
        return encode_png(image), ".png", masks, drawn
    quality, subsampling = draw_compression(config.jpeg_quality, config, rng)
    drawn.update(format="jpeg", quality=quality, subsampling=subsampling)
    return encode_jpeg(image, quality, subsampling), ".jpg", masks, drawn


def draw_compression(
    quality: tuple[int, int], config: ManipulationConfig, rng: np.random.Generator
) -> tuple[int, str]:
    """Draw a JPEG quality and a chroma subsampling."""
    subsampled = rng.random() < config.chroma_subsampling_probability
    return int(rng.integers(quality[0], quality[1] + 1)), "4:2:0" if subsampled else "4:4:4"


def encode_png(image: np.ndarray) -> bytes:
    """Encode (H, W, 3) or (H, W) uint8 as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=PNG_COMPRESSION)
    return buffer.getvalue()
