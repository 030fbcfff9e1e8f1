"""One picture of examples from all over a corpus, with the outlines of their masks."""

import io
from collections import defaultdict
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from .corpus import CorpusBuilder
from .features import LABEL_NAMES, turned_upright
from .load import corpus_builder
from .notes import Notes
from .pixels import IMAGE_ERRORS

EXAMPLES = 24
COLUMNS = 6
TILE = 240  # pixels
MARGIN = 10
LINE = 17
BACKGROUND = (250, 250, 250)
TEXT_COLOUR = (30, 30, 30)
DIM_COLOUR = (110, 110, 110)
LABEL_COLOURS = {"real": (34, 120, 60), "fake": (190, 40, 40)}
# Colours of mask values 1, 2, ...; more than these repeat.
MASK_COLOURS = (
    (255, 45, 45),
    (255, 190, 0),
    (0, 190, 255),
    (190, 70, 255),
    (70, 230, 90),
    (255, 120, 200),
    (255, 255, 90),
    (90, 120, 255),
)
MASK_OPACITY = 0.35
OUTLINE = 2
# Rows looked at of each piece of a split, to find examples of every source and label.
ROWS_PER_PIECE = 2

Example = tuple[str, dict[str, Any]]


def contact_sheet(
    name: str,
    data_dir: str | Path,
    config: str | None = None,
    count: int = EXAMPLES,
    columns: int = COLUMNS,
    **options: Any,
) -> Image.Image:
    """Draw examples spread over splits, sources and labels.

    Args:
        name: as in `load_corpus`.
        data_dir: as in `load_corpus`.
        config: as in `load_corpus`.
        count: examples.
        columns: examples side by side.
        **options: as in `load_corpus`.

    Returns:
        RGB picture: each example as displayed, marked pixels tinted and outlined in a colour a mask value; below
        it label, split, source and id. A legend names the colours where masks hold more than one value.

    Raises:
        ValueError: as `load_corpus`.
        FileNotFoundError: as `load_corpus`; no image could be read.
    """
    builder = corpus_builder(name, data_dir, config, hash_files=False, **options)
    examples = pick_examples(builder, count)
    if not examples:
        raise FileNotFoundError(f"{data_dir} holds no image of {builder.CARD.title} that can be read")
    return draw_sheet(examples, columns, builder.mask_ids())


