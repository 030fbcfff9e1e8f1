"""Masks drawn over a photograph: forged pixels in red or in the colour of their editor, AI-made pixels in blue."""

from collections.abc import Iterator

import cv2
import numpy as np
from PIL import Image

FILL_COLOR = (255, 0, 0)
FILL_OPACITY = 0.35
# Colours of the editors with the ids 1, 2, ...: those that DiffSeg30k's Figure 6 names, the crimson darker, so that it
# stays apart from the red. More editors begin anew.
EDITOR_COLORS = (
    (140, 10, 60),
    (34, 139, 34),
    (255, 255, 0),
    (65, 105, 225),
    (147, 112, 219),
    (0, 128, 128),
    (128, 128, 128),
    (255, 0, 0),
)
EDITOR_OPACITY = 0.55
# A light halo around the red line keeps it visible on red and on dark ground.
LINE_COLOR = (255, 32, 32)
HALO_COLOR = (255, 255, 255)
# Blue that stays apart from the red for people who do not see red or green.
AI_COLOR = (0, 114, 255)
# Hatching of AI-made pixels: lines this opaque, this many line widths apart.
HATCH_OPACITY = 0.6
HATCH_SPACING = 12
# Outline width: one pixel for this many pixels of the shorter edge, so that it is seen in a reduced picture too.
PIXELS_FOR_LINE_WIDTH = 256
# Large photographs are drawn in bands, so that no second copy of them is tinted.
ROWS_AT_A_TIME = 512


def editor_color(editor: int) -> tuple[int, int, int]:
    """Return the colour of the editor with an id, 1 for the first."""
    return EDITOR_COLORS[(editor - 1) % len(EDITOR_COLORS)]


def draw_overlay(
    photo: Image.Image, mask: np.ndarray, ai_mask: np.ndarray | None = None, editor_map: np.ndarray | None = None
) -> Image.Image:
    """Draw masks over a photograph.

    Forged pixels are tinted red, or in the colour of their editor, with a red outline around them. AI-made pixels are
    hatched in blue, with an outline inside them, so that one around the whole picture is seen too.

    Args:
        photo: mode RGB.
        mask: (H, W) uint8, 1 = forged.
        ai_mask: (H, W) uint8, 1 = AI-made; None: not known.
        editor_map: (H, W) uint8, id of each pixel's likeliest editor, 1 for the first; None: not known.

    Returns:
        A new image of mode RGB; equal to the photograph when the masks are empty.

    Raises:
        ValueError: a mask and the photograph differ in size.
    """
    for one in (mask, ai_mask, editor_map):
        if one is not None and (photo.height, photo.width) != one.shape:
            raise ValueError(
                f"expected a photograph of {one.shape[1]} x {one.shape[0]}, got {photo.width} x {photo.height}"
            )
    picture = photo.copy()
    line = line_width(mask.shape)
    if mask.any():
        _draw_forged(picture, photo, mask, line, editor_map)
    if ai_mask is not None and ai_mask.any():
        _draw_ai_made(picture, ai_mask, line)
    return picture


def _draw_forged(
    picture: Image.Image, photo: Image.Image, mask: np.ndarray, line: int, editor_map: np.ndarray | None
) -> None:
    red, white = widened(mask, line), widened(mask, 2 * line)
    for box, part in bands(white):
        if editor_map is None:
            picture.paste(tinted(photo.crop(box), FILL_COLOR, FILL_OPACITY), box, Image.fromarray(mask[part] * 255))
        else:
            editors = editor_map[part] * mask[part]
            for editor in np.unique(editors[editors > 0]).tolist():
                colored = tinted(photo.crop(box), editor_color(editor), EDITOR_OPACITY)
                picture.paste(colored, box, Image.fromarray((editors == editor) * np.uint8(255)))
        picture.paste(HALO_COLOR, box, Image.fromarray((white[part] - red[part]) * 255))
        picture.paste(LINE_COLOR, box, Image.fromarray((red[part] - mask[part]) * 255))


def line_width(size: tuple[int, ...]) -> int:
    """Width of an outline in a picture of (height, width), pixels."""
    return max(1, round(min(size) / PIXELS_FOR_LINE_WIDTH))


def tinted(photo: Image.Image, color: tuple[int, int, int], opacity: float) -> Image.Image:
    """Mix a photograph with a colour."""
    return photo.point([round(value * (1 - opacity) + one * opacity) for one in color for value in range(256)])


def _draw_ai_made(picture: Image.Image, mask: np.ndarray, line: int) -> None:
    blue, white = _narrowed(mask, 2 * line), _narrowed(mask, 3 * line)
    columns = np.arange(mask.shape[1])
    for box, part in bands(mask):
        diagonals = (np.arange(box[1], box[3])[:, None] + columns[part[1]]) % (HATCH_SPACING * line) < line
        hatch = (diagonals & (mask[part] > 0)) * np.uint8(255 * HATCH_OPACITY)
        picture.paste(AI_COLOR, box, Image.fromarray(hatch))
        picture.paste(HALO_COLOR, box, Image.fromarray((blue[part] - white[part]) * 255))
        picture.paste(AI_COLOR, box, Image.fromarray((mask[part] - blue[part]) * 255))


def bands(mask: np.ndarray) -> Iterator[tuple[tuple[int, int, int, int], tuple[slice, slice]]]:
    """Cut the bounding box of a mask into bands: box of PIL, and the slices of an array."""
    left, first, width, height = cv2.boundingRect(mask)
    for top in range(first, first + height, ROWS_AT_A_TIME):
        bottom = min(top + ROWS_AT_A_TIME, first + height)
        yield (left, top, left + width, bottom), (slice(top, bottom), slice(left, left + width))


def _square(width: int) -> np.ndarray:
    """A square window is separable, so wide ones cost no more."""
    return np.ones((2 * width + 1, 2 * width + 1), np.uint8)


def widened(mask: np.ndarray, width: int) -> np.ndarray:
    """Grow a 0/1 mask by `width` pixels to each side."""
    return cv2.dilate(mask, _square(width))


def _narrowed(mask: np.ndarray, width: int) -> np.ndarray:
    """Shrink a 0/1 mask by `width` pixels from each side, and from the edges of the picture."""
    return cv2.erode(mask, _square(width), borderType=cv2.BORDER_CONSTANT, borderValue=0)
