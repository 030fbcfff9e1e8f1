"""What cameras, editors and image generators write beside the pixels: PNG text, EXIF, XMP, IPTC and comments."""

import os
import struct
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Any

from PIL import ExifTags, Image
from PIL.IptcImagePlugin import getiptcinfo

# Values are cut to this many characters: prompts and workflows can have millions.
LONGEST_TEXT = 2000
LONGEST_KEY = 80
MOST_ENTRIES = 40
# Bytes; larger XMP is not parsed.
LARGEST_XMP = 1_000_000
# How `read_provenance` is completed where a library is missing.
INSTALL = 'pip install "forgescope[provenance]"'

EXIF_TAGS = (
    ExifTags.Base.Software,
    ExifTags.Base.Artist,
    ExifTags.Base.ImageDescription,
    ExifTags.Base.Copyright,
    ExifTags.Base.XPComment,
)
# ComfyUI writes `prompt:{...}` and `workflow:{...}` here into WebP files; a camera's name is left out.
BORROWED_EXIF_TAGS = (ExifTags.Base.Make, ExifTags.Base.Model)
# Names of Adobe (xmp, photoshop, stEvt), Dublin Core, EXIF and IPTC; the last four are those of IPTC 2025.1 for
# generated images.
XMP_NAMES = (
    "CreatorTool",
    "DigitalSourceType",
    "Credit",
    "softwareAgent",
    "creator",
    "description",
    "UserComment",
    "AISystemUsed",
    "AISystemVersionUsed",
    "AIPromptInformation",
    "AIPromptWriterName",
)
# Record and dataset of IPTC IIM 4.2.
IPTC_NAMES = {
    (2, 5): "ObjectName",
    (2, 40): "SpecialInstructions",
    (2, 65): "OriginatingProgram",
    (2, 70): "ProgramVersion",
    (2, 80): "By-line",
    (2, 105): "Headline",
    (2, 110): "Credit",
    (2, 115): "Source",
    (2, 116): "CopyrightNotice",
    (2, 120): "Caption",
}
# ImageMagick's: EXIF and others as text, of which Pillow reads EXIF, and times of files. XMP is read as such.
SKIPPED_PNG_KEYS = ("Raw profile type", "XML:com.adobe.xmp", "date:")
PNG_SIGNATURE_BYTES = 8
PNG_METADATA_CHUNKS = (b"tEXt", b"zTXt", b"iTXt", b"eXIf")
# EXIF user comments begin with eight bytes that name the characters.
CHARSET_BYTES = 8


def read_metadata(image: Image.Image) -> tuple[dict[str, str], list[str]]:
    """Collect the texts beside the pixels of an opened file.

    Args:
        image: opened from a file; its pixels are decoded only where a PNG file has metadata after them.

    Returns:
        Texts by place and name, such as `PNG parameters` or `EXIF Software`, and notes on what was cut or is damaged.
    """
    found: dict[str, str] = {}
    notes: list[str] = []
    for place, read in READERS.items():
        try:
            for name, value in read(image):
                if text := _text(value):
                    found.setdefault(f"{place} {name[:LONGEST_KEY]}", text)
        except Exception as error:  # parsers raise nearly any type on damaged data, and the examination must go on
            notes.append(f"{place} data cannot be read ({_one_line(error)}).")
    if len(found) > MOST_ENTRIES:
        notes.append(f"{len(found)} texts beside the pixels, of which the first {MOST_ENTRIES} are kept.")
    kept = dict(list(found.items())[:MOST_ENTRIES])
    for name, text in kept.items():
        if len(text) > LONGEST_TEXT:
            notes.append(f"{name}: {len(text)} characters, of which the first {LONGEST_TEXT} are kept.")
    return {name: text[:LONGEST_TEXT] for name, text in kept.items()}, notes


