"""Class maps of editors (DiffSeg30k): what is kept of an image, and the rules by which it counts."""

from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .boundary import Tolerance, boundary_counts
from .class_confusion import class_confusion
from .counts import IGNORE_INDEX

Authentic = Literal["skip", "zero", "one"]
Reduction = Literal["pooled", "image"]
REDUCTIONS: tuple[Reduction, ...] = get_args(Reduction)
# Section 4.2: an image is edited if more than this share of it is called edited.
AREA_THRESHOLD = 0.01


@dataclass(frozen=True)
class ClassRule:
    """How class maps are compared.

    Args:
        classes: names of the classes by id; 0 is authentic and takes no part in IoU and boundary F1. Two classes are
            binary segmentation: every id above 0 is then the second class.
        tolerance: of the boundary F1.
        authentic: what images without an edited pixel do in pixel numbers. `skip`: they are left out; `zero`: they
            take part, with a value of 0; `one`: with 1 where nothing is called edited, else 0.

    Raises:
        ValueError: fewer than two classes, or a value that is not one of those above.
    """

    classes: tuple[str, ...]
    tolerance: Tolerance = field(default_factory=Tolerance)
    authentic: Authentic = "skip"

    def __post_init__(self) -> None:
        if not 2 <= len(self.classes) <= IGNORE_INDEX:
            raise ValueError(f"expected the names of at least two classes, authentic first, got {self.classes}")
        if self.authentic not in get_args(Authentic):
            raise ValueError(f"authentic must be one of {', '.join(get_args(Authentic))}, got {self.authentic!r}")

    @property
    def is_binary(self) -> bool:
        """Whether the classes are authentic and edited."""
        return len(self.classes) == 2


@dataclass(frozen=True)
class ClassMeasures:
    """What is kept of the class map of one image.

    Args:
        confusion: (C, C) int64 of `class_confusion`.
        boundary: (C, 4) int64 of `boundary_counts`.
    """

    confusion: NDArray[np.int64]
    boundary: NDArray[np.int64]


def measure_class_map(class_map: NDArray[np.integer], mask: NDArray[np.uint8], rule: ClassRule) -> ClassMeasures:
    """Reduce a class map to the counts of which every number is made.

    Args:
        class_map: (H, W) predicted ids, 0 = authentic.
        mask: (H, W) true ids, `IGNORE_INDEX` = counted nowhere.
        rule: classes and tolerance.

    Raises:
        ValueError: the shapes differ, or an id has no class.
    """
    if rule.is_binary:
        class_map, mask = (class_map > 0).astype(np.uint8), edited_pixels(mask)
    count = len(rule.classes)
    confusion = class_confusion(class_map, mask, count)
    return ClassMeasures(confusion, boundary_counts(class_map.astype(np.uint8), mask, count, rule.tolerance))


def edited_pixels(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Make every editor 1: (H, W) ids to 0 and 1; `IGNORE_INDEX` stays."""
    return np.where(mask == IGNORE_INDEX, IGNORE_INDEX, mask > 0).astype(np.uint8)


def edited_share(class_map: NDArray[np.integer]) -> float:
    """Share of the pixels that are called edited, 0 to 1: the score of an image (section 4.2)."""
    return float(np.count_nonzero(class_map) / class_map.size)


def id_mask(mask: Image.Image | NDArray | None, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Read a mask of ids as (H, W) uint8.

    Args:
        mask: PIL image of mode L or P, or (H, W) array; None: nothing is edited.
        size: (width, height) of the image, pixels.

    Raises:
        ValueError: another size, more than one channel, or values that are no ids.
    """
    if mask is None:
        return np.zeros(size[::-1], dtype=np.uint8)
    values = np.asarray(mask)
    if values.shape != size[::-1]:
        raise ValueError(
            f"the mask must be (height, width) = {size[::-1]} like its image, got {values.shape}; "
            "resize it with nearest neighbour, or pair it with its own image"
        )
    if values.dtype.kind not in "biu" or not 0 <= values.min(initial=0) <= values.max(initial=0) <= IGNORE_INDEX:
        raise ValueError(f"the mask must hold ids from 0 to {IGNORE_INDEX}, got {values.dtype} up to {values.max()}")
    return values.astype(np.uint8)
