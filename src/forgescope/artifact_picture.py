"""A photograph with its artifacts and a legend that says what each of them is."""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from forgescope.processing.grounded_explanation import GroundedArtifact

from .phrase_overlay import draw_number, draw_phrases

# Pixels of the longer side of the photograph in the picture: larger ones are reduced, smaller ones enlarged.
LONGEST_EDGE, SHORTEST_EDGE = 1600, 640
# Width of a legend beside the photograph; one below it is as wide as the photograph, and at least this.
LEGEND_WIDTH = 560
MARGIN = 16
FONT_SIZE, TITLE_SIZE, NUMBER_SIZE = 17, 20, 15
ROW = 24
SWATCH = 24
GROUND, INK, QUIET = (255, 255, 255), (0, 0, 0), (70, 70, 70)
NO_ARTIFACT = "No artifact is named."
NOT_MARKED = "(no pixel is marked)"
NO_EXPLANATION = "no explanation"
NO_PHRASE = "a region without a name"


def draw_artifacts(photo: Image.Image, phrases: Sequence[GroundedArtifact], title: str) -> Image.Image:
    """Draw artifacts over a photograph, with a legend: below it, or to the right of one that is higher than wide.

    Args:
        photo: mode RGB.
        phrases: its artifacts; numbers are their places, 1 for the first.
        title: first line of the legend, such as the verdict.

    Returns:
        Mode RGB. The photograph is reduced or enlarged, so that texts are readable in every picture.
    """
    shown = _drawn(photo, phrases)
    upright = shown.height > shown.width
    width = LEGEND_WIDTH if upright else max(shown.width, LEGEND_WIDTH)
    legend = _legend(phrases, title, width)
    if upright:
        size = (shown.width + width, max(shown.height, legend.height))
    else:
        size = (width, shown.height + legend.height)
    picture = Image.new("RGB", size, GROUND)
    picture.paste(shown, (0, 0))
    picture.paste(legend, (shown.width, 0) if upright else (0, shown.height))
    return picture


def _drawn(photo: Image.Image, phrases: Sequence[GroundedArtifact]) -> Image.Image:
    longest = max(photo.size)
    factor = min(max(longest, SHORTEST_EDGE), LONGEST_EDGE) / longest
    size = (max(1, round(photo.width * factor)), max(1, round(photo.height * factor)))
    shown = photo.resize(size, Image.Resampling.LANCZOS)
    return draw_phrases(shown, {number: _resized(one.mask, size) for number, one in enumerate(phrases, start=1)})


def _resized(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A mask at another size (width, height); the smallest region is still seen."""
    if size[0] >= mask.shape[1]:
        return cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST)
    return (cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0).astype(np.uint8)


def _legend(phrases: Sequence[GroundedArtifact], title: str, width: int) -> Image.Image:
    """Title, then number, phrase and explanation of each artifact."""
    font, large = ImageFont.load_default(FONT_SIZE), ImageFont.load_default(TITLE_SIZE)
    inset = MARGIN + SWATCH + MARGIN // 2
    entries = []
    for one in phrases:
        explained = f"{one.explanation or NO_EXPLANATION}{'' if one.mask.any() else f' {NOT_MARKED}'}"
        texts = one.phrase or NO_PHRASE, explained
        entries.append([list(wrapped(text, font, width - inset - MARGIN)) for text in texts])
    titles = list(wrapped(title, large, width - 2 * MARGIN))
    rows = sum(len(lines) for entry in entries for lines in entry) + (0 if phrases else 1)
    height = 2 * MARGIN + (len(titles) + rows) * ROW + (len(entries) + 1) * (MARGIN // 2)
    legend = Image.new("RGB", (width, height), GROUND)
    draw, top = ImageDraw.Draw(legend), MARGIN
    for row in titles:
        draw.text((MARGIN, top), row, fill=INK, font=large)
        top += ROW
    if not phrases:
        draw.text((MARGIN, top + MARGIN // 2), NO_ARTIFACT, fill=QUIET, font=font)
    for number, (names, said) in enumerate(entries, start=1):
        top += MARGIN // 2
        draw_number(draw, (MARGIN, top, MARGIN + SWATCH, top + SWATCH), number, NUMBER_SIZE)
        for line, ink in [*((name, INK) for name in names), *((line, QUIET) for line in said)]:
            draw.text((inset, top), line, fill=ink, font=font)
            top += ROW
    return legend


def wrapped(text: str, font: "ImageFont.FreeTypeFont | ImageFont.ImageFont", width: int) -> Iterator[str]:
    """Break a text into lines of at most `width` pixels, a word that is wider too."""
    line = ""
    for word in text.split():
        longer = f"{line} {word}" if line else word
        if font.getlength(longer) <= width:
            line = longer
            continue
        if line:
            yield line
        while font.getlength(word) > width and len(word) > 1:
            fits = next(
                count for count in range(len(word), 0, -1) if count == 1 or font.getlength(word[:count]) <= width
            )
            yield word[:fits]
            word = word[fits:]
        line = word
    if line:
        yield line
