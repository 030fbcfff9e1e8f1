"""The one place where a file becomes a photograph: RGB, upright, first frame, with notes on what was changed."""

import os
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from PIL import Image, ImageFile, PngImagePlugin, UnidentifiedImageError

from forgescope.processing.image_conversion import has_alpha, orientation_of, to_upright_rgb

# Formats of photographs. Others that Pillow opens are left out: EPS starts an interpreter, TGA matches any bytes.
READABLE_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "JPEG2000", "PPM", "ICO", "QOI")
FORMAT_SUFFIXES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "MPO": (".jpg", ".jpeg", ".mpo"),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp", ".dib"),
    "AVIF": (".avif",),
    "JPEG2000": (".jp2", ".j2k", ".jpf", ".jpx"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "ICO": (".ico",),
    "QOI": (".qoi",),
}
IMAGE_SUFFIXES = frozenset(suffix for suffixes in FORMAT_SUFFIXES.values() for suffix in suffixes)
ANIMATION_FORMATS = ("GIF", "WEBP", "PNG", "AVIF")
# Where Pillow itself refuses with its default settings: twice its MAX_IMAGE_PIXELS, 0.25 GB of three-byte pixels each.
DEFAULT_MAX_PIXELS = 2 * (1024**3 // 4 // 3)
# Below the stride of the encoders a whole photograph falls into one feature.
SMALLEST_EDGE = 32
# Bytes of compressed text in a PNG file, unpacked. Pillow stops at 1 MB, and workflows of image generators can be
# larger; all texts of a file together stay under its limit of 64 MB.
LONGEST_PNG_TEXT = PngImagePlugin.MAX_TEXT_MEMORY
# The limits of Pillow are module globals: they are changed under this lock, and restored.
_PIL_SETTINGS = threading.RLock()


class ImageReadError(ValueError):
    """A file or image that cannot be examined; the message is one sentence."""


@dataclass(frozen=True)
class ReadImage:
    """A photograph as displayed.

    Args:
        image: mode RGB, uint8, EXIF orientation applied.
        notes: one sentence for each thing that was changed on the way or that the reader should know.
    """

    image: Image.Image
    notes: tuple[str, ...] = ()


def read_image(path: str | os.PathLike, max_pixels: int = DEFAULT_MAX_PIXELS) -> ReadImage:
    """Read one file.

    Args:
        path: image file; its content decides what it is, not its name.
        max_pixels: width x height from which a file counts as a decompression bomb and is not decoded.

    Returns:
        The upright RGB image, with notes.

    Raises:
        ImageReadError: missing, a folder, empty, no image, truncated, too large, or not decodable.
    """
    with open_image(path, max_pixels) as opened:
        notes = _file_notes(opened, Path(path))
        opened.load()
        image = to_upright_rgb(opened)
    return ReadImage(image, (*notes, *_small_note(image)))


@contextmanager
def open_image(path: str | os.PathLike, max_pixels: int = DEFAULT_MAX_PIXELS) -> Iterator[Image.Image]:
    """Open one file without decoding its pixels.

    Args:
        path: image file.
        max_pixels: see `read_image`.

    Yields:
        The image as Pillow opens it; what goes wrong with it inside the block is an ImageReadError too.

    Raises:
        ImageReadError: as `read_image`.
    """
    path = Path(path)
    _check_file(path)
    try:
        with open(path, "rb") as file, _pil_settings(max_pixels), _opened(file, path, max_pixels) as image:
            yield image
    except OSError as error:
        raise ImageReadError(f"{path}: the file cannot be read ({error.strerror or error})") from error


def as_read_image(image: Image.Image) -> ReadImage:
    """Bring an image in memory to the same form as a file.

    Raises:
        ImageReadError: not a PIL image, or pixels that cannot be converted to RGB.
    """
    if not isinstance(image, Image.Image):
        raise ImageReadError(f"expected a path or a PIL image, got {type(image).__name__}: use PIL.Image.fromarray")
    if not image.width or not image.height:
        raise ImageReadError(f"expected at least one pixel, got an image of {image.width} x {image.height}")
    try:
        notes = _conversion_notes(image)
        upright = to_upright_rgb(image)
    except (ValueError, OSError) as error:
        raise ImageReadError(f"image of mode {image.mode} cannot be converted to RGB: {error}") from error
    return ReadImage(upright, (*notes, *_small_note(upright)))


def _check_file(path: Path) -> None:
    try:
        if path.is_dir():
            os.scandir(path).close()  # one that cannot be listed fails here, with the reason
            raise ImageReadError(f"{path}: expected an image file, got a folder")
        if not path.exists():
            hint = " (a broken link)" if path.is_symlink() else ""
            raise ImageReadError(f"{path}: no such file{hint}")
        if not path.is_file():
            raise ImageReadError(f"{path}: expected an image file, got a device, pipe or socket")
        if path.stat().st_size == 0:
            raise ImageReadError(f"{path}: the file is empty (0 bytes)")
    except OSError as error:
        raise ImageReadError(f"{path}: {error.strerror or error}") from error


@contextmanager
def _pil_settings(max_pixels: int) -> Iterator[None]:
    """Let `max_pixels` decide on bombs and refuse truncated data, whatever the process has set; restored after."""
    with _PIL_SETTINGS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limit, truncated = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
        text = PngImagePlugin.MAX_TEXT_CHUNK
        Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = max_pixels, False
        PngImagePlugin.MAX_TEXT_CHUNK = LONGEST_PNG_TEXT
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = limit, truncated
            PngImagePlugin.MAX_TEXT_CHUNK = text


@contextmanager
def _opened(file: BinaryIO, path: Path, max_pixels: int) -> Iterator[Image.Image]:
    Image.init()
    try:
        with Image.open(file, formats=[name for name in READABLE_FORMATS if name in Image.OPEN]) as image:
            if image.width * image.height > max_pixels:
                raise _bomb(path, f"{image.width} x {image.height} pixels", max_pixels)
            yield image
    except ImageReadError:
        raise
    except Image.DecompressionBombError as error:
        raise _bomb(path, "the image", max_pixels) from error
    except MemoryError as error:
        raise ImageReadError(f"{path}: not enough memory to decode the image") from error
    except Exception as error:  # Pillow's decoders raise nearly any type on damaged data, and a folder must go on
        raise ImageReadError(f"{path}: {_reason(error, path)}") from error


def _bomb(path: Path, what: str, max_pixels: int) -> ImageReadError:
    return ImageReadError(
        f"{path}: {what} exceeds the limit of {max_pixels} pixels (decompression bomb?): "
        "raise max_pixels if you trust the file"
    )


def _reason(error: Exception, path: Path) -> str:
    """Say in half a sentence why a file cannot be decoded."""
    text = str(error).lower()
    with open(path, "rb") as file:
        head = file.read(16)
    if "truncated" in text or "broken data stream" in text or isinstance(error, EOFError) or _webp_cut(head, path):
        return "the image is truncated: the file ends before its data do"
    if head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"mif1", b"msf1", b"heim", b"hevc"):
        return "HEIC images cannot be read: convert it to JPEG or PNG"
    if head[4:12] == b"ftypavif":
        return "the AVIF image is truncated or damaged"
    if isinstance(error, UnidentifiedImageError):
        return "not an image: the content is of no known format (" + ", ".join(READABLE_FORMATS) + ")"
    return f"the image cannot be decoded ({error})"


