"""Artifacts drawn over a photograph: one colour and one number a phrase."""

import math
from collections.abc import Iterator, Mapping

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from forgescope.refinement.strip import COLORS

from .overlay import bands, line_width, tinted, widened

FILL_OPACITY = 0.25
THINNEST_LINE = 2
# Around the line in the phrase's colour, so that it is seen on a ground of the same colour.
HALO_COLOR = (0, 0, 0)
# Height of a number: one pixel for this many of the mean edge, and readable in a small picture.
PIXELS_FOR_NUMBER_HEIGHT = 40
SMALLEST_NUMBER = 12
# Side of a number's square, in heights of the number.
LABEL_SIDE = 1.5
# Pixels between the middle of a number and the nearest edge of its region, in sides of its square.
ROOM = 0.75
# Places of numbers are looked for in a picture of this longer edge: distances in a large one take seconds.
SEARCH_EDGE = 768
Color = tuple[int, int, int]
Box = tuple[int, int, int, int]


def phrase_color(number: int) -> Color:
    """Return the colour of the phrase with a number, 1 for the first; the same as in the strip of a refinement."""
    return COLORS[(number - 1) % len(COLORS)]


def draw_phrases(photo: Image.Image, masks: Mapping[int, np.ndarray]) -> Image.Image:
    """Draw the masks of phrases over a photograph: tinted, outlined and numbered in the colour of each.

    Args:
        photo: mode RGB.
        masks: number of a phrase, 1 for the first -> its mask, (H, W) uint8, 1 = artifact.

    Returns:
        A new image of mode RGB; equal to the photograph when all masks are empty.

    Raises:
        ValueError: a mask and the photograph differ in size.
    """
    for mask in masks.values():
        if mask.shape != (photo.height, photo.width):
            raise ValueError(
                f"expected masks of {photo.width} x {photo.height}, got {mask.shape[1]} x {mask.shape[0]}"
            )
    marked = {number: mask for number, mask in masks.items() if mask.any()}
    picture, line = photo.copy(), max(THINNEST_LINE, line_width((photo.height, photo.width)))
    # small ones last, so that large ones do not hide their lines
    for number in sorted(marked, key=lambda number: -int(marked[number].sum())):
        _draw_region(picture, marked[number], phrase_color(number), line)
    height = max(SMALLEST_NUMBER, round(math.sqrt(photo.width * photo.height) / PIXELS_FOR_NUMBER_HEIGHT))
    draw = ImageDraw.Draw(picture)
    for number, place in label_places(marked, round(LABEL_SIDE * height)).items():
        draw_number(draw, place, number, height)
    return picture


def draw_number(draw: ImageDraw.ImageDraw, box: Box, number: int, height: int) -> None:
    """Draw a phrase's number into a square of its colour.

    Args:
        draw: of the picture.
        box: left, top, right, bottom of the square; the last two are exclusive.
        number: of the phrase, 1 for the first.
        height: of the number, pixels.
    """
    left, top, right, bottom = box
    draw.rectangle((left, top, right - 1, bottom - 1), fill=phrase_color(number), outline=HALO_COLOR)
    middle = ((left + right - 1) / 2, (top + bottom - 1) / 2)
    # black is readable on all of the colours
    draw.text(middle, str(number), fill=HALO_COLOR, font=ImageFont.load_default(height), anchor="mm")


def label_places(masks: Mapping[int, np.ndarray], side: int) -> dict[int, Box]:
    """Find a square for the number of each phrase: within its region, or beside one that is too small to show both.

    Args:
        masks: number -> mask, (H, W) uint8, not empty; all of one size.
        side: of the square, pixels.

    Returns:
        Number -> left, top, right, bottom, within the picture, if it is not smaller than the square. Squares overlap
        only where there is no other room.
    """
    taken: list[Box] = []
    places = {}
    for number in sorted(masks, key=lambda number: int(masks[number].sum())):
        height, width = masks[number].shape
        others = [mask for other, mask in masks.items() if other != number]
        boxes = [_within(box, width, height) for box in _candidates(masks[number], others, side)]
        places[number] = next((box for box in boxes if not any(_overlap(box, one) for one in taken)), boxes[0])
        taken.append(places[number])
    return places


def _draw_region(picture: Image.Image, mask: np.ndarray, color: Color, line: int) -> None:
    outline, halo = widened(mask, line), widened(mask, 2 * line)
    for box, part in bands(halo):
        picture.paste(tinted(picture.crop(box), color, FILL_OPACITY), box, Image.fromarray(mask[part] * 255))
        picture.paste(HALO_COLOR, box, Image.fromarray((halo[part] - outline[part]) * 255))
        picture.paste(color, box, Image.fromarray((outline[part] - mask[part]) * 255))


def _candidates(mask: np.ndarray, others: list[np.ndarray], side: int) -> Iterator[Box]:
    """Squares for a number, the best first: within the region, beside it, over it."""
    height, width = mask.shape
    factor = min(1.0, SEARCH_EDGE / max(mask.shape))
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    own, *small = (cv2.resize(one, size, interpolation=cv2.INTER_NEAREST) for one in (mask, *others))
    taken = np.bitwise_or.reduce([np.zeros_like(own), *small])
    for region in (own & ~taken, own):
        # some of the region is left to see around the square
        if (middle := _middle(region, ROOM * side * factor)) is not None:
            yield _square(round(middle[0] / factor), round(middle[1] / factor), side)
    left, top, wide, high = cv2.boundingRect(mask)
    x, y, far = left + wide // 2, top + high // 2, side * 3 // 4
    places = ((x, top - far), (left + wide + far, y), (x, top + high + far), (left - far, y))
    beside = [box for place in places if (box := _square(*place, side)) == _within(box, width, height)]
    # a number in another region would be read as that region's
    yield from sorted(beside, key=lambda box: taken[tuple(_slices(box, factor))].mean() > 0)
    yield _square(x, y, side)


def _slices(box: Box, factor: float) -> Iterator[slice]:
    """Rows and columns of a square in a picture reduced by a factor, one pixel at least."""
    for first, last in ((box[1], box[3]), (box[0], box[2])):
        start = int(first * factor)
        yield slice(start, max(start + 1, math.ceil(last * factor)))


def _square(x: int, y: int, side: int) -> Box:
    left, top = x - side // 2, y - side // 2
    return left, top, left + side, top + side


def _middle(region: np.ndarray, reach: float) -> tuple[int, int] | None:
    """The point (x, y) that is farthest from the region's edges; None where they are nearer than `reach`."""
    distances = cv2.distanceTransform(cv2.copyMakeBorder(region, 1, 1, 1, 1, cv2.BORDER_CONSTANT), cv2.DIST_L2, 3)
    y, x = np.unravel_index(int(distances.argmax()), distances.shape)
    return (int(x) - 1, int(y) - 1) if distances[y, x] > reach else None


def _within(box: Box, width: int, height: int) -> Box:
    left = max(0, min(box[0], width - (box[2] - box[0])))
    top = max(0, min(box[1], height - (box[3] - box[1])))
    return left, top, left + box[2] - box[0], top + box[3] - box[1]


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
