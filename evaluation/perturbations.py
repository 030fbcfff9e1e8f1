"""JPEG compression, noise, blur, resizing and random cropping of test images.

PromptForge-350k / ICL-Net, Table 2: section 6.3 gives the JPEG qualities and the crop percentages. Not given in the
paper, and our reading: a crop of p % keeps a window of (100 - p) % of the width and of the height at a random place;
JPEG comes before the crop where both are named; chroma is stored at half resolution.

DiffSeg30k, Table 3: JPEG 60 and 80, "resize 256" and "resize 1024". Our reading of the latter: the shorter edge gets
this length (bilinear, masks by the nearest pixel) before the model resizes the image to its own input, and the
prediction is compared at this size.

LEGION, Table 10: JPEG 50, 35, 20; Gaussian noise of standard deviation 0.1, 0.2, 0.3 for values from 0 to 1; Gaussian
blur with kernels of 5, 9, 15 pixels, whose standard deviation follows from the kernel as in OpenCV (about 1.1, 1.7,
2.6 pixels). Our reading: noise is drawn for every value of every channel, clipped to 0 and 1, and rounded to 8 bits.
"""

import io
import zlib
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

CHROMA_4_2_0 = 2
WHITE = 255
# The standard deviation of a blur that OpenCV takes as "made from the size of the kernel".
FROM_KERNEL = 0
KINDS = ("jpeg", "noise", "blur", "resize", "crop")
WHOLE_NUMBERS = ("jpeg", "blur", "resize")


@dataclass(frozen=True)
class Perturbation:
    """What happens to a test image before the model sees it.

    Args:
        jpeg_quality: quality of one JPEG compression, 1 to 100; None: no compression.
        crop_percent: share of each side that a random crop removes, 0 to below 100.
        shorter_edge: length of the shorter edge after resizing, pixels; None: no resizing.
        noise_std: standard deviation of Gaussian noise, for values from 0 to 1; 0: none.
        blur_kernel: width of a Gaussian blur's kernel, odd, pixels; None: no blur.

    Raises:
        ValueError: a value out of range.
    """

    jpeg_quality: int | None = None
    crop_percent: float = 0.0
    shorter_edge: int | None = None
    noise_std: float = 0.0
    blur_kernel: int | None = None

    def __post_init__(self) -> None:
        if self.jpeg_quality is not None and not 1 <= self.jpeg_quality <= 100:
            raise ValueError(f"JPEG quality must be 1 to 100, got {self.jpeg_quality}")
        if not 0 <= self.crop_percent < 100:
            raise ValueError(f"crop must remove at least 0 and less than 100 percent, got {self.crop_percent}")
        if self.shorter_edge is not None and self.shorter_edge < 1:
            raise ValueError(f"resize must leave at least 1 pixel, got {self.shorter_edge}")
        if not 0 <= self.noise_std <= 1:
            raise ValueError(f"noise must have a standard deviation from 0 to 1, got {self.noise_std}")
        if self.blur_kernel is not None and (self.blur_kernel < 1 or self.blur_kernel % 2 == 0):
            raise ValueError(f"blur must have an odd kernel of at least 1 pixel, got {self.blur_kernel}")

    @property
    def name(self) -> str:
        """The form that `parse_perturbations` reads: `none`, `jpeg:80`, `noise:0.1`, `jpeg:80+crop:20`."""
        parts = [f"jpeg:{self.jpeg_quality}"] if self.jpeg_quality is not None else []
        parts += [f"noise:{self.noise_std:g}"] if self.noise_std else []
        parts += [f"blur:{self.blur_kernel}"] if self.blur_kernel is not None else []
        parts += [f"resize:{self.shorter_edge}"] if self.shorter_edge is not None else []
        parts += [f"crop:{self.crop_percent:g}"] if self.crop_percent else []
        return "+".join(parts) or "none"

    def apply(
        self, image: Image.Image, mask: NDArray[np.uint8] | None, *, seed: int = 0, name: str = ""
    ) -> tuple[Image.Image, NDArray[np.uint8] | None]:
        """Perturb an image, and resize and cut its mask alike: first JPEG, then noise, blur, resizing, and the crop.

        Args:
            image: RGB.
            mask: (H, W) of the image's size, or None.
            seed: seed of the whole run.
            name: name of the image; with the seed it fixes noise and place of the crop, whatever the order of images.

        Returns:
            RGB image and its mask, (H', W').
        """
        if self.jpeg_quality is not None:
            stream = io.BytesIO()
            image.convert("RGB").save(stream, "JPEG", quality=self.jpeg_quality, subsampling=CHROMA_4_2_0)
            image = Image.open(stream).convert("RGB")
        random = np.random.default_rng([seed, zlib.crc32(name.encode())])
        if self.noise_std:
            noise = random.normal(0, self.noise_std, (image.height, image.width, 3)).astype(np.float32)
            noisy = np.clip(np.asarray(image.convert("RGB")) / np.float32(WHITE) + noise, 0, 1)
            image = Image.fromarray((noisy * WHITE).round().astype(np.uint8))
        if self.blur_kernel is not None:
            size = (self.blur_kernel, self.blur_kernel)
            image = Image.fromarray(cv2.GaussianBlur(np.asarray(image.convert("RGB")), size, FROM_KERNEL))
        image, mask = self._resize(image, mask)
        if not self.crop_percent:
            return image, mask
        kept = 1 - self.crop_percent / 100
        width, height = max(1, round(image.width * kept)), max(1, round(image.height * kept))
        left = int(random.integers(image.width - width + 1))
        top = int(random.integers(image.height - height + 1))
        cut = None if mask is None else np.ascontiguousarray(mask[top : top + height, left : left + width])
        return image.crop((left, top, left + width, top + height)), cut

    def _resize(
        self, image: Image.Image, mask: NDArray[np.uint8] | None
    ) -> tuple[Image.Image, NDArray[np.uint8] | None]:
        if self.shorter_edge is None or min(image.size) == self.shorter_edge:
            return image, mask
        scale = self.shorter_edge / min(image.size)
        size = round(image.width * scale), round(image.height * scale)
        if mask is not None:
            mask = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
        return image.resize(size, Image.Resampling.BILINEAR), mask


