"""The steps of a run as one strip of pictures: each image with its artifacts outlined and named."""

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .records import Step

# Colours that stay apart for people who do not see red or green (Okabe and Ito); more artifacts begin anew.
COLORS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (213, 94, 0), (204, 121, 167))
HALO_COLOR = (0, 0, 0)
GROUND, INK, QUIET = (255, 255, 255), (0, 0, 0), (96, 96, 96)
CELL = 320  # pixels: images are fitted into a square of this side
GAP = 12
LINE = 2
FONT_SIZE = 14
ROW = 20
# Phrases that are named below an image; the rest is counted.
MOST_NAMED = 6


def draw_strip(steps: Sequence[Step], cell: int = CELL) -> Image.Image:
    """Draw all steps side by side.

    Args:
        steps: at least one.
        cell: side of the square that each image is fitted into, in pixels.

    Returns:
        PIL RGB: n cells wide with gaps of 12 pixels, as high as the highest image and the captions.

    Raises:
        ValueError: no steps.
    """
    if not steps:
        raise ValueError("no steps to draw")
    captions = [_caption(step) for step in steps]
    pictures = [outlined(step, cell) for step in steps]
    below = GAP + max(picture.height for picture in pictures) + GAP // 2
    size = (GAP + len(steps) * (cell + GAP), below + max(map(len, captions)) * ROW + GAP)
    strip = Image.new("RGB", size, GROUND)
    draw, font = ImageDraw.Draw(strip), ImageFont.load_default(FONT_SIZE)
    for place, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        left = GAP + place * (cell + GAP)
        strip.paste(picture, (left, GAP))
        for row, (text, color) in enumerate(caption):
            top = below + row * ROW
            indent = 0
            if color is not None:
                draw.rectangle((left, top + 3, left + 10, top + 13), fill=color, outline=HALO_COLOR)
                indent = 16
            ink = INK if row == 0 else QUIET
            draw.text((left + indent, top), _shortened(text, font, cell - indent), fill=ink, font=font)
    return strip


def outlined(step: Step, cell: int = CELL) -> Image.Image:
    """The image of a step fitted into a square, with one outline a mask, in the colour of its place."""
    factor = cell / max(step.image.size)
    size = max(1, round(step.image.width * factor)), max(1, round(step.image.height * factor))
    pixels = np.array(step.image.resize(size, Image.Resampling.LANCZOS))
    for place, artifact in enumerate(step.artifacts or ()):
        small = cv2.resize(artifact.mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
        region = (small > 0).astype(np.uint8)  # the smallest region is seen too
        line, halo = _widened(region, LINE), _widened(region, LINE + 1)
        pixels[(halo - line) > 0] = HALO_COLOR
        pixels[(line - region) > 0] = _color(place)
    return Image.fromarray(pixels)


def _widened(region: np.ndarray, pixels: int) -> np.ndarray:
    return cv2.dilate(region, np.ones((2 * pixels + 1, 2 * pixels + 1), np.uint8))


def _color(place: int) -> tuple[int, int, int]:
    return COLORS[place % len(COLORS)]


def _caption(step: Step) -> list[tuple[str, tuple[int, int, int] | None]]:
    """Lines below an image, with the colour of the artifact that a line names."""
    artifacts = step.artifacts or ()
    found = f"{len(artifacts)} artifact{'s' * (len(artifacts) != 1)}"
    title = f"{step.number}: {'not examined' if step.artifacts is None else found}"
    if step.preference is not None:
        title += f", preference {step.preference:.3g}"
    named: list[tuple[str, tuple[int, int, int] | None]] = [
        (artifact.phrase, _color(place)) for place, artifact in enumerate(artifacts[:MOST_NAMED])
    ]
    if len(artifacts) > MOST_NAMED:
        named.append((f"and {len(artifacts) - MOST_NAMED} more", None))
    return [(title, None), *named]


def _shortened(text: str, font: "ImageFont.FreeTypeFont | ImageFont.ImageFont", width: int) -> str:
    """A text on one line, cut so that it is at most `width` pixels wide."""
    text = " ".join(text.split())
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}...") > width:
        text = text[:-1]
    return f"{text}..."


__all__ = ["COLORS", "draw_strip", "outlined"]
