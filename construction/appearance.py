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
SUBSAMPLING = {"4:4:4": 0, "4:2:0": 2}


def encode_jpeg(image: np.ndarray, quality: int, subsampling: str) -> bytes:
    """Encode as JPEG with Pillow; quality 1..100, subsampling `4:4:4` or `4:2:0`."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling=SUBSAMPLING[subsampling])
    return buffer.getvalue()


def recompress(image: np.ndarray, quality: int, subsampling: str) -> np.ndarray:
    """Give an image a JPEG history: encode and decode."""
    return np.asarray(Image.open(io.BytesIO(encode_jpeg(image, quality, subsampling))).convert("RGB"))


def match_colours(
    donor: np.ndarray, donor_mask: np.ndarray, host: np.ndarray, host_mask: np.ndarray, strength: float
) -> np.ndarray:
    """Move mean and deviation in Lab of the donor region towards those of the host region.

    Args:
        donor: image whose colours change.
        donor_mask: region of the donor that is pasted.
        host: image that receives it.
        host_mask: region of the host it will stand in.
        strength: 0 = unchanged, 1 = full transfer.

    References:
        Reinhard et al., Color Transfer between Images, 2001.
    """
    donor_lab = cv2.cvtColor(donor, cv2.COLOR_RGB2LAB).astype(np.float32)
    source = donor_lab[donor_mask == 1]
    target = cv2.cvtColor(host, cv2.COLOR_RGB2LAB)[host_mask == 1].astype(np.float32)
    if len(source) == 0 or len(target) == 0:
        return donor
    gain = np.maximum(target.std(0), MIN_LAB_DEVIATION) / np.maximum(source.std(0), MIN_LAB_DEVIATION)
    # A full change of contrast looks wrong on objects; half to twice keeps their shading.
    matched = (donor_lab - source.mean(0)) * np.clip(gain, 0.5, 2.0) + target.mean(0)
    blended = (1.0 - strength) * donor_lab + strength * matched
    return cv2.cvtColor(np.clip(np.rint(blended), 0, 255).astype(np.uint8), cv2.COLOR_LAB2RGB)


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
    rows, columns = np.nonzero(alpha.max(1) > 0)[0], np.nonzero(alpha.max(0) > 0)[0]
    if len(rows) == 0:
        return host.copy()
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    opacity = alpha[box][..., None]
    result = host.copy()
    result[box] = np.rint(host[box] * (1.0 - opacity) + paste[box] * opacity).astype(np.uint8)
    return result


def place(
    image: np.ndarray, mask: np.ndarray, matrix: np.ndarray, shape: tuple[int, int], interpolation: str
) -> tuple[np.ndarray, np.ndarray]:
    """Warp an image and its mask onto a canvas of `shape` (H, W) by a 2x3 matrix (source to canvas)."""
    size = (shape[1], shape[0])
    warped = cv2.warpAffine(image, matrix, size, flags=INTERPOLATIONS[interpolation], borderMode=cv2.BORDER_REFLECT)
    soft = cv2.warpAffine(mask.astype(np.float32), matrix, size, flags=cv2.INTER_LINEAR)
    return warped, (soft > 0.5).astype(np.uint8)


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
