"""What one row of a corpus shows: its hash, sizes and formats, the marked share of its masks, and what breaks off."""

import hashlib
import io
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image

from .features import SIDEWAYS
from .pixels import IMAGE_ERRORS, StoredImage

ROWS_IN_FLIGHT = 8


@dataclass
class RowFacts:
    """What was found out of one row.

    Args:
        digest: SHA-256 of the image's file, empty when there is none or it cannot be read.
        size: (width, height) in pixels as displayed; None when there is no image or it cannot be opened.
        image_format: file format and colour mode, such as "JPEG RGB".
        broken: what cannot be decoded, and why.
        shares: mask column -> share of non-zero pixels, None without a mask.
        values: mask column -> values in it, of the masks that are probed.
        other_size: masks whose size is not the image's.
    """

    digest: bytes = b""
    size: tuple[int, int] | None = None
    image_format: str = ""
    broken: list[str] = field(default_factory=list)
    shares: dict[str, float | None] = field(default_factory=dict)
    values: dict[str, list[int]] = field(default_factory=dict)
    other_size: list[str] = field(default_factory=list)


class RowProber:
    """Decodes the images and masks of a row; `examine` runs in several threads, `wanted` in one."""

    def __init__(self, others: list[str], masks: list[str], probe: int):
        self.others, self.masks = others, masks
        self.left = dict.fromkeys(masks, probe)

    def wanted(self, row: dict[str, Any]) -> set[str]:
        """Mask columns whose values are listed for this row."""
        found = {name for name in self.masks if row.get(name) is not None and self.left[name] > 0}
        for name in found:
            self.left[name] -= 1
        return found

    def examine(self, row: dict[str, Any], probed: set[str], full_decode: bool) -> RowFacts:
        """Hash, decode and measure the files of a row."""
        found = RowFacts()
        if row["image"] is not None:
            self._measure_image(row["image"], full_decode, found)
        for name in self.others if full_decode else ():
            _try_decode(row, name, found)
        for name in self.masks:
            self._measure(row, name, name in probed, found)
        return found

    def _measure_image(self, value: StoredImage, full_decode: bool, found: RowFacts) -> None:
        """Hash, format and size of the image."""
        try:
            data = _bytes_of(value)
            found.digest = hashlib.sha256(data).digest()
            with Image.open(io.BytesIO(data)) as image:
                found.image_format = f"{image.format} {image.mode}"
                if full_decode:
                    image.load()
                # of a PNG, whose tags may stand behind the pixels, they are not read without decoding
                tags = image.getexif() if full_decode or image.format != "PNG" else {}
                turned = tags.get(ExifTags.Base.Orientation) in SIDEWAYS
                found.size = image.size[::-1] if turned else image.size
        except IMAGE_ERRORS as error:
            found.broken.append(f"image: {error}")

    def _measure(self, row: dict[str, Any], name: str, probed: bool, found: RowFacts) -> None:
        """Share of marked pixels of a mask, and its values."""
        found.shares[name] = None
        mask = _try_decode(row, name, found)
        if mask is None:
            return
        pixels = np.asarray(mask if mask.mode == "L" else mask.convert("L"))
        found.shares[name] = np.count_nonzero(pixels) / max(pixels.size, 1)
        if probed:
            found.values[name] = np.flatnonzero(np.bincount(pixels.ravel())).tolist()
        if found.size is not None and mask.size != found.size:
            width, height = found.size
            found.other_size.append(f"{name} {mask.width} x {mask.height}, image {width} x {height}")


def _try_decode(row: dict[str, Any], name: str, found: RowFacts) -> Image.Image | None:
    value = row.get(name)
    if value is None:
        return None
    try:
        with Image.open(io.BytesIO(_bytes_of(value))) as image:
            image.load()
            return image
    except IMAGE_ERRORS as error:
        found.broken.append(f"{name}: {error}")
        return None


def _bytes_of(value: StoredImage) -> bytes:
    return value["bytes"] if value["bytes"] is not None else Path(value["path"]).read_bytes()


def in_order(
    pool: ThreadPoolExecutor, rows: Iterator[dict[str, Any]], prober: RowProber, full_decode: bool
) -> Iterator[tuple[dict[str, Any], RowFacts]]:
    """Examine rows in threads and give them back in their order, with few of them in memory."""
    waiting: deque[tuple[dict[str, Any], Future[RowFacts]]] = deque()
    for row in rows:
        waiting.append((row, pool.submit(prober.examine, row, prober.wanted(row), full_decode)))
        if len(waiting) >= ROWS_IN_FLIGHT:
            first, result = waiting.popleft()
            yield first, result.result()
    for first, result in waiting:
        yield first, result.result()


__all__ = ["RowFacts", "RowProber", "in_order"]
