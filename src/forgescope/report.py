"""What forgescope says of one photograph: the same object for every model."""

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from PIL import Image

from .decision import DecisionRule, Verdict

# Smaller islands of a mask are noise more often than edits; they stay in the mask and are not listed.
SMALLEST_REGION = 0.0005
FILL_COLOR = (255, 0, 0)
FILL_OPACITY = 0.35
# A light halo around the red line keeps it visible on red and on dark ground.
LINE_COLOR = (255, 32, 32)
HALO_COLOR = (255, 255, 255)
# Outline width: one pixel for this many pixels of the shorter edge, so that it is seen in a reduced picture too.
PIXELS_FOR_LINE_WIDTH = 256
# Large photographs are drawn in bands, so that no second copy of them is tinted.
ROWS_AT_A_TIME = 512


@dataclass(frozen=True)
class Region:
    """One connected part of the mask.

    Args:
        box: left, top, right, bottom in pixels of the image as displayed; right and bottom are exclusive.
        area_fraction: share of the image's pixels, 0..1.
        mean_probability: mean probability of its pixels to be forged, 0..1.
    """

    box: tuple[int, int, int, int]
    area_fraction: float
    mean_probability: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "box": list(self.box),
            "area_fraction": round(self.area_fraction, 6),
            "mean_probability": round(self.mean_probability, 4),
        }


@dataclass(eq=False)
class ForgeryReport:
    """Result of `forgescope.analyze`.

    Args:
        verdict: `authentic`, `inconclusive` or `forged`.
        score: 0..1, higher = more likely forged.
        mask: (H, W) uint8, 1 = forged pixel, size of the image as displayed.
        regions: connected parts of the mask, largest first.
        attribution: probability of each editor or generator, None from a model that does not attribute.
        explanation: text, None from a model that does not explain.
        model: checkpoint that was asked.
        forged_fraction: share of forged pixels, 0..1.
        probability_map: (H, W) float32, 0..1.
        rule: thresholds that were used.
        notes: sentences on how the file was read and examined.
        precision: arithmetic that was used, such as `float32`.
        path: file, None for an image in memory.
        image: the photograph, mode RGB, as displayed.
    """

    verdict: Verdict
    score: float
    mask: np.ndarray = field(repr=False)
    regions: list[Region]
    attribution: dict[str, float] | None
    explanation: str | None
    model: str
    forged_fraction: float
    probability_map: np.ndarray = field(repr=False)
    rule: DecisionRule
    notes: list[str]
    precision: str
    path: str | None = None
    image: Image.Image | None = field(default=None, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the pictures, as plain values for JSON."""
        height, width = self.mask.shape
        return {
            "path": self.path,
            "verdict": self.verdict,
            "score": round(self.score, 6),
            "forged_fraction": round(self.forged_fraction, 6),
            "regions": [region.to_dict() for region in self.regions],
            "attribution": self.attribution,
            "explanation": self.explanation,
            "model": self.model,
            "precision": self.precision,
            "width": width,
            "height": height,
            "rule": self.rule.describe(),
            "notes": list(self.notes),
        }

    def mask_image(self) -> Image.Image:
        """Return the mask as a picture of mode L, 0 or 255."""
        return Image.fromarray(self.mask * 255)

    def overlay(self, image: Image.Image | None = None) -> Image.Image:
        """Draw the mask over the photograph: translucent red with an outline; nothing where no pixel is forged.

        Args:
            image: photograph of the mask's size; None: the one that was examined.

        Returns:
            Mode RGB, size of the mask.

        Raises:
            ValueError: no image, or one of another size.
        """
        photo = self.image if image is None else image
        if photo is None:
            raise ValueError("this report holds no image: pass the photograph, report.overlay(image)")
        return draw_overlay(photo if photo.mode == "RGB" else photo.convert("RGB"), self.mask)


def find_regions(mask: np.ndarray, probability_map: np.ndarray, smallest: float = SMALLEST_REGION) -> list[Region]:
    """List the connected parts of a mask (8 neighbours), largest first.

    Args:
        mask: (H, W) uint8, 1 = forged.
        probability_map: (H, W) float, 0..1.
        smallest: share of the image below which a part is not listed, 0..1.

    Returns:
        The regions.
    """
    if not mask.any():
        return []
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    regions = []
    for label, (left, top, width, height, area) in enumerate(stats.tolist()):
        if label == 0 or area < smallest * mask.size:
            continue
        part = slice(top, top + height), slice(left, left + width)
        inside = labels[part] == label
        mean = float(np.mean(probability_map[part], where=inside, dtype=np.float64))
        regions.append(Region((left, top, left + width, top + height), area / mask.size, mean))
    return sorted(regions, key=lambda region: -region.area_fraction)


def draw_overlay(photo: Image.Image, mask: np.ndarray) -> Image.Image:
    """Draw a mask over a photograph.

    Args:
        photo: mode RGB.
        mask: (H, W) uint8, 1 = forged.

    Returns:
        A new image of mode RGB; equal to the photograph when the mask is empty.

    Raises:
        ValueError: mask and photograph differ in size.
    """
    if (photo.height, photo.width) != mask.shape:
        raise ValueError(
            f"expected a photograph of {mask.shape[1]} x {mask.shape[0]}, got {photo.width} x {photo.height}"
        )
    picture = photo.copy()
    if not mask.any():
        return picture
    line = max(1, round(min(mask.shape) / PIXELS_FOR_LINE_WIDTH))
    red, white = _widened(mask, line), _widened(mask, 2 * line)
    tint = [round(value * (1 - FILL_OPACITY) + color * FILL_OPACITY) for color in FILL_COLOR for value in range(256)]
    left, first, width, height = cv2.boundingRect(white)
    for top in range(first, first + height, ROWS_AT_A_TIME):
        box = (left, top, left + width, min(top + ROWS_AT_A_TIME, first + height))
        part = slice(box[1], box[3]), slice(box[0], box[2])
        picture.paste(photo.crop(box).point(tint), box, Image.fromarray(mask[part] * 255))
        picture.paste(HALO_COLOR, box, Image.fromarray((white[part] - red[part]) * 255))
        picture.paste(LINE_COLOR, box, Image.fromarray((red[part] - mask[part]) * 255))
    return picture


def _widened(mask: np.ndarray, width: int) -> np.ndarray:
    """Grow a 0/1 mask by `width` pixels to each side; a square window is separable, so wide ones cost no more."""
    return cv2.dilate(mask, np.ones((2 * width + 1, 2 * width + 1), np.uint8))
