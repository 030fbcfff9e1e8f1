"""Regions that can be edited: which are kept, and which are chosen (DiffSeg30k, section 3.1, stage 1)."""

import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np


@dataclasses.dataclass(frozen=True)
class NamedObject:
    """What the vision-language model sees.

    Args:
        name: a short noun phrase.
        is_person: whether it is a person or several.
    """

    name: str
    is_person: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class Region:
    """One object in an image.

    Args:
        thing: the object.
        box: left, top, right, bottom in pixels.
        score: of the box, 0..1.
        mask: (H, W) bool.
    """

    thing: NamedObject
    box: tuple[float, float, float, float]
    score: float
    mask: np.ndarray

    @property
    def area(self) -> float:
        """Share of the image, 0..1."""
        return float(self.mask.mean())


def mask_iou(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two (H, W) bool masks; 0 for two empty ones."""
    union = np.count_nonzero(first | second)
    return np.count_nonzero(first & second) / union if union else 0.0


def distinct_regions(regions: Sequence[Region], max_iou: float) -> list[Region]:
    """Keep regions by falling score, without those that overlap a kept one by more than `max_iou`."""
    kept: list[Region] = []
    for region in sorted(regions, key=lambda region: -region.score):
        if all(mask_iou(region.mask, other.mask) <= max_iou for other in kept):
            kept.append(region)
    return kept


def sized_regions(regions: Sequence[Region], min_area: float, max_area: float) -> list[Region]:
    """Keep regions whose share of the image lies within bounds; an empty one never."""
    return [region for region in regions if region.mask.any() and min_area <= region.area <= max_area]


def grown_region(region: Region, pixels: int) -> Region:
    """The region with a border of so many pixels around it."""
    if not pixels:
        return region
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1, 2 * pixels + 1))
    return dataclasses.replace(region, mask=cv2.dilate(region.mask.astype(np.uint8), disc).astype(bool))


def choose_regions(
    regions: Sequence[Region], count: int, person_weight: float, area_exponent: float, rng: np.random.Generator
) -> list[Region]:
    """Draw regions without replacement, in the order in which they are edited.

    The chance of a region is in proportion to its area to the power `area_exponent`, times `person_weight` for people.

    Args:
        regions: the candidates.
        count: how many; all of them when there are fewer.
        person_weight: above 0.
        area_exponent: 0 or more.
        rng: source of all randomness.
    """
    weights = np.array([region.area**area_exponent for region in regions])
    weights *= [person_weight if region.thing.is_person else 1.0 for region in regions]
    drawn = rng.choice(len(regions), min(count, len(regions)), replace=False, p=weights / weights.sum())
    return [regions[index] for index in drawn]


__all__ = [
    "NamedObject",
    "Region",
    "choose_regions",
    "distinct_regions",
    "grown_region",
    "mask_iou",
    "sized_regions",
]
