"""Square windows of images and masks, as torchvision's crops with padding cut them."""

import numpy as np
from PIL import Image

from forgescope.processing.image_enlarging import enlarged_size

# Label of pixels that a window has beyond its image.
PADDING_LABEL = 255
# Pixels after which the blocks of a JPEG image with halved chroma repeat.
JPEG_GRID = 16


def enlarge(
    image: Image.Image, masks: dict[str, Image.Image], edge: int
) -> tuple[Image.Image, dict[str, Image.Image]]:
    """Enlarge an image below `edge` pixels as the image processor does (bilinear), and its masks alike (nearest)."""
    height, width = enlarged_size(image.height, image.width, edge)
    if (width, height) == image.size:
        return image, masks
    resized = {name: mask.resize((width, height), Image.Resampling.NEAREST) for name, mask in masks.items()}
    return image.resize((width, height), Image.Resampling.BILINEAR), resized


def random_corner(image: Image.Image, size: int, padding: int, rng: np.random.Generator) -> tuple[int, int]:
    """Left and top of a random window of the image with a border; negative where the window begins beyond the image.

    A window that is larger than the image with its border holds all of it.
    """
    left, top = (
        int(rng.integers(min(-padding, edge + padding - size), max(-padding, edge + padding - size) + 1))
        for edge in image.size
    )
    return left, top


def central_corner(image: Image.Image, size: int, padding: int) -> tuple[int, int]:
    """Left and top of the middle window of the image with a border."""
    left, top = (round((edge + 2 * padding - size) / 2) - padding for edge in image.size)
    return left, top


def surroundings(image: Image.Image, corner: tuple[int, int], size: int, margin: int) -> tuple[int, int, int, int]:
    """What an operation of limited reach on a window has to see: left, top, right and bottom in the image.

    Args:
        image: The whole image.
        corner: Left and top of the window.
        size: Side of the window in pixels.
        margin: Pixels around the window that matter to it.

    Returns:
        The window and its margin, as far as the image goes, from a corner of the image's JPEG grid on.
    """
    left, top = (max(start - margin, 0) // JPEG_GRID * JPEG_GRID for start in corner)
    right, bottom = (min(start + size + margin, edge) for start, edge in zip(corner, image.size, strict=True))
    return left, top, right, bottom


def crop(
    image: Image.Image, masks: dict[str, Image.Image | None], corner: tuple[int, int], size: int
) -> tuple[Image.Image, dict[str, np.ndarray]]:
    """Cut a window out of an image and its masks.

    Args:
        image: RGB.
        masks: Masks of the image's size, non-zero = forged; None: nothing is.
        corner: Left and top of the window in pixels; it may begin or end beyond the image.
        size: Side of the window in pixels.

    Returns:
        The window, black beyond the image, and for each mask (size, size) uint8: 1 forged, 0 untouched, 255 beyond.
    """
    left, top = corner
    window = image.crop((left, top, left + size, top + size))
    inside = np.full((size, size), PADDING_LABEL, np.uint8)
    inside[max(-top, 0) : image.height - top, max(-left, 0) : image.width - left] = 0
    labels = {}
    for name, mask in masks.items():
        labels[name] = inside.copy()
        if mask is not None:
            cut = np.asarray(mask.crop((left, top, left + size, top + size)))
            labels[name][(cut != 0) & (inside == 0)] = 1
    return window, labels
