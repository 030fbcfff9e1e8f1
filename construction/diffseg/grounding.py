"""Masks of named objects: Grounding DINO finds boxes of each name, SAM the object in each box (Grounded-SAM).

Any model of Transformers' classes for zero-shot detection with text and for mask generation will do, and so will any
function `(image, things, boxes_per_object) -> regions`.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from .regions import NamedObject, Region

# Finds regions of objects in an image (PIL RGB), at most so many an object.
FindRegions = Callable[[Image.Image, Sequence[NamedObject], int], list[Region]]
# Boxes with a side below this many pixels are left out.
SMALLEST_SIDE = 2.0


@dataclasses.dataclass(frozen=True)
class GroundingSettings:
    """Which detector.

    Args:
        model: Hub id or folder of a Grounding DINO.
        box_threshold: boxes with a lower score (0..1) are left out; not given in the paper.
        device: `cpu`, `cuda`, ...; None for a GPU if there is one.
    """

    model: str
    box_threshold: float = 0.3
    device: str | None = None

    def __post_init__(self):
        if not 0 <= self.box_threshold <= 1:
            raise ValueError(f"box_threshold must be between 0 and 1, got {self.box_threshold}")


@dataclasses.dataclass(frozen=True)
class SamSettings:
    """Which segmenter: Hub id or folder of a SAM (1, 2 or HQ), and its device."""

    model: str
    device: str | None = None


class GroundedSam:
    """A detector and a segmenter of Transformers with their processors.

    Args:
        detector: such as GroundingDinoForObjectDetection.
        detector_processor: its processor.
        segmenter: such as SamModel.
        segmenter_processor: its processor.
        box_threshold: boxes must score above it, 0..1.
    """

    def __init__(
        self,
        detector: Any,
        detector_processor: Any,
        segmenter: Any,
        segmenter_processor: Any,
        box_threshold: float = 0.3,
    ):
        self.detector, self.detector_processor = detector.eval(), detector_processor
        self.segmenter, self.segmenter_processor = segmenter.eval(), segmenter_processor
        self.box_threshold = box_threshold

    def __call__(self, image: Image.Image, things: Sequence[NamedObject], boxes_per_object: int) -> list[Region]:
        """Find regions.

        Args:
            image: PIL RGB.
            things: the objects.
            boxes_per_object: most boxes an object; those with the highest scores.

        Returns:
            A region a box.
        """
        found = [
            (thing, box, score) for thing in things for box, score in self._boxes(image, thing.name)[:boxes_per_object]
        ]
        if not found:
            return []
        masks = self._masks(image, [list(box) for _, box, _ in found])
        return [Region(thing, box, score, mask) for (thing, box, score), mask in zip(found, masks, strict=True)]

    def _boxes(self, image: Image.Image, name: str) -> list[tuple[tuple[float, float, float, float], float]]:
        """Boxes of one name with their scores, best first. Each name is asked for alone, so none is mixed up."""
        import torch

        # a dot ends a name in Grounding DINO's text, which is in small letters
        text = f"{name.lower().replace('.', ' ').strip()}."
        inputs = self.detector_processor(images=image, text=text, return_tensors="pt").to(self.detector.device)
        with torch.inference_mode():
            outputs = self.detector(**inputs)
        result = self.detector_processor.post_process_grounded_object_detection(
            outputs, inputs["input_ids"], threshold=self.box_threshold, target_sizes=[image.size[::-1]]
        )[0]
        found = []
        for place, score in zip(result["boxes"].tolist(), result["scores"].tolist(), strict=True):
            left, top = max(place[0], 0.0), max(place[1], 0.0)
            right, bottom = min(place[2], float(image.width)), min(place[3], float(image.height))
            if right - left >= SMALLEST_SIDE and bottom - top >= SMALLEST_SIDE:
                found.append(((left, top, right, bottom), score))
        return sorted(found, key=lambda entry: -entry[1])

    def _masks(self, image: Image.Image, boxes: list[list[float]]) -> np.ndarray:
        """(N, H, W) bool, one for each box."""
        import torch

        inputs = self.segmenter_processor(images=image, input_boxes=[boxes], return_tensors="pt")
        # SAM 1 needs the size after resizing too, SAM 2 does not know it
        sizes = [inputs[name] for name in ("original_sizes", "reshaped_input_sizes") if name in inputs]
        arguments = {name: _floats(inputs[name]).to(self.segmenter.device) for name in ("pixel_values", "input_boxes")}
        with torch.inference_mode():
            outputs = self.segmenter(**arguments, multimask_output=False)
        masks = self.segmenter_processor.post_process_masks(outputs.pred_masks.cpu(), *sizes)[0]
        return masks[:, 0].numpy().astype(bool)


def load_grounded_sam(grounding: GroundingSettings, sam: SamSettings) -> GroundedSam:
    """Load both models.

    Raises:
        OSError: no such model.
        ValueError: a model of another kind.
    """
    import torch
    from transformers import AutoModelForMaskGeneration, AutoModelForZeroShotObjectDetection, AutoProcessor

    device = "cuda" if torch.cuda.is_available() else "cpu"
    detector = AutoModelForZeroShotObjectDetection.from_pretrained(grounding.model).to(grounding.device or device)
    segmenter = AutoModelForMaskGeneration.from_pretrained(sam.model).to(sam.device or device)
    return GroundedSam(
        detector,
        AutoProcessor.from_pretrained(grounding.model),
        segmenter,
        AutoProcessor.from_pretrained(sam.model),
        grounding.box_threshold,
    )


def _floats(values: Any) -> Any:
    """Boxes come in 64 bits, which not every device knows."""
    return values.float()


__all__ = ["FindRegions", "GroundedSam", "GroundingSettings", "SamSettings", "load_grounded_sam"]
