"""Random regions to forge: object-shaped, polygon, brush stroke, smooth blob and border region.

Every function returns a mask (H, W) uint8 with 1 inside the region. Shapes are drawn by our own procedure; GAMMA
(section 3.2) takes its masks from COCO-Inpaint and TampCOCO and gives no recipe.
"""

import cv2
import numpy as np

# GrabCut runs on a copy of this longest side (pixels): under 40 ms, and the contour is refined afterwards.
GRABCUT_SIDE = 80
GRABCUT_ITERATIONS = 2
# Rectangles tried before an object gives way to a blob, and drawings of a shape before it gives way to an ellipse.
OBJECT_TRIES = 3
SHAPE_TRIES = 5
# Side of the noise grid that gives a blob its outline: fewer cells, rounder shapes.
BLOB_GRID = 6
# Guided filter that moves the contour to image edges: radius in pixels, regulariser for values in 0..1.
REFINE_RADIUS = 6
REFINE_EPSILON = 1e-3
# The box searched for an object is this much larger than the object's wanted area.
BOX_TO_OBJECT = 1.8
# Grid (columns, rows) on which contrast with the surroundings is measured.
SALIENCY_SIZE = (48, 48)
# An object whose outline lies on the limit of the search for more than this share is a cut-off piece.
MAX_LEAK = 0.25


def draw_area(bounds: tuple[float, float], rng: np.random.Generator) -> float:
    """Draw a share of the image, log-uniform, so that small regions are the typical ones."""
    low, high = bounds
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def draw_mask(
    image: np.ndarray, kind: str, bounds: tuple[float, float], rng: np.random.Generator
) -> tuple[np.ndarray, str]:
    """Draw one region.

    Args:
        image: (H, W, 3) uint8 RGB; only `object` looks at the pixels.
        kind: `object`, `polygon`, `brush`, `blob` or `border`.
        bounds: smallest and largest share of the image, 0..1.
        rng: source of all randomness.

    Returns:
        The mask, its share within the bounds, and the kind that was really drawn: `object` falls back to `blob` when
        nothing separable is found, and a shape that misses the bounds to `ellipse`.

    Raises:
        ValueError: for an unknown kind.
    """
    drawers = {"polygon": polygon_mask, "brush": brush_mask, "blob": blob_mask, "border": border_mask}
    if kind != "object" and kind not in drawers:
        raise ValueError(f"unknown mask kind {kind!r}: expected one of {['object', *drawers]}")
    if kind == "object":
        for _ in range(OBJECT_TRIES):
            mask = object_mask(image, bounds, rng)
            if mask is not None:
                return mask, "object"
        kind = "blob"
    for _ in range(SHAPE_TRIES):
        mask = drawers[kind](image.shape[:2], bounds, rng)
        if bounds[0] <= mask.mean() <= bounds[1]:
            return mask, kind
    return ellipse_mask(image.shape[:2], float(np.sqrt(bounds[0] * bounds[1]))), "ellipse"


def object_mask(image: np.ndarray, bounds: tuple[float, float], rng: np.random.Generator) -> np.ndarray | None:
    """Cut one thing that stands out from its surroundings with GrabCut; None when the result is degenerate."""
    height, width = image.shape[:2]
    box = _draw_box(image, bounds, rng)
    top, bottom, left, right = _widen(box, (height, width))
    window = image[top:bottom, left:right]
    scale = min(1.0, GRABCUT_SIDE / max(window.shape[:2]))
    size = (max(16, round(window.shape[1] * scale)), max(16, round(window.shape[0] * scale)))
    small = cv2.resize(window, size, interpolation=cv2.INTER_AREA)
    centre = ((box[0] - left) * size[0] / window.shape[1], (box[1] - top) * size[1] / window.shape[0])
    axes = (box[2] / 2 * size[0] / window.shape[1], box[3] / 2 * size[1] / window.shape[0])
    labels = _prior(small.shape[:2], centre, axes)
    allowed = labels != cv2.GC_BGD
    cv2.setRNGSeed(int(rng.integers(2**31 - 1)))
    try:
        cv2.grabCut(
            small, labels, None, np.zeros((1, 65)), np.zeros((1, 65)), GRABCUT_ITERATIONS, cv2.GC_INIT_WITH_MASK
        )
    except cv2.error:  # a window of one flat colour has no second mixture component
        return None
    foreground = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    foreground = largest_component(cv2.morphologyEx(foreground, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)))
    if foreground.sum() < 16 or _leak(foreground, allowed) > MAX_LEAK:
        return None
    coarse = cv2.resize(foreground.astype(np.float32), (window.shape[1], window.shape[0]))
    mask = np.zeros((height, width), np.uint8)
    mask[top:bottom, left:right] = largest_component(_refine(window, coarse))
    return mask if bounds[0] <= mask.mean() <= bounds[1] else None


