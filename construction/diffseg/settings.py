"""What decides about a corpus of edited images (DiffSeg30k, sections 3.1, 3.2 and 4.1)."""

import dataclasses
from typing import Any

from .editor_table import FIGURE_6_EDITORS

EDIT_TYPES = ("attribute_change", "addition", "removal")
# A mask is one byte a pixel, and 0 means untouched.
MOST_EDITORS = 255


@dataclasses.dataclass(frozen=True)
class EditSettings:
    """Settings of the construction; those marked * are not given in the paper.

    Args:
        seed: of the whole folder.
        image_size: side of the square images in pixels; the shorter side is resized to it, the rest cut (section 4.1).
        max_objects: most objects that the model may name.*
        boxes_per_object: most boxes that one name may get; several people are one name.*
        min_area: smallest region, as a share of the image.*
        max_area: largest region.*
        max_iou: of two regions that overlap more, the one with the lower score is dropped (section 3.1, stage 1).
        mask_dilation: pixels by which regions grow before they are edited.*
        turn_weights: how often images get one, two, three edits (section 3.1, item 5).
        person_weight: how much likelier a person is chosen than a thing of the same size.*
        area_exponent: a region is chosen in proportion to its area to this power; 0 ignores the area.*
        keep_background: the editor's picture is taken inside the region alone, so that all other pixels stay as they
            were; otherwise it is taken whole, with whatever the editor changed elsewhere.*
        tries: how often the model is asked before its replies count as unusable.*
        min_quality: images with a lower score are rejected (section 3.2).
        save_turns: also write the photograph and the image after each turn.
        id2editor: names of the editors with the ids 1, 2, ... in the masks; the paper's ids are not published, the
            default is the order of its Figure 6.
    """

    seed: int = 0
    image_size: int = 1024
    max_objects: int = 8
    boxes_per_object: int = 3
    min_area: float = 0.01
    max_area: float = 0.8
    max_iou: float = 0.7
    mask_dilation: int = 0
    turn_weights: tuple[float, ...] = (1, 4, 5)
    person_weight: float = 2.0
    area_exponent: float = 0.5
    keep_background: bool = True
    tries: int = 3
    min_quality: float = 3
    save_turns: bool = False
    id2editor: tuple[str, ...] = FIGURE_6_EDITORS

    def __post_init__(self):
        if self.seed < 0 or self.mask_dilation < 0:
            raise ValueError(f"seed and mask_dilation must be at least 0, got {self.seed} and {self.mask_dilation}")
        for name in ("image_size", "max_objects", "boxes_per_object", "tries"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.min_area < self.max_area <= 1 or not 0 <= self.max_iou <= 1:
            raise ValueError(
                "expected 0 <= min_area < max_area <= 1 and 0 <= max_iou <= 1, "
                f"got {self.min_area}, {self.max_area} and {self.max_iou}"
            )
        if not self.turn_weights or min(self.turn_weights) < 0 or not sum(self.turn_weights):
            raise ValueError(f"turn_weights must be numbers of 0 or more, not all 0, got {self.turn_weights}")
        if self.person_weight <= 0 or self.area_exponent < 0:
            raise ValueError(
                "person_weight must be above 0 and area_exponent at least 0, "
                f"got {self.person_weight} and {self.area_exponent}"
            )
        if not 0 < len(set(self.id2editor)) == len(self.id2editor) <= MOST_EDITORS:
            raise ValueError(f"id2editor must hold 1 to {MOST_EDITORS} different names, got {self.id2editor}")

    def id_of(self, editor: str) -> int:
        """Value of an editor's pixels in a mask."""
        return self.id2editor.index(editor) + 1

    def to_dict(self) -> dict[str, Any]:
        """All settings, ready for JSON."""
        return dataclasses.asdict(self)


__all__ = ["EDIT_TYPES", "EditSettings"]