def _webp_cut(head: bytes, path: Path) -> bool:
    """Say whether a WebP file is shorter than its header tells; Pillow only says that it has no decoder."""
    if head[:4] != b"RIFF" or len(head) < 12:
        return False
    return struct.unpack("<I", head[4:8])[0] + 8 > path.stat().st_size


def _file_notes(image: Image.Image, path: Path) -> list[str]:
    notes = []
    name = image.format or "unknown"
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES and suffix not in FORMAT_SUFFIXES.get(name, ()):
        notes.append(f"The file is {name} although its name ends in {path.suffix}.")
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and name in ANIMATION_FORMATS:
        notes.append(f"Animation of {frames} frames: only the first frame was examined.")
    elif frames > 1:
        notes.append(f"The file holds {frames} pictures: only the first was examined.")
    return notes + _conversion_notes(image)


def _conversion_notes(image: Image.Image) -> list[str]:
    notes = []
    orientation = orientation_of(image)
    if orientation != 1:
        notes.append(f"Turned upright as its EXIF orientation ({orientation}) says.")
    if image.mode.startswith("I") or any(";16" in str(tile) for tile in getattr(image, "tile", ())):
        notes.append("16 bits a channel were scaled to 8.")
    if image.mode == "CMYK":
        notes.append("CMYK colours were converted to RGB.")
    if image.mode in ("P", "PA"):
        notes.append("Palette colours were converted to RGB.")
    if has_alpha(image):
        notes.append("Transparency was composited on white.")
    return notes


def _small_note(image: Image.Image) -> tuple[str, ...]:
    if min(image.size) >= SMALLEST_EDGE:
        return ()
    return (
        f"Only {image.width} x {image.height} pixels: with an edge below {SMALLEST_EDGE} the verdict is inconclusive.",
    )
