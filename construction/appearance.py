"""What betrays or hides a pasted region: colour matching, JPEG history, noise, blur, soft borders, placement.

Images are (H, W, 3) uint8 RGB, masks (H, W) uint8 with 1 inside.
"""

import io

import cv2
import numpy as np
from PIL import Image

INTERPOLATIONS = {"linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC, "lanczos": cv2.INTER_LANCZOS4}
# Standard deviations below this (in Lab units) are treated as this value: a flat region must not be amplified.
MIN_LAB_DEVIATION = 4.0
# Pixels around a region that are transformed with it: more than the widest soft border reaches.
MATCH_MARGIN = 16
SUBSAMPLING = {"4:4:4": 0, "4:2:0": 2}


def encode_jpeg(image: np.ndarray, quality: int, subsampling: str) -> bytes:
    """Encode as JPEG with Pillow; quality 1..100, subsampling `4:4:4` or `4:2:0`."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling=SUBSAMPLING[subsampling])
    return buffer.getvalue()


def recompress(image: np.ndarray, quality: int, subsampling: str) -> np.ndarray:
    """Give an image a JPEG history: encode and decode."""
    return np.asarray(Image.open(io.BytesIO(encode_jpeg(image, quality, subsampling))).convert("RGB"))


def match_colours(layer: np.ndarray, host: np.ndarray, mask: np.ndarray, strength: float) -> np.ndarray:
    """Move mean and deviation in Lab of a placed region towards those of the pixels it covers.

    Args:
        layer: image that holds the region, already at its place.
        host: image that receives it, of the same size.
        mask: the region.
        strength: 0 = unchanged, 1 = full transfer.

    Returns:
        The layer, changed inside the mask's bounding box (with a margin for soft borders).

    References:
        Reinhard et al., Color Transfer between Images, 2001.
    """
    box = bounding_box(mask, MATCH_MARGIN)
    inside = mask[box] == 1
    if not inside.any():
        return layer
    donor_lab = cv2.cvtColor(layer[box], cv2.COLOR_RGB2LAB).astype(np.float32)
    source = donor_lab[inside]
    target = cv2.cvtColor(host[box], cv2.COLOR_RGB2LAB)[inside].astype(np.float32)
    gain = np.maximum(target.std(0), MIN_LAB_DEVIATION) / np.maximum(source.std(0), MIN_LAB_DEVIATION)
    # A full change of contrast looks wrong on objects; half to twice keeps their shading.
    matched = (donor_lab - source.mean(0)) * np.clip(gain, 0.5, 2.0) + target.mean(0)
    blended = (1.0 - strength) * donor_lab + strength * matched
    matched_layer = layer.copy()
    matched_layer[box] = cv2.cvtColor(np.clip(np.rint(blended), 0, 255).astype(np.uint8), cv2.COLOR_LAB2RGB)
    return matched_layer


def add_noise(image: np.ndarray, deviation: float, rng: np.random.Generator) -> np.ndarray:
    """Add Gaussian noise; deviation in grey levels 0..255."""
    noise = rng.standard_normal(image.shape, dtype=np.float32) * np.float32(deviation)
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


def change_brightness(image: np.ndarray, factor: float) -> np.ndarray:
    """Multiply all values by a factor, clipped to 0..255."""
    return cv2.convertScaleAbs(image, alpha=factor)


def soft_alpha(mask: np.ndarray, feather: float) -> np.ndarray:
    """Opacity (H, W) float32 0..1: the mask itself, or blurred by a Gaussian of `feather` pixels.

    The blur leaves the contour at 0.5, so `alpha > 0.5` is the forged region again (up to sharp corners).
    """
    alpha = mask.astype(np.float32)
    return cv2.GaussianBlur(alpha, (0, 0), feather) if feather > 0 else alpha


def blend(host: np.ndarray, paste: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Paste over host with an opacity; pixels of opacity 0 keep the host's exact values."""
    box = bounding_box((alpha > 0).astype(np.uint8), 0)
    opacity = alpha[box][..., None]
    result = host.copy()
    result[box] = np.rint(host[box] * (1.0 - opacity) + paste[box] * opacity).astype(np.uint8)
    return result


def place_image(image: np.ndarray, matrix: np.ndarray, mask: np.ndarray, interpolation: str) -> np.ndarray:
    """Warp an image by a 2x3 matrix (source to canvas) onto the canvas of a placed mask.

    Only the mask's bounding box, with a margin for soft borders, is filled; the rest of the canvas is 0.
    """
    box = bounding_box(mask, MATCH_MARGIN)
    shifted = matrix.copy()
    shifted[:, 2] -= [box[1].start, box[0].start]
    canvas = np.zeros((*mask.shape, 3), np.uint8)
    size = (box[1].stop - box[1].start, box[0].stop - box[0].start)
    canvas[box] = cv2.warpAffine(
        image, shifted, size, flags=INTERPOLATIONS[interpolation], borderMode=cv2.BORDER_REFLECT
    )
    return canvas


def place_mask(mask: np.ndarray, matrix: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Warp a mask by a 2x3 matrix (source to canvas) onto a canvas of `shape` (H, W)."""
    soft = cv2.warpAffine(mask * 255, matrix, (shape[1], shape[0]), flags=cv2.INTER_LINEAR)
    return (soft > 127).astype(np.uint8)


def bounding_box(mask: np.ndarray, margin: int) -> tuple[slice, slice]:
    """Rows and columns of a mask's bounding box, widened by a margin inside the image."""
    x, y, width, height = cv2.boundingRect(mask)
    return (
        slice(max(0, y - margin), min(mask.shape[0], y + height + margin)),
        slice(max(0, x - margin), min(mask.shape[1], x + width + margin)),
    )


def placement_matrix(
    source_centre: tuple[float, float], target_centre: tuple[float, float], scale: float, angle: float, flip: bool
) -> np.ndarray:
    """Matrix (2, 3) that moves one centre onto another with scale, rotation (degrees) and horizontal flip.

    Without scale, rotation and flip the shift is whole pixels, so that the copy is exact.
    """
    cosine, sine = scale * np.cos(np.deg2rad(angle)), scale * np.sin(np.deg2rad(angle))
    linear = np.array([[cosine, -sine], [sine, cosine]]) @ np.diag([-1.0 if flip else 1.0, 1.0])
    offset = np.asarray(target_centre) - linear @ np.asarray(source_centre)
    if scale == 1.0 and angle == 0.0 and not flip:
        offset = np.rint(offset)
    return np.concatenate([linear, offset[:, None]], axis=1)
