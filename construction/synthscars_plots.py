"""Pictures of the clusters: a row of drawn images each, framed in the colour of what became of them."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont, ImageOps

from .image_folder import write_atomically
from .synthscars_filter import Label

CLUSTERS_A_SHEET = 20
COLUMNS = 10
TILE = 128  # pixels
FRAME = 4
MARGIN = 8
LINE = 20
TEXT_SIZE = 13
BACKGROUND = (250, 250, 250)
EMPTY = (225, 225, 225)
TEXT_COLOUR = (30, 30, 30)
NO_LABEL = "no label"
COLOURS = {
    Label.ACCEPTABLE.value: (34, 130, 60),
    Label.CLARITY.value: (220, 150, 0),
    Label.SAFETY.value: (190, 30, 30),
    Label.REALISM.value: (60, 90, 200),
    NO_LABEL: (130, 130, 130),
}

ReadIndex = Callable[[int], Image.Image]


def save_sheets(
    folder: Path,
    clusters: list[dict[str, Any]],
    rows: list[dict[str, Any]],
    rejects: list[dict[str, Any]],
    read: ReadIndex,
) -> list[Path]:
    """Write clusters-1.png, clusters-2.png, ..., twenty clusters each.

    Only images that the model calls safe are shown; of other drawn ones there is the frame alone.

    Args:
        folder: where the pictures go.
        clusters: of clusters.jsonl.
        rows: of metadata.jsonl.
        rejects: of rejects.jsonl.
        read: gives the image (PIL RGB) with an index, or raises ValueError or OSError.

    Returns:
        The written files.
    """
    labels = {row["index"]: row["curation"] for row in rows}
    labels |= {row["index"]: row["reason"] for row in rejects if row["criteria"]}
    safe = {row["index"] for row in rows} | {
        row["index"] for row in rejects if row["criteria"] and row["criteria"]["safety"]
    }
    numbers = sorted({row["cluster"] for row in clusters})
    written = []
    for start in range(0, len(numbers), CLUSTERS_A_SHEET):
        groups = [
            [row for row in clusters if row["cluster"] == number] for number in numbers[start:][:CLUSTERS_A_SHEET]
        ]
        buffer = io.BytesIO()
        draw_sheet(groups, labels, safe, read).save(buffer, "PNG")
        written.append(folder / f"clusters-{start // CLUSTERS_A_SHEET + 1}.png")
        write_atomically(written[-1], buffer.getvalue())
    return written


def draw_sheet(
    groups: list[list[dict[str, Any]]], labels: dict[int, str], safe: set[int], read: ReadIndex
) -> Image.Image:
    """Draw clusters below each other, under a legend of the colours.

    Args:
        groups: rows of clusters.jsonl of each cluster.
        labels: of images, by index; those without one are grey.
        safe: indices of the images that may be shown.
        read: see `save_sheets`.

    Returns:
        RGB picture.
    """
    height = LINE + TILE + MARGIN
    size = (COLUMNS * (TILE + MARGIN) + MARGIN, LINE + 2 * MARGIN + len(groups) * height)
    sheet = Image.new("RGB", size, BACKGROUND)
    _draw_legend(ImageDraw.Draw(sheet))
    for place, group in enumerate(groups):
        top = LINE + 2 * MARGIN + place * height
        drawn = [row["index"] for row in group if row["drawn"]]
        kept = sum(labels.get(index) == Label.ACCEPTABLE.value for index in drawn)
        text = f"cluster {group[0]['cluster']}: {len(group)} images, {len(drawn)} drawn, {kept} kept"
        _write(ImageDraw.Draw(sheet), (MARGIN, top), text)
        columns = min(COLUMNS, len(drawn))
        for column in range(columns):
            index = drawn[column * len(drawn) // columns]
            tile = _tile(read if index in safe else None, index, labels.get(index, NO_LABEL))
            sheet.paste(tile, (MARGIN + column * (TILE + MARGIN), top + LINE))
    return sheet


def _tile(read: ReadIndex | None, index: int, label: str) -> Image.Image:
    """A square with an image and its frame; None shows the frame alone."""
    tile = Image.new("RGB", (TILE, TILE), EMPTY)
    try:
        shown = None if read is None else ImageOps.contain(read(index), (TILE, TILE))
    except (ValueError, OSError):  # it could be read when its features were computed
        shown = None
    if shown is None:
        _write(ImageDraw.Draw(tile), (TILE // 2, TILE // 2), "not shown", anchor="mm")
    else:
        tile.paste(shown, ((TILE - shown.width) // 2, (TILE - shown.height) // 2))
    ImageDraw.Draw(tile).rectangle((0, 0, TILE - 1, TILE - 1), outline=COLOURS[label], width=FRAME)
    return tile


def _draw_legend(draw: ImageDraw.ImageDraw) -> None:
    left = MARGIN
    for name, colour in COLOURS.items():
        draw.rectangle((left, MARGIN, left + LINE - 6, MARGIN + LINE - 6), fill=colour)
        _write(draw, (left + LINE, MARGIN), name)
        left += 2 * LINE + int(draw.textlength(name, ImageFont.load_default(TEXT_SIZE)))


def _write(draw: ImageDraw.ImageDraw, place: tuple[int, int], text: str, anchor: str = "la") -> None:
    draw.text(place, text, TEXT_COLOUR, ImageFont.load_default(TEXT_SIZE), anchor=anchor)


__all__ = ["draw_sheet", "save_sheets"]
