"""Blur, JPEG compression, flips and colour jitter of training images, as CNNDetection draws them.

GAMMA (section 5.1) follows Wang et al. 2020, "CNN-generated images are surprisingly easy to spot... for now", and adds
colour jitter; it gives no values of its own. Blur and compression come before the crop, flip and jitter after it.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image
from torchvision.transforms.v2 import functional as tvF

from .augmentation import jpeg_compress
from .crops import JPEG_GRID

JPEG_ENCODERS = ("cv2", "pil")
# A Gaussian is cut off at this many standard deviations, as that of scipy.ndimage, which CNNDetection uses.
BLUR_TRUNCATION = 4.0
MAX_HUE = 0.5


@dataclass(frozen=True)
class CNNDetectionAugmentation:
    """What happens to a training image; evaluation uses none of it. Probabilities lie in [0, 1].

    Args:
        blur_probability: Share of images that are blurred. CNNDetection published models for 0.5 and for 0.1.
        blur_sigma: Lowest and highest standard deviation of the Gaussian in pixels (CNNDetection).
        jpeg_probability: Share of images that are compressed, blurred or not; as `blur_probability`.
        jpeg_quality: Lowest and highest quality, 1 to 100 (CNNDetection).
        jpeg_encoders: Libraries of which one is drawn for each image, `cv2` and `pil` (CNNDetection).
        flip_probability: Share of images that are mirrored (0.5 in CNNDetection's code).
        jitter_probability: Share of images whose colours are changed; not given in the paper.
        brightness, contrast, saturation: Largest relative change; not given in the paper. 0.5 is what Li et al. 2025,
            whose crops GAMMA follows, have in their code.
        hue: Largest turn of the hue in full circles, 0 to 0.5; not given in the paper, and none in that code.
    """

    blur_probability: float = 0.5
    blur_sigma: tuple[float, float] = (0.0, 3.0)
    jpeg_probability: float = 0.5
    jpeg_quality: tuple[int, int] = (30, 100)
    jpeg_encoders: tuple[str, ...] = JPEG_ENCODERS
    flip_probability: float = 0.5
    jitter_probability: float = 1.0
    brightness: float = 0.5
    contrast: float = 0.5
    saturation: float = 0.5
    hue: float = 0.0

    def __post_init__(self) -> None:
        probabilities = ("blur_probability", "jpeg_probability", "flip_probability", "jitter_probability")
        for name in (*probabilities, "brightness", "contrast", "saturation"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"augmentation.{name} must lie in [0, 1], got {getattr(self, name)}")
        if not 0 <= self.hue <= MAX_HUE:
            raise ValueError(f"augmentation.hue must lie in [0, {MAX_HUE}], got {self.hue}")
        for name, low, high in (("blur_sigma", 0, float("inf")), ("jpeg_quality", 1, 100)):
            ends = getattr(self, name)
            if len(ends) != 2 or not low <= ends[0] <= ends[1] <= high:
                raise ValueError(f"augmentation.{name} must be two numbers from {low} to {high}, got {ends}")
        if not self.jpeg_encoders or not set(self.jpeg_encoders) <= set(JPEG_ENCODERS):
            raise ValueError(f"augmentation.jpeg_encoders must be of {JPEG_ENCODERS}, got {self.jpeg_encoders}")


def reach_of(config: CNNDetectionAugmentation) -> int:
    """How many pixels away from a pixel `degrade` looks: a blur, and two JPEG blocks, its own and the next one's."""
    return blur_radius(config.blur_sigma[1]) + 2 * JPEG_GRID


def blur_radius(sigma: float) -> int:
    """Pixels on each side that a Gaussian of `sigma` pixels takes in."""
    return int(BLUR_TRUNCATION * sigma + 0.5)


def degrade(image: Image.Image, config: CNNDetectionAugmentation, rng: np.random.Generator) -> Image.Image:
    """Blur and compress an RGB image, each by chance."""
    if rng.random() < config.blur_probability:
        image = gaussian_blur(image, rng.uniform(*config.blur_sigma))
    if rng.random() < config.jpeg_probability:
        encoder = config.jpeg_encoders[rng.integers(len(config.jpeg_encoders))]
        quality = int(rng.integers(config.jpeg_quality[0], config.jpeg_quality[1] + 1))
        image = (cv2_jpeg_compress if encoder == "cv2" else jpeg_compress)(image, quality)
    return image


def flip(
    image: Image.Image,
    masks: dict[str, np.ndarray],
    config: CNNDetectionAugmentation,
    rng: np.random.Generator,
) -> tuple[Image.Image, dict[str, np.ndarray]]:
    """Mirror an image and its masks (H, W) by chance, all or none."""
    if rng.random() >= config.flip_probability:
        return image, masks
    flipped = {name: np.ascontiguousarray(mask[:, ::-1]) for name, mask in masks.items()}
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), flipped


def jitter(image: Image.Image, config: CNNDetectionAugmentation, rng: np.random.Generator) -> Image.Image:
    """Change brightness, contrast, saturation and hue of an RGB image, in random order, by chance."""
    if rng.random() >= config.jitter_probability:
        return image
    changes = ("brightness", "contrast", "saturation", "hue")
    for index in rng.permutation(len(changes)):
        name = changes[index]
        strength = getattr(config, name)
        if strength == 0:
            continue
        change = rng.uniform(-strength, strength)
        image = getattr(tvF, f"adjust_{name}")(image, change if name == "hue" else 1 + change)
    return image


def gaussian_blur(image: Image.Image, sigma: float) -> Image.Image:
    """Blur an RGB image by a Gaussian of `sigma` pixels; borders are mirrored."""
    radius = blur_radius(sigma)
    if radius == 0:
        return image
    size = (2 * radius + 1, 2 * radius + 1)
    return Image.fromarray(cv2.GaussianBlur(np.asarray(image), size, sigma, borderType=cv2.BORDER_REFLECT))


def cv2_jpeg_compress(image: Image.Image, quality: int) -> Image.Image:
    """Compress an RGB image by OpenCV as JPEG of this quality (1 to 100) and decode it again."""
    pixels = cv2.cvtColor(np.asarray(image), cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return Image.fromarray(cv2.cvtColor(cv2.imdecode(encoded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB))