def find_values(tree: Any, name: str) -> Iterator[Any]:
    """Yield what stands under a name anywhere in nested dictionaries and lists, without its `prefix:`."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            if isinstance(key, str) and key.rpartition(":")[2] == name:
                yield value
            else:
                yield from find_values(value, name)
    elif isinstance(tree, list):
        for value in tree:
            yield from find_values(value, name)


def _png_texts(image: Image.Image) -> Iterator[tuple[str, Any]]:
    if image.format != "PNG":
        return
    if _metadata_after_pixels(image):
        image.load()
    for key, value in image.info.items():
        if isinstance(key, str) and isinstance(value, str) and not key.startswith(SKIPPED_PNG_KEYS):
            yield key, value


def _metadata_after_pixels(image: Any) -> bool:
    """Say whether text or EXIF follows the pixels of a PNG file; Pillow finds those only when it decodes them."""
    file, place, after = image.fp, image.fp.tell(), False
    try:
        file.seek(PNG_SIGNATURE_BYTES)
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            if after and kind in PNG_METADATA_CHUNKS:
                return True
            after = after or kind == b"IDAT"
            file.seek(length + 4, os.SEEK_CUR)  # a checksum of four bytes follows
        return False
    finally:
        file.seek(place)


def _exif(image: Image.Image) -> Iterator[tuple[str, Any]]:
    # Pillow would decode the pixels of a PNG file without EXIF, to look behind them; `_png_texts` has done so
    if image.format == "PNG" and not {"exif", "Raw profile type exif"} & image.info.keys():
        return
    exif = image.getexif()
    for tag in EXIF_TAGS:
        value = exif.get(tag)
        if tag == ExifTags.Base.XPComment and isinstance(value, bytes):
            value = value.decode("utf-16-le", errors="replace")
        elif isinstance(value, str):
            value = value.encode("latin-1", errors="replace")  # as Pillow decodes, and many programs write UTF-8
        yield tag.name, value
    for tag in BORROWED_EXIF_TAGS:
        if "{" in str(exif.get(tag)):
            yield tag.name, exif[tag]
    yield "UserComment", _user_comment(exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment))


def _user_comment(value: Any) -> Any:
    """Decode by the first eight bytes; UTF-16 in the byte order that gives more of the commonest characters."""
    if not isinstance(value, bytes):
        return value
    charset, text = value[:CHARSET_BYTES].rstrip(b"\0 "), value[CHARSET_BYTES:]
    if charset != b"UNICODE":
        return text if charset in (b"ASCII", b"JIS", b"") else value
    readings = [text.decode(name, errors="replace") for name in ("utf-16-be", "utf-16-le")]
    return max(readings, key=lambda reading: sum(character.isascii() for character in reading))


def _xmp(image: Image.Image) -> Iterator[tuple[str, Any]]:
    if not image.info.get("xmp"):
        return
    if find_spec("defusedxml") is None:
        raise ImportError(INSTALL)
    if len(image.info["xmp"]) > LARGEST_XMP:
        raise ValueError(f"{len(image.info['xmp'])} bytes, more than {LARGEST_XMP}")
    tree = image.getxmp()
    for name in XMP_NAMES:
        texts = [text for value in find_values(tree, name) for text in _leaves(value)]
        yield name, "; ".join(dict.fromkeys(texts))


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key != "lang":
                yield from _leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner)
    elif isinstance(value, str):
        yield value.strip()


def _iptc(image: Any) -> Iterator[tuple[str, Any]]:
    found = getiptcinfo(image) or {}
    for place, name in IPTC_NAMES.items():
        values = found.get(place, b"")
        yield name, "; ".join(map(_text, values)) if isinstance(values, list) else values


def _comment(image: Image.Image) -> Iterator[tuple[str, Any]]:
    yield f"({image.format})", image.info.get("comment")


def _text(value: Any) -> str:
    """Text of a value, without the zeros that end it; bytes that are not UTF-8 are taken for Latin-1."""
    if isinstance(value, bytes):
        try:
            value = value.decode("utf-8")
        except UnicodeDecodeError:
            value = value.decode("latin-1")
    return "" if value is None else str(value).replace("\0", " ").strip()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


READERS = {"PNG": _png_texts, "EXIF": _exif, "XMP": _xmp, "IPTC": _iptc, "Comment": _comment}