def polygon_mask(shape: tuple[int, int], bounds: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """Draw a star-shaped polygon of 3 to 10 corners, one time in three a rectangle."""
    height, width = shape
    if rng.random() < 1 / 3:
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float64)
    else:
        angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 11))))
        corners = rng.uniform(0.5, 1.0, (len(angles), 1)) * np.stack([np.cos(angles), np.sin(angles)], 1)
    corners = corners * [np.exp(rng.uniform(-0.6, 0.6)), 1.0]
    area = max(cv2.contourArea(corners.astype(np.float32)), 0.05)
    corners *= np.sqrt(draw_area(bounds, rng) * height * width / area)
    extent = np.minimum(np.abs(corners).max(0), [0.45 * width, 0.45 * height])
    centre = rng.uniform(0.8 * extent, [width, height] - 0.8 * extent)
    mask = np.zeros(shape, np.uint8)
    cv2.fillPoly(mask, [np.round(corners + centre).astype(np.int32)], 1)
    return mask


def brush_mask(shape: tuple[int, int], bounds: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """Draw wandering brush strokes until a drawn share of the image is covered."""
    height, width = shape
    target = draw_area(bounds, rng) * height * width
    thickness = max(3, int(np.sqrt(target) * rng.uniform(0.25, 0.6)))
    mask = np.zeros(shape, np.uint8)
    point = rng.uniform(0.1, 0.9, 2) * [width, height]
    angle = rng.uniform(0, 2 * np.pi)
    covered = 0
    for _ in range(60):
        angle += rng.normal(0, 0.7)
        step = thickness * rng.uniform(0.5, 1.5) * np.array([np.cos(angle), np.sin(angle)])
        if (point + step < 0).any() or (point + step >= [width, height]).any():
            angle += np.pi / 2
            continue
        start, point = point, point + step
        cv2.line(
            mask,
            tuple(np.round(start).astype(int).tolist()),
            tuple(np.round(point).astype(int).tolist()),
            1,
            thickness,
            cv2.LINE_8,
        )
        covered = int(mask.sum())
        if covered >= target:
            break
    return mask


def blob_mask(shape: tuple[int, int], bounds: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """Draw one smooth closed shape: low-pass noise with a bump in the middle, cut at the wanted share."""
    height, width = shape
    noise = cv2.resize(
        rng.normal(0, 1, (BLOB_GRID, BLOB_GRID)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC
    )
    target = draw_area(bounds, rng)
    centre = rng.uniform(0.2, 0.8, 2) * [width, height]
    radius = np.sqrt(target * height * width) * np.exp(rng.uniform(-0.35, 0.35, 2) * [1, -1])
    columns = (np.arange(width, dtype=np.float32) - centre[0]) / radius[0]
    rows = (np.arange(height, dtype=np.float32) - centre[1]) / radius[1]
    field = 0.5 * noise - np.sqrt(columns[None] ** 2 + rows[:, None] ** 2)
    return largest_component((field >= np.quantile(field, 1 - target)).astype(np.uint8))


def border_mask(shape: tuple[int, int], bounds: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """Draw everything on one side of a straight or wavy line: a replaced sky, wall or border strip."""
    height, width = shape
    angle = rng.choice(4) * np.pi / 2 + rng.normal(0, 0.25) * (rng.random() < 0.6)
    columns = np.linspace(-1, 1, width, dtype=np.float32)[None]
    rows = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    field = np.cos(angle) * columns + np.sin(angle) * rows
    if rng.random() < 0.5:
        noise = rng.normal(0, 1, (BLOB_GRID, BLOB_GRID)).astype(np.float32)
        field = field + 0.15 * cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    # Half of the range upwards: a thin strip at the border is a rare forgery.
    low, high = bounds
    target = rng.uniform((low + high) / 2, high)
    return largest_component((field >= np.quantile(field, 1 - target)).astype(np.uint8))


def ellipse_mask(shape: tuple[int, int], area: float) -> np.ndarray:
    """Ellipse in the middle of the image, of its aspect ratio, covering the share `area` (0..0.75)."""
    height, width = shape
    axis = np.sqrt(area / np.pi)
    mask = np.zeros(shape, np.uint8)
    cv2.ellipse(mask, (width // 2, height // 2), (round(axis * width), round(axis * height)), 0, 0, 360, 1, cv2.FILLED)
    return mask


def largest_component(mask: np.ndarray) -> np.ndarray:
    """Keep the largest connected part of a mask and fill its holes."""
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros_like(mask)
    if contours:
        cv2.drawContours(filled, [max(contours, key=cv2.contourArea)], -1, 1, cv2.FILLED)
    return filled


def _draw_box(
    image: np.ndarray, bounds: tuple[float, float], rng: np.random.Generator
) -> tuple[float, float, float, float]:
    """Box (centre x, centre y, width, height) in pixels around a point that differs from its surroundings."""
    height, width = image.shape[:2]
    area = min(0.5, BOX_TO_OBJECT * draw_area((max(bounds[0], 0.05 * bounds[1]), bounds[1]), rng)) * height * width
    aspect = np.exp(rng.uniform(-0.6, 0.6))
    box_width, box_height = min(np.sqrt(area * aspect), 0.9 * width), min(np.sqrt(area / aspect), 0.9 * height)
    tiny = cv2.cvtColor(cv2.resize(image, SALIENCY_SIZE, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2LAB)
    tiny = tiny.astype(np.float32)
    reach = max(3, int(np.sqrt(area / (height * width)) * SALIENCY_SIZE[0] / 2))
    inner, outer = cv2.blur(tiny, (reach, reach)), cv2.blur(tiny, (3 * reach, 3 * reach))
    contrast = np.square(inner - outer).sum(2).ravel().astype(np.float64) + 1e-3
    # Things at the border of a photograph are cut off by it: prefer the inside.
    hann = np.outer(np.hanning(SALIENCY_SIZE[1] + 2)[1:-1], np.hanning(SALIENCY_SIZE[0] + 2)[1:-1]).ravel()
    contrast *= np.sqrt(hann)
    cell = int(rng.choice(contrast.size, p=contrast / contrast.sum()))
    row, column = divmod(cell, SALIENCY_SIZE[0])
    return ((column + 0.5) * width / SALIENCY_SIZE[0], (row + 0.5) * height / SALIENCY_SIZE[1], box_width, box_height)


def _widen(box: tuple[float, float, float, float], shape: tuple[int, int]) -> tuple[int, int, int, int]:
    """Window (top, bottom, left, right) of twice the box, inside the image: what GrabCut sees."""
    x, y, width, height = box
    top, left = max(0, int(y - height)), max(0, int(x - width))
    return top, min(shape[0], max(int(y + height), top + 16)), left, min(shape[1], max(int(x + width), left + 16))


def _prior(shape: tuple[int, int], centre: tuple[float, float], axes: tuple[float, float]) -> np.ndarray:
    """Labels for GrabCut: sure background outside a wide ellipse, probable object inside the box's own ellipse."""
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    distance = np.sqrt(((columns - centre[0]) / axes[0]) ** 2 + ((rows - centre[1]) / axes[1]) ** 2)
    labels = np.full(shape, cv2.GC_BGD, np.uint8)
    labels[distance < 1.6] = cv2.GC_PR_BGD
    labels[distance < 1.0] = cv2.GC_PR_FGD
    labels[distance < 0.25] = cv2.GC_FGD
    return labels


def _leak(mask: np.ndarray, allowed: np.ndarray) -> float:
    """Share of a mask's outline that lies on the limit of the allowed region instead of on an edge of the image."""
    outline = mask - cv2.erode(mask, np.ones((3, 3), np.uint8))
    inner = cv2.erode(allowed.astype(np.uint8), np.ones((5, 5), np.uint8), borderValue=1)
    return float(((outline == 1) & (inner == 0)).sum() / max(1, outline.sum()))


def _refine(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Guided filter (He et al. 2010) of a coarse mask by the grey image, thresholded: the contour follows edges."""
    guide = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255.0
    size = (2 * REFINE_RADIUS + 1, 2 * REFINE_RADIUS + 1)
    mean_guide, mean_mask = cv2.blur(guide, size), cv2.blur(mask, size)
    variance = cv2.blur(guide * guide, size) - mean_guide**2
    slope = (cv2.blur(guide * mask, size) - mean_guide * mean_mask) / (variance + REFINE_EPSILON)
    refined = cv2.blur(slope, size) * guide + cv2.blur(mean_mask - slope * mean_guide, size)
    return cv2.medianBlur((refined > 0.5).astype(np.uint8), 5)
