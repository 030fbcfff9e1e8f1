"""The pictures of a photograph for the page of a run: inside it, reduced, or beside it, as links.

Measured on 12 photographs of 0.1 to 3 megapixels with iclnet-mini, median: a thumbnail has 5 kB; photograph and
overlay reduced to `INLINED_EDGE` pixels have 43 kB each, probability map and mask 4 kB each. In base64 that is 130 kB
a photograph.
"""

import base64
import io
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image

from .journal import Row
from .reading import ImageReadError, read_image

# A page with up to so many photographs holds all pictures, reduced, about 13 MB in the median. Above it, 2,000
# thumbnails alone are 13 MB, and the other pictures are read from the folder when they are looked at.
MOST_INLINED = 100
INLINED_EDGE = 800
# Thumbnails are shown at this size or smaller.
THUMBNAIL_EDGE = 160
# WebP at half the bytes of JPEG; method 2 takes half the time of the default, for 3 % more bytes.
WEBP: dict[str, Any] = {"quality": 75, "method": 2}
# Formats that browsers show; photographs of others are inlined in every page.
SHOWN_BY_BROWSERS = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".avif", ".bmp"}
# Pictures of a row that lie over the photograph, with their names.
LAYERS = {
    "overlay": "Overlay",
    "probability_map": "Probability map",
    "mask": "Mask",
    "ai_mask": "AI-made mask",
}


def thumbnail(row: Row) -> tuple[str, tuple[int, int]] | None:
    """Reduce the overlay, or the photograph where none was written.

    Returns:
        Data address, and width and height in pixels; None where the file is no longer there.
    """
    try:
        picture = _reduced(row["overlay"] or row["path"], THUMBNAIL_EDGE, is_own=row["overlay"] is not None)
    except (OSError, ImageReadError):
        return None
    return data_address(webp(picture)), picture.size


def pictures(row: Row, folder: Path, inlined: bool) -> dict[str, Any]:
    """Say where a page finds the photograph and what lies over it.

    Args:
        row: of a photograph that was examined.
        folder: of the page.
        inlined: the pictures are part of the page.

    Returns:
        `photo`, an address, or None where it cannot be read, and `layers`, each with `kind`, `name` and `source`.
    """
    layers = []
    for kind, name in LAYERS.items():
        source = _source(row[kind], folder, inlined, is_own=True) if row.get(kind) else None
        if source is not None:
            layers.append({"kind": kind, "name": name, "source": source})
    inlined = inlined or Path(row["path"]).suffix.lower() not in SHOWN_BY_BROWSERS
    return {"photo": _source(row["path"], folder, inlined, is_own=False), "layers": layers}


def link(path: str, folder: Path) -> str:
    """Address of a file relative to the page, so that the folder can be moved together with the files."""
    return quote(os.fsencode(os.path.relpath(path, folder)))


def _source(path: str, folder: Path, inlined: bool, is_own: bool) -> str | None:
    if not inlined:
        return link(path, folder)
    try:
        return data_address(webp(_reduced(path, INLINED_EDGE, is_own)))
    except (OSError, ImageReadError):
        return None


def webp(picture: Image.Image) -> bytes:
    """Encode a picture; the two values of a mask stay as they are."""
    content = io.BytesIO()
    lossless = picture.mode == "L" and picture.getcolors(2) is not None
    picture.save(content, "WEBP", lossless=lossless, **WEBP)
    return content.getvalue()


def data_address(content: bytes) -> str:
    """Address that holds a picture of `webp` itself."""
    return f"data:image/webp;base64,{base64.b64encode(content).decode('ascii')}"


def reduced(picture: Image.Image, edge: int) -> Image.Image:
    """Copy a picture, at most `edge` pixels wide and high."""
    picture = picture.copy()
    picture.thumbnail((edge, edge))
    return picture


def _reduced(path: str, edge: int, is_own: bool) -> Image.Image:
    if not is_own:
        return reduced(read_image(path).image, edge)
    # our own JPEG: decoded at a reduced size, which thumbnail() asks for
    with Image.open(path) as picture:
        picture.thumbnail((edge, edge))
        return picture.convert("L" if picture.mode == "L" else "RGB")
