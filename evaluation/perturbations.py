"""JPEG compression, resizing and random cropping of test images.

PromptForge-350k / ICL-Net, Table 2: section 6.3 gives the JPEG qualities and the crop percentages. Not given in the
paper, and our reading: a crop of p % keeps a window of (100 - p) % of the width and of the height at a random place;
JPEG comes before the crop where both are named; chroma is stored at half resolution.

DiffSeg30k, Table 3: JPEG 60 and 80, "resize 256" and "resize 1024". Our reading of the latter: the shorter edge gets
this length (bilinear, masks by the nearest pixel) before the model resizes the image to its own input, and the
prediction is compared at this size.
"""

import io
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CHROMA_4_2_0 = 2


@dataclass(frozen=True)
class Perturbation:
    """What happens to a test image before the model sees it.

    Args:
        jpeg_quality: quality of one JPEG compression, 1 to 100; None: no compression.
        crop_percent: share of each side that a random crop removes, 0 to below 100.
        shorter_edge: length of the shorter edge after resizing, pixels; None: no resizing.

    Raises:
        ValueError: a value out of range.
    """

    jpeg_quality: int | None = None
    crop_percent: float = 0.0
    shorter_edge: int | None = None

    def __post_init__(self) -> None:
        if self.jpeg_quality is not None and not 1 <= self.jpeg_quality <= 100:
            raise ValueError(f"JPEG quality must be 1 to 100, got {self.jpeg_quality}")
        if not 0 <= self.crop_percent < 100:
            raise ValueError(f"crop must remove at least 0 and less than 100 percent, got {self.crop_percent}")
        if self.shorter_edge is not None and self.shorter_edge < 1:
            raise ValueError(f"resize must leave at least 1 pixel, got {self.shorter_edge}")

    @property
    def name(self) -> str:
        """The form that `parse_perturbations` reads: `none`, `jpeg:80`, `resize:256`, `jpeg:80+crop:20`."""
        parts = [f"jpeg:{self.jpeg_quality}"] if self.jpeg_quality is not None else []
        parts += [f"resize:{self.shorter_edge}"] if self.shorter_edge is not None else []
        parts += [f"crop:{self.crop_percent:g}"] if self.crop_percent else []
        return "+".join(parts) or "none"

    def apply(
        self, image: Image.Image, mask: NDArray[np.uint8] | None, *, seed: int = 0, name: str = ""
    ) -> tuple[Image.Image, NDArray[np.uint8] | None]:
        """Perturb an image, and resize and cut its mask alike: first JPEG, then resizing, then the crop.

        Args:
            image: RGB.
            mask: (H, W) of the image's size, or None.
            seed: seed of the whole run.
            name: name of the image; with the seed it fixes the place of the crop, whatever the order of the images.

        Returns:
            RGB image and its mask, (H', W').
        """
        if self.jpeg_quality is not None:
            stream = io.BytesIO()
            image.convert("RGB").save(stream, "JPEG", quality=self.jpeg_quality, subsampling=CHROMA_4_2_0)
            image = Image.open(stream).convert("RGB")
        image, mask = self._resize(image, mask)
        if not self.crop_percent:
            return image, mask
        random = np.random.default_rng([seed, zlib.crc32(name.encode())])
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
    """Read `table2`, or perturbations separated by commas: `none,jpeg:80,resize:256,jpeg:80+crop:20`.

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
    whole = all(values.get(kind, 1) % 1 == 0 for kind in ("jpeg", "resize"))
    if not values.keys() <= {"jpeg", "crop", "resize"} or not whole:
        raise ValueError(f"expected table2, none, jpeg:80, crop:20, resize:256 or jpeg:80+crop:20, got {text!r}")
    quality, edge = (int(values[kind]) if kind in values else None for kind in ("jpeg", "resize"))
    return Perturbation(quality, values.get("crop", 0.0), edge)