def pick_examples(builder: CorpusBuilder, count: int) -> list[Example]:
    """Split and row of examples: in turns from every combination of split, source and label that is seen.

    A few rows of each piece of work are looked at, not the whole corpus. Rows without an image are passed over.
    """
    found: defaultdict[tuple[str, str, str], list[Example]] = defaultdict(list)
    notes = Notes()
    for split, pieces in builder.splits(notes).items():
        for piece in pieces:
            for row in islice(builder.rows(piece, notes), ROWS_PER_PIECE):
                if row["image"] is not None:
                    found[split, str(row["source"]), _label_name(row["label"])].append((split, row))
    groups = [examples for _, examples in sorted(found.items())]
    chosen = []
    for examples, share in zip(groups, _shares([len(examples) for examples in groups], count), strict=True):
        chosen += [examples[place * len(examples) // share] for place in range(share)]
    return chosen


def draw_sheet(examples: list[Example], columns: int = COLUMNS, mask_ids: dict[int, str] | None = None) -> Image.Image:
    """Draw examples as one RGB picture, sorted by split, source and label.

    Args:
        examples: split and row, as `pick_examples` gives them.
        columns: examples side by side.
        mask_ids: names of mask values, for the legend; without any, there is none.
    """
    ordered = sorted(examples, key=lambda one: (one[0], str(one[1]["source"]), _label_name(one[1]["label"])))
    columns = min(columns, len(ordered))
    lines = -(-len(ordered) // columns)
    cell = TILE + MARGIN, TILE + 2 * LINE + MARGIN
    legend = {value: name for value, name in (mask_ids or {}).items() if value > 0}
    height = lines * cell[1] + MARGIN + (LINE + MARGIN if legend else 0)
    sheet = Image.new("RGB", (columns * cell[0] + MARGIN, height), BACKGROUND)
    for place, (split, row) in enumerate(ordered):
        left, top = MARGIN + place % columns * cell[0], MARGIN + place // columns * cell[1]
        sheet.paste(_tile(row), (left, top))
        _caption(ImageDraw.Draw(sheet), (left, top + TILE + 2), split, row)
    _draw_legend(ImageDraw.Draw(sheet), (MARGIN, height - LINE - MARGIN), legend)
    return sheet


def overlay(image: Image.Image, mask: Image.Image) -> Image.Image:
    """Tint and outline the non-zero pixels of a mask.

    Args:
        image: RGB.
        mask: mode L, of any size; fitted to the image by the nearest pixel.
    """
    ids = np.asarray(mask.resize(image.size, Image.Resampling.NEAREST))
    pixels = np.array(image)
    for value in np.unique(ids[ids > 0]).tolist():
        colour = np.array(_colour(value))
        region = ids == value
        pixels[region] = (pixels[region] * (1 - MASK_OPACITY) + colour * MASK_OPACITY).astype(np.uint8)
        outlines, _ = cv2.findContours(region.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        pixels = cv2.drawContours(pixels, outlines, -1, colour.tolist(), OUTLINE)
    return Image.fromarray(pixels)


def _shares(sizes: list[int], count: int) -> list[int]:
    """How many to take of groups of these sizes, in turns, until there are enough."""
    shares = [0] * len(sizes)
    while sum(shares) < min(count, sum(sizes)):
        for place, size in enumerate(sizes):
            if shares[place] < size and sum(shares) < count:
                shares[place] += 1
    return shares


def _label_name(label: Any) -> str:
    if label is None:
        return "no label"
    return label if isinstance(label, str) else LABEL_NAMES[label]


def _tile(row: dict[str, Any]) -> Image.Image:
    """A square with the example in its middle; grey where the image cannot be decoded."""
    tile = Image.new("RGB", (TILE, TILE), (235, 235, 235))
    try:
        shown = ImageOps.contain(turned_upright(_open(row["image"])).convert("RGB"), (TILE, TILE))
        if row["mask"] is not None:
            shown = overlay(shown, _open(row["mask"]))
    except IMAGE_ERRORS:
        ImageDraw.Draw(tile).text((TILE // 2, TILE // 2), "cannot be decoded", DIM_COLOUR, _font(13), anchor="mm")
        return tile
    tile.paste(shown, ((TILE - shown.width) // 2, (TILE - shown.height) // 2))
    return tile


def _open(value: dict[str, Any]) -> Image.Image:
    return Image.open(value["path"] if value["bytes"] is None else io.BytesIO(value["bytes"]))


def _caption(draw: ImageDraw.ImageDraw, place: tuple[int, int], split: str, row: dict[str, Any]) -> None:
    label = _label_name(row["label"])
    left, top = place
    font = _font(13)
    draw.text((left, top), label, LABEL_COLOURS.get(label, DIM_COLOUR), font)
    rest = f"  {split}, {row['source']}"
    draw.text((left + draw.textlength(label, font), top), _fitting(draw, rest, TILE - 40, font), TEXT_COLOUR, font)
    small = _font(11)
    draw.text((left, top + LINE), _fitting(draw, str(row["id"]), TILE, small, end=True), DIM_COLOUR, small)


def _draw_legend(draw: ImageDraw.ImageDraw, place: tuple[int, int], names: dict[int, str]) -> None:
    left, top = place
    for value, name in names.items():
        draw.rectangle((left, top + 2, left + LINE - 5, top + LINE - 3), fill=_colour(value))
        draw.text((left + LINE, top), f"{value} {name}", TEXT_COLOUR, _font(13))
        left += LINE + int(draw.textlength(f"{value} {name}", _font(13))) + 2 * MARGIN


def _colour(value: int) -> tuple[int, int, int]:
    """Colour of a mask value from 1."""
    return MASK_COLOURS[(value - 1) % len(MASK_COLOURS)]


def _fitting(draw: ImageDraw.ImageDraw, text: str, width: int, font: Any, end: bool = False) -> str:
    """Text cut to a width, at its beginning where the end matters."""
    cut = text
    while cut and draw.textlength(f"…{cut}" if cut != text else cut, font) > width:
        cut = cut[1:] if end else cut[:-1]
    return text if cut == text else f"…{cut}" if end else f"{cut}…"


def _font(size: int) -> Any:
    return ImageFont.load_default(size)


__all__ = ["contact_sheet", "draw_sheet", "overlay", "pick_examples"]
