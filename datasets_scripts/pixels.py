"""Images and masks of a corpus as `datasets` stores them: checked, sized alike, class ids kept."""

import io
from collections.abc import Callable
from typing import IO, Any, Literal

import cv2
import numpy as np
from PIL import Image

from .files import CorpusFiles
from .notes import Notes

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")
# What PIL raises for files that are no image or break off (SyntaxError: broken PNG chunks).
IMAGE_ERRORS = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
# Modes whose pixels are ids as they are; "P" ids are palette indices, and never go through the palette's colours.
ID_MODES = ("1", "L", "P", "I", "I;16")
# Modes whose first channel is the id where the colour channels are equal.
COLOUR_MODES = ("LA", "RGB", "RGBA")
MAX_ID = 255
# Masks are flat areas: without a search for the best filter of each line (the others' default) they are written four
# times as fast, and no larger. OpenCV before 4.12 chooses one filter itself.
PNG_OPTIONS = [cv2.IMWRITE_PNG_COMPRESSION, 1]
if hasattr(cv2, "IMWRITE_PNG_FILTER"):
    PNG_OPTIONS += [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE]

# What `datasets.Image` takes: {"path": str | None, "bytes": bytes | None}.
StoredImage = dict[str, Any]


def is_image_name(name: str) -> bool:
    """Whether the suffix is an image's, in any case; dots elsewhere in the name do not matter."""
    return name.lower().endswith(IMAGE_SUFFIXES)


def stored_image(files: CorpusFiles, name: str) -> StoredImage:
    """An image column's value: a path for plain files, which `datasets` then reads on access, else the bytes.

    Bytes go without a name: `datasets` would prefer a file of that name in the working directory to them.
    """
    path = files.local_path(name)
    if path is not None:
        return {"path": path, "bytes": None}
    return {"path": None, "bytes": files.read(name)}


def checked_image(
    files: CorpusFiles, name: str, notes: Notes, verify: Literal["header", "decode"] = "header"
) -> tuple[StoredImage, tuple[int, int]] | None:
    """Value of an image column and its (width, height), or None with a note for a file that is no image.

    Args:
        files: the corpus.
        name: file in it.
        notes: counts "missing file", "file that cannot be read", "empty file", "not an image" and, with "decode",
            "damaged image".
        verify: "header" reads the first bytes, "decode" all pixels.
    """
    if name not in files:
        notes.add("missing file", name)
        return None
    try:
        value = stored_image(files, name)
        source = files.open(name) if value["bytes"] is None else io.BytesIO(value["bytes"])
    except OSError as error:
        notes.add("file that cannot be read", name, str(error))
        return None
    size = _size_or_note(source, lambda: files.read(name), name, notes, verify)
    return None if size is None else (value, size)


def checked_bytes(
    data: bytes, name: str, notes: Notes, verify: Literal["header", "decode"] = "header"
) -> tuple[StoredImage, tuple[int, int]] | None:
    """As `checked_image`, for an encoded image that stands inside another file; `name` says where in the notes."""
    size = _size_or_note(io.BytesIO(data), lambda: data, name, notes, verify)
    return None if size is None else ({"path": None, "bytes": data}, size)


def _size_or_note(
    source: IO[bytes], read: Callable[[], bytes], name: str, notes: Notes, verify: Literal["header", "decode"]
) -> tuple[int, int] | None:
    kind = "not an image"
    try:
        with source, Image.open(source) as image:
            size = image.size
            kind = "damaged image"
            if verify == "decode":
                image.load()
    except IMAGE_ERRORS as error:
        data = read()
        notes.add(kind if data else "empty file", name, str(error) if data else "")
        return None
    return size


def read_ids(files: CorpusFiles, name: str) -> np.ndarray:
    """Pixel values of a mask: (H, W) uint8. Palette masks give their indices, colours are never mixed into grey.

    Raises:
        FileNotFoundError: no such file.
        OSError: not an image, or damaged.
        ValueError: a colour mask whose channels differ, or values above 255.
    """
    return ids_of(files.read(name), name)


def ids_of(data: bytes, name: str) -> np.ndarray:
    """As `read_ids`, for an encoded mask that stands inside another file; `name` says where in errors."""
    if not data:
        raise OSError(f"{name} is empty")
    try:
        with Image.open(io.BytesIO(data)) as image:
            mode, pixels = image.mode, np.asarray(image)
    except IMAGE_ERRORS as error:
        raise OSError(f"{name} is damaged: {error}") from error
    if mode not in ID_MODES + COLOUR_MODES:
        raise ValueError(f"{name} has pixels of mode {mode}: expected grey or palette ids")
    if mode in COLOUR_MODES:
        pixels = _only_channel(pixels, mode, name)
    if pixels.size and (pixels.max() > MAX_ID or pixels.min() < 0):
        raise ValueError(f"{name} has values {pixels.min()} to {pixels.max()}: expected 0 to {MAX_ID}")
    return pixels.astype(np.uint8)


def _only_channel(pixels: np.ndarray, mode: str, name: str) -> np.ndarray:
    """The channel of an RGB, RGBA or LA mask whose colour channels are all equal."""
    colours = pixels[..., : 1 if mode == "LA" else 3]
    if (colours == colours[..., :1]).all():
        return colours[..., 0]
    seen = np.unique(colours.reshape(-1, colours.shape[-1]), axis=0)[:8].tolist()
    raise ValueError(f"{name} is a colour mask ({mode}, first colours {seen}): expected grey or palette ids")


def binary_mask(pixels: np.ndarray, above: int = 0) -> np.ndarray:
    """(H, W) uint8 of 0 and 1: 1 where a pixel is above this value."""
    return (pixels > above).astype(np.uint8)


def fit_mask(mask: np.ndarray, size: tuple[int, int], name: str, notes: Notes) -> np.ndarray:
    """Resize a mask to its image's (width, height) by the nearest pixel, and count that it had to be."""
    height, width = mask.shape
    if (width, height) == size:
        return mask
    notes.add("mask resized to its image", name, f"{width} x {height} to {size[0]} x {size[1]}")
    return np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))


def stored_mask(mask: np.ndarray) -> StoredImage:
    """Value of a mask column: a PNG of mode L with exactly these values.

    Args:
        mask: (H, W) uint8.

    Raises:
        ValueError: an array of another form.
    """
    if mask.ndim != 2 or mask.dtype != np.uint8:
        raise ValueError(f"a mask must be (H, W) uint8, got {mask.shape} {mask.dtype}")
    return {"path": None, "bytes": cv2.imencode(".png", mask, PNG_OPTIONS)[1].tobytes()}


__all__ = [
    "IMAGE_ERRORS",
    "IMAGE_SUFFIXES",
    "StoredImage",
    "binary_mask",
    "checked_bytes",
    "checked_image",
    "fit_mask",
    "ids_of",
    "is_image_name",
    "read_ids",
    "stored_image",
    "stored_mask",
]
