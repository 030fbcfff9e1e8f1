"""Lists of images, and images of extreme shapes before CLIP and SAM scale them."""

from typing import Any

from PIL import Image
from transformers.image_utils import get_image_size

# longer images are cut to their centre before CLIP's short side is scaled: 1 x 1000 pixels would become 336 x 336000
LONGEST_TO_SHORTEST = 20


def flat_images(images: Any) -> list[Any]:
    """Images of a list, of lists in it, or one alone."""
    if isinstance(images, list | tuple):
        return [one for part in images for one in flat_images(part)]
    return list(images) if getattr(images, "ndim", 0) == 4 else [images]


def size_of(image: Any) -> tuple[int, int]:
    """Height and width of a PIL image, of an array (H, W, 3) or of a tensor (3, H, W)."""
    if isinstance(image, Image.Image):
        return image.height, image.width
    return get_image_size(image)


def clip_view(image: Any) -> Any:
    """A PIL image that is far longer than wide cut to its centre, which is all that CLIP sees of it."""
    if not isinstance(image, Image.Image):
        return image
    longest = min(image.size) * LONGEST_TO_SHORTEST
    left, top = (max(0, (side - longest) // 2) for side in image.size)
    if left == top == 0:
        return image
    return image.crop((left, top, left + min(image.width, longest), top + min(image.height, longest)))


def sam_view(image: Any, longest_edge: int) -> Any:
    """A PIL image whose short side would vanish when the long one is scaled, thickened until one pixel is left."""
    if not isinstance(image, Image.Image):
        return image
    thinnest = -(-max(image.size) // (2 * longest_edge))
    if min(image.size) >= thinnest:
        return image
    return image.resize((max(image.width, thinnest), max(image.height, thinnest)))


__all__ = ["clip_view", "flat_images", "sam_view", "size_of"]
