"""What forgescope says of one photograph: the same object for every model."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from PIL import Image

from forgescope.processing.grounded_explanation import GroundedArtifact

from .decision import DecisionRule, Verdict
from .overlay import draw_overlay
from .phrase_overlay import draw_phrases
from .provenance import Provenance

# Smaller islands of a mask are noise more often than edits; they stay in the mask and are not listed.
SMALLEST_REGION = 0.0005


@dataclass(frozen=True)
class Region:
    """One connected part of the mask, or the mask of an artifact that the model names.

    Args:
        box: left, top, right, bottom in pixels of the image as displayed; right and bottom are exclusive.
        area_fraction: share of the image's pixels, 0..1.
        mean_probability: mean probability of its pixels to be forged, 0..1.
        editor: the editor that made most of it, None from a model that does not attribute.
        number: of the artifact in overlay and explanation, 1 for the first; None from a model that names none, as the
            rest.
        phrase: where it is, in words.
        explanation: what is wrong there; may be empty.
        mask: (H, W) uint8, 1 = artifact.
    """

    box: tuple[int, int, int, int]
    area_fraction: float
    mean_probability: float
    editor: str | None = None
    number: int | None = None
    phrase: str | None = None
    explanation: str | None = None
    mask: np.ndarray | None = field(default=None, repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the mask, as plain values for JSON."""
        named = {"number": self.number, "phrase": self.phrase, "explanation": self.explanation}
        return {
            "box": list(self.box),
            "area_fraction": round(self.area_fraction, 6),
            "mean_probability": round(self.mean_probability, 4),
            "editor": self.editor,
        } | ({} if self.number is None else named)


@dataclass(eq=False)
class ForgeryReport:
    """Result of `forgescope.analyze`.

    Args:
        verdict: `authentic`, `inconclusive` or `forged`.
        score: 0..1, higher = more likely forged; from a model with a classifier, its probability of AI-made pixels.
        mask: (H, W) uint8, 1 = forged pixel, size of the image as displayed; from a model that marks only AI-made
            pixels, those, and all 0 from one that marks none.
        regions: connected parts of the mask, largest first; or the artifacts that the model names and marks, in their
            order.
        attribution: share of each editor among the pixels of the mask, largest first; empty with an empty mask, None
            from a model that does not attribute.
        explanation: what the model says, a paragraph a line; None from a model that does not explain.
        model: checkpoint that was asked.
        forged_fraction: share of forged pixels, 0..1; 0 from a model that marks none.
        probability_map: (H, W) float32, 0..1, of which `mask` is made; None from a model that marks no pixels.
        rule: thresholds that were used.
        notes: sentences on how the file was read and examined.
        precision: arithmetic that was used, such as `float32`.
        path: file, None for an image in memory.
        image: the photograph, mode RGB, as displayed.
        ai_mask: (H, W) uint8, 1 = AI-made pixel, None from a model that does not tell them apart.
        ai_fraction: share of AI-made pixels, 0..1, None likewise.
        editor_map: (H, W) uint8, id of the likeliest editor of each pixel, 1 for the first that the model knows; None
            from a model that does not attribute.
        provenance: what the file says of its origin, which has no part in score and verdict; None where it was not
            read.
    """

    verdict: Verdict
    score: float
    mask: np.ndarray = field(repr=False)
    regions: list[Region]
    attribution: dict[str, float] | None
    explanation: str | None
    model: str
    forged_fraction: float
    probability_map: np.ndarray | None = field(repr=False)
    rule: DecisionRule
    notes: list[str]
    precision: str
    path: str | None = None
    image: Image.Image | None = field(default=None, repr=False)
    ai_mask: np.ndarray | None = field(default=None, repr=False)
    ai_fraction: float | None = None
    editor_map: np.ndarray | None = field(default=None, repr=False)
    provenance: Provenance | None = None

    @property
    def marks_pixels(self) -> bool:
        """Say whether the model looked for forged or AI-made pixels; without, the empty mask says nothing."""
        return self.probability_map is not None or self.ai_mask is not None or bool(self.mask.any())

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the pictures, as plain values for JSON.

        `forged_fraction` is None from a model that marks no pixels.
        """
        height, width = self.mask.shape
        return {
            "path": self.path,
            "verdict": self.verdict,
            "score": round(self.score, 6),
            "forged_fraction": round(self.forged_fraction, 6) if self.marks_pixels else None,
            "ai_fraction": None if self.ai_fraction is None else round(self.ai_fraction, 6),
            "regions": [region.to_dict() for region in self.regions],
            "attribution": None if self.attribution is None else _rounded(self.attribution),
            "explanation": self.explanation,
            "provenance": None if self.provenance is None else self.provenance.to_dict(),
            "model": self.model,
            "precision": self.precision,
            "width": width,
            "height": height,
            "rule": self.rule.describe(),
            "thresholds": {"authentic": self.rule.authentic_threshold, "forged": self.rule.forged_threshold},
            "notes": list(self.notes),
        }

    def mask_image(self) -> Image.Image:
        """Return the mask as a picture of mode L, 0 or 255."""
        return Image.fromarray(self.mask * 255)

    def ai_mask_image(self) -> Image.Image | None:
        """Return the mask of AI-made pixels as a picture of mode L, 0 or 255; None where there is none."""
        return None if self.ai_mask is None else Image.fromarray(self.ai_mask * 255)

    def overlay(self, image: Image.Image | None = None) -> Image.Image:
        """Draw the masks over the photograph: forged pixels in red, or in the colour of their editor or artifact.

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
        photo = photo if photo.mode == "RGB" else photo.convert("RGB")
        named = {one.number: one.mask for one in self.regions if one.number is not None and one.mask is not None}
        if named:
            return draw_phrases(photo, named)
        return draw_overlay(photo, self.mask, self.ai_mask, self.editor_map)


def _rounded(shares: dict[str, float]) -> dict[str, float]:
    return {name: round(share, 4) for name, share in shares.items()}


def find_regions(
    mask: np.ndarray,
    probability_map: np.ndarray,
    editor_map: np.ndarray | None = None,
    editors: Sequence[str] = (),
    smallest: float = SMALLEST_REGION,
) -> list[Region]:
    """List the connected parts of a mask (8 neighbours), largest first.

    Args:
        mask: (H, W) uint8, 1 = forged.
        probability_map: (H, W) float, 0..1.
        editor_map: (H, W) ids of editors, 1 for the first; None: not known.
        editors: their names.
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
        editor = None if editor_map is None else editors[int(np.bincount(editor_map[part][inside]).argmax()) - 1]
        regions.append(Region((left, top, left + width, top + height), area / mask.size, mean, editor))
    return sorted(regions, key=lambda region: -region.area_fraction)


def artifact_regions(artifacts: Sequence[GroundedArtifact]) -> list[Region]:
    """Make a region of each artifact that has pixels; the numbers are the places of all, 1 for the first."""
    return [
        Region(
            box=_box_of(one.mask),
            area_fraction=float(one.mask.mean()),
            mean_probability=one.score or 0.0,
            number=number,
            phrase=one.phrase,
            explanation=one.explanation,
            mask=one.mask,
        )
        for number, one in enumerate(artifacts, start=1)
        if one.mask.any()
    ]


def _box_of(mask: np.ndarray) -> tuple[int, int, int, int]:
    left, top, width, height = cv2.boundingRect(mask)
    return left, top, left + width, top + height