NONE = Perturbation()
# The rows of Table 2, in its order.
TABLE2: tuple[Perturbation, ...] = (
    NONE,
    *(Perturbation(jpeg_quality=quality) for quality in (90, 80, 70, 60)),
    *(Perturbation(crop_percent=percent) for percent in (10, 20, 30, 40)),
    Perturbation(jpeg_quality=80, crop_percent=20),
)


def parse_perturbations(text: str) -> tuple[Perturbation, ...]:
    """Read `table2`, or perturbations separated by commas: `none,jpeg:80,noise:0.1,blur:5,resize:256,jpeg:80+crop:20`.

    Raises:
        ValueError: anything else.
    """
    if text == "table2":
        return TABLE2
    return tuple(_parse_one(part.strip()) for part in text.split(","))


def _parse_one(text: str) -> Perturbation:
    values: dict[str, float] = {}
    for part in [] if text == "none" else text.split("+"):
        kind, _, number = part.partition(":")
        try:
            values[kind] = float(number)
        except ValueError:
            values[""] = 0
    whole = all(values.get(kind, 1) % 1 == 0 for kind in WHOLE_NUMBERS)
    if not values.keys() <= set(KINDS) or not whole:
        raise ValueError(
            f"expected table2, none, jpeg:80, crop:20, resize:256, noise:0.1, blur:5 or jpeg:80+crop:20, got {text!r}"
        )
    quality, edge, kernel = (int(values[kind]) if kind in values else None for kind in ("jpeg", "resize", "blur"))
    return Perturbation(quality, values.get("crop", 0.0), edge, values.get("noise", 0.0), kernel)
