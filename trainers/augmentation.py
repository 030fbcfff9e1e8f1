"""Random crop, JPEG compression and flips of training images (PromptForge-350k, section 6.1)."""

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class AugmentationConfig:
    """What happens to a training image before the image processor sees it.

    The paper says "random JPEG compression and cropping" and nothing more; the defaults span the degradations of its
    Table 2. All probabilities lie in [0, 1].

    Args:
        crop_probability: Share of images that are cropped to a random window (ignored with `crop_size`).
        min_crop_scale: Smallest side of the window, as a share of the image's side. 0.6 is Table 2's 40 % crop.
        crop_size: Side of a square window in pixels, for training at native resolution; smaller images are padded by
            the image processor. `None`: windows are a share of the image, and the image processor resizes them.
        forged_crop_probability: With `crop_size`, share of forged images whose window is laid around a forged pixel.
        jpeg_probability: Share of images that are compressed as JPEG.
        jpeg_quality: Lowest and highest quality, 1 to 100.
        flip_probability: Share of images that are mirrored; the paper does not mention flips.
    """

    crop_probability: float = 0.5
    min_crop_scale: float = 0.6
    crop_size: int | None = None
    forged_crop_probability: float = 0.0
    jpeg_probability: float = 0.5
    jpeg_quality: tuple[int, int] = (60, 100)
    flip_probability: float = 0.0

    def __post_init__(self) -> None:
        for name in ("crop_probability", "forged_crop_probability", "jpeg_probability", "flip_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"augmentation.{name} must lie in [0, 1], got {getattr(self, name)}")
        if not 0 < self.min_crop_scale <= 1:
            raise ValueError(f"augmentation.min_crop_scale must lie in (0, 1], got {self.min_crop_scale}")
        if self.crop_size is not None and self.crop_size < 1:
            raise ValueError(f"augmentation.crop_size must be at least 1 pixel, got {self.crop_size}")
        low, high = self.jpeg_quality
        if not 1 <= low <= high <= 100:
            raise ValueError(f"augmentation.jpeg_quality must be two numbers within 1 to 100, got {low} and {high}")


def augment(
    image: Image.Image, mask: Image.Image | None, config: AugmentationConfig, rng: np.random.Generator
) -> tuple[Image.Image, Image.Image | None]:
    """Draw one augmented view of an image and its mask.

    Args:
        image: RGB photograph.
        mask: Mask of the same size, non-zero = forged; None for an authentic image.
        config: What to draw from.
        rng: Source of all randomness.

    Returns:
        Image and mask, cropped and flipped alike; only the image is compressed.
    """
    box = _crop_box(image, mask, config, rng)
    image, mask = image.crop(box), None if mask is None else mask.crop(box)
    if rng.random() < config.flip_probability:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        mask = None if mask is None else mask.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if rng.random() < config.jpeg_probability:
        image = jpeg_compress(image, int(rng.integers(config.jpeg_quality[0], config.jpeg_quality[1] + 1)))
    return image, mask


def jpeg_compress(image: Image.Image, quality: int) -> Image.Image:
    """Compress an RGB image as JPEG of this quality (1 to 100) and decode it again."""
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def center_crop(image: Image.Image, mask: Image.Image | None, size: int) -> tuple[Image.Image, Image.Image | None]:
    """Cut the middle window of at most `size` x `size` pixels out of image and mask."""
    width, height = min(size, image.width), min(size, image.height)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    box = (left, top, left + width, top + height)
    return image.crop(box), None if mask is None else mask.crop(box)


def _crop_box(
    image: Image.Image, mask: Image.Image | None, config: AugmentationConfig, rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """Window to keep: left, top, right, bottom in pixels."""
    if config.crop_size is not None:
        width, height = min(config.crop_size, image.width), min(config.crop_size, image.height)
    elif rng.random() < config.crop_probability:
        scale = rng.uniform(config.min_crop_scale, 1.0)
        width, height = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    else:
        return 0, 0, image.width, image.height
    left = int(rng.integers(0, image.width - width + 1))
    top = int(rng.integers(0, image.height - height + 1))
    if config.crop_size is not None and mask is not None and rng.random() < config.forged_crop_probability:
        rows, columns = np.nonzero(np.asarray(mask))
        if len(rows):
            pixel = int(rng.integers(len(rows)))
            left = int(np.clip(columns[pixel] - rng.integers(width), 0, image.width - width))
            top = int(np.clip(rows[pixel] - rng.integers(height), 0, image.height - height))
    return left, top, left + width, top + height
