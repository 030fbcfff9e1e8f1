"""Format alignment (GAMMA, section 3.1): generated images stored as PNG become JPEGs, as photographs are.

The paper takes quality 96, which is that of ImageNet's files. Its colour subsampling is not given in the paper.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .corpus import CorpusConfig
from .features import turned_upright
from .notes import Notes
from .pixels import IMAGE_ERRORS, StoredImage

GAMMA_JPEG_QUALITY = 96
# Pillow's default, and the most common form of photographs.
SUBSAMPLING = "4:2:0"
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
WHITE = (255, 255, 255)


@dataclass
class AlignedConfig(CorpusConfig):
    """Options of corpora that hold generated images.

    Args:
        align_format: JPEG quality that generated images stored as PNG are given, 1..100; 96 in GAMMA. None leaves all
            files as they are.
    """

    align_format: int | None = None


def align_format(data: bytes, quality: int = GAMMA_JPEG_QUALITY) -> bytes:
    """Encode a PNG file as JPEG; files of any other format keep their bytes.

    The content decides, not the name. Transparency is composited on white, 16 bits are scaled to 8, and the image is
    turned as its EXIF orientation says; metadata is not carried over.

    Args:
        data: content of an image file.
        quality: JPEG quality, 1..100.

    Raises:
        OSError, SyntaxError, ValueError: a damaged PNG file (`pixels.IMAGE_ERRORS`), or a quality outside 1..100.
    """
    _check_quality(quality)
    if not data.startswith(PNG_SIGNATURE):
        return data
    with Image.open(io.BytesIO(data)) as image:
        picture = _jpeg_mode(turned_upright(image))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality, subsampling=SUBSAMPLING)
    return buffer.getvalue()


def aligned_rows(row: dict[str, Any], quality: int | None, notes: Notes) -> Iterator[dict[str, Any]]:
    """A row with its image aligned where it is fake, or none, with a note, if that PNG file is damaged.

    Args:
        row: with `image`, `label` (`real`, `fake`) and `id`.
        quality: JPEG quality; None leaves the image as it is.
        notes: counts "damaged image".

    Raises:
        ValueError: a quality outside 1..100.
    """
    image = row["image"]
    if row["label"] == "fake":
        image = aligned_image(image, row["id"], quality, notes)
    if image is not None:
        yield {**row, "image": image}


def aligned_image(image: StoredImage, name: str, quality: int | None, notes: Notes) -> StoredImage | None:
    """As `aligned_rows`, for the value of an image column; `name` says in the notes whose."""
    if quality is None:
        return image
    _check_quality(quality)
    try:
        data = Path(image["path"]).read_bytes() if image["bytes"] is None else image["bytes"]
        aligned = align_format(data, quality)
    except IMAGE_ERRORS as error:
        notes.add("damaged image", name, str(error))
        return None
    return image if aligned is data else {"path": None, "bytes": aligned}


def _jpeg_mode(image: Image.Image) -> Image.Image:
    """Grey or RGB, 8 bits."""
    if image.mode in ("L", "RGB"):
        return image
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image).astype(np.int64).clip(0, 65535) >> 8).astype(np.uint8))
    if image.mode in ("1", "P") and "transparency" not in image.info:
        return image.convert("L" if image.mode == "1" else "RGB")
    opaque = image.convert("RGBA")
    canvas = Image.new("RGBA", opaque.size, (*WHITE, 255))
    return Image.alpha_composite(canvas, opaque).convert("RGB")


def _check_quality(quality: int) -> None:
    if not isinstance(quality, int) or isinstance(quality, bool) or not 1 <= quality <= 100:
        raise ValueError(f"align_format is {quality!r}: expected a JPEG quality, a whole number of 1 to 100")


__all__ = ["GAMMA_JPEG_QUALITY", "AlignedConfig", "align_format", "aligned_image", "aligned_rows"]
