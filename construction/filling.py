"""Fill a region from its surroundings: OpenCV's two methods, an exemplar method, and a whole-frame round trip.

Images are (H, W, 3) uint8 RGB, masks (H, W) uint8 with 1 = fill. The exemplar method is ours: one shifted copy of
the same photograph, chosen by how well it agrees around the hole, with its colour difference smoothed away.
"""

import cv2
import numpy as np

from .appearance import bounding_box

OPENCV_FLAGS = {"telea": cv2.INPAINT_TELEA, "navier_stokes": cv2.INPAINT_NS}
FILL_METHODS = (*OPENCV_FLAGS, "exemplar")
# Shifts tried by the exemplar method, and the width in pixels of the ring on which they are compared.
SHIFT_CANDIDATES = 24
RING_WIDTH = 9


def fill_region(image: np.ndarray, mask: np.ndarray, method: str, radius: int, rng: np.random.Generator) -> np.ndarray:
    """Fill the masked pixels; all other pixels are returned unchanged.

    Args:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) uint8, 1 = fill.
        method: `telea`, `navier_stokes` or `exemplar`.
        radius: neighbourhood of the OpenCV methods, in pixels.
        rng: used by `exemplar` only.

    Raises:
        ValueError: for an unknown method.
    """
    if method == "exemplar":
        return exemplar_fill(image, mask, rng)
    if method not in OPENCV_FLAGS:
        raise ValueError(f"unknown fill method {method!r}: expected one of {FILL_METHODS}")
    box = bounding_box(mask, 2 * radius + 2)
    filled = image.copy()
    filled[box] = cv2.inpaint(
        np.ascontiguousarray(image[box]), np.ascontiguousarray(mask[box]), radius, OPENCV_FLAGS[method]
    )
    return filled


def exemplar_fill(image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Fill with a shifted copy of the photograph that fits the ring around the hole, colours blended smoothly."""
    ring = cv2.dilate(mask, np.ones((RING_WIDTH, RING_WIDTH), np.uint8)) & ~mask & 1
    if not ring.any() or not mask.any():
        return image.copy()
    shift = _best_shift(image, mask, ring, rng)
    box = bounding_box(mask, RING_WIDTH)
    candidate = _shifted(image, *shift)[box].astype(np.float32)
    correction = _membrane(image[box] - candidate, ring[box].astype(np.float32))
    patch = np.clip(np.rint(candidate + correction), 0, 255).astype(np.uint8)
    filled = image.copy()
    filled[box] = np.where(mask[box][..., None] == 1, patch, image[box])
    return filled


def regenerate_frame(image: np.ndarray, scale: float, blur: float) -> np.ndarray:
    """Send a whole frame through a resampling round trip, as a generator that redraws every pixel does.

    Args:
        image: (H, W, 3) uint8 RGB.
        scale: factor of the intermediate size, 0..1.
        blur: standard deviation in pixels of a final Gaussian blur, 0 for none.
    """
    height, width = image.shape[:2]
    small = cv2.resize(
        image, (max(8, round(width * scale)), max(8, round(height * scale))), interpolation=cv2.INTER_AREA
    )
    frame = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    return cv2.GaussianBlur(frame, (0, 0), blur) if blur > 0 else frame


def _best_shift(image: np.ndarray, mask: np.ndarray, ring: np.ndarray, rng: np.random.Generator) -> tuple[int, int]:
    """Shift (dy, dx) whose copy brings in few masked pixels and agrees best on the ring."""
    height, width = mask.shape
    rows, columns = np.nonzero(mask)
    rows_ring, columns_ring = np.nonzero(ring)
    reach_y, reach_x = max(8, int(np.ptp(rows)) + RING_WIDTH), max(8, int(np.ptp(columns)) + RING_WIDTH)
    best, best_cost = (reach_y, reach_x), np.inf
    for _ in range(SHIFT_CANDIDATES):
        dy, dx = int(rng.integers(-reach_y, reach_y + 1)), int(rng.integers(-reach_x, reach_x + 1))
        own = mask[_reflect(rows - dy, height), _reflect(columns - dx, width)].mean()
        source = image[_reflect(rows_ring - dy, height), _reflect(columns_ring - dx, width)].astype(np.float32)
        cost = np.abs(source - image[rows_ring, columns_ring]).mean() + 255.0 * own
        if cost < best_cost:
            best, best_cost = (dy, dx), cost
    return best


def _shifted(image: np.ndarray, dy: int, dx: int) -> np.ndarray:
    height, width = image.shape[:2]
    rows, columns = _reflect(np.arange(height) - dy, height), _reflect(np.arange(width) - dx, width)
    return image[rows[:, None], columns[None]]


def _reflect(index: np.ndarray, size: int) -> np.ndarray:
    """Mirror indices that lie outside 0..size-1."""
    index = np.mod(index, 2 * size)
    return np.where(index < size, index, 2 * size - 1 - index)


def _membrane(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Extend values known where weight is 1 smoothly over the plane (push-pull over an image pyramid)."""
    height, width = weight.shape
    known = values * weight[..., None]
    if min(height, width) <= 4:
        return np.broadcast_to(known.sum((0, 1)) / max(float(weight.sum()), 1e-6), values.shape)
    size = ((width + 1) // 2, (height + 1) // 2)
    low_weight = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)
    low_known = cv2.resize(known, size, interpolation=cv2.INTER_AREA)
    low_values = low_known / np.maximum(low_weight, 1e-6)[..., None]
    coarse = _membrane(low_values, np.minimum(1.0, 4.0 * low_weight))
    coarse = cv2.resize(np.ascontiguousarray(coarse), (width, height), interpolation=cv2.INTER_LINEAR)
    return known + (1.0 - weight[..., None]) * coarse
