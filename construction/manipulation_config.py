"""Settings of the manipulation engine: what is drawn, how often, and from which ranges.

The kinds and their labels come from GAMMA (section 3.2, Table 1). None of the ranges below is given in the paper.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from .filling import FILL_METHODS

# What was drawn for one image, by name; ready for JSON.
Drawn = dict[str, Any]

TASKS = ("authentic", "copy_move", "splicing", "inpainting", "inpainting_blended")
# GAMMA Table 1, column "Cls.": only images that hold generated content are fake.
LABELS = {"authentic": 0, "copy_move": 0, "splicing": 0, "inpainting": 1, "inpainting_blended": 1}
MASK_KINDS = ("object", "polygon", "brush", "blob", "border")
# Ellipses, the last resort of every shape, cannot cover more of a rectangle.
MAX_AREA = 0.75
FORMATS = ("png", "jpeg", "mixed")


@dataclasses.dataclass(frozen=True)
class ManipulationConfig:
    """Settings of the engine; every weight is relative, every probability 0..1, every range (low, high) inclusive.

    Args:
        task_weights: how often each kind of image is made.
        paste_mask_weights: shapes of copied and spliced regions (`object`, `polygon`, `brush`, `blob`, `border`).
        fill_mask_weights: shapes of inpainted regions.
        area: forged share of the image for pasted regions, 0..1.
        fill_area: the same for inpainted regions.
        max_side: longest side of the largest output, in pixels (at least 64).
        min_side_share: the longest side is drawn between this share of `max_side` and `max_side`.
        intact_probability: share of photographs that are only cropped, so that their JPEG grid and noise survive.
        aspect_jitter: largest relative change of the photograph's aspect ratio by the crop.
        min_crop_share: the crop keeps at least this share of the photograph's longest side.
        max_enlargement: largest enlargement of a photograph when it is resampled.
        host_jpeg_probability: share of photographs (authentic ones too) compressed again before anything happens.
        history_quality: JPEG quality of such earlier compressions, of hosts and of donors, 1..100.
        copies: largest number of copies in one copy-move image.
        scale_probability, scale: how often, and by which factor, a pasted region is scaled.
        rotate_probability, rotation: how often, and by which angle in degrees, it is turned.
        flip_probability: how often it is mirrored.
        level_probability: how often a copy stays on the height of its source, as a second object would.
        colour_match_probability, colour_match_strength: Lab statistics moved to the host's; strength 0..1.
        brightness_probability, brightness: factor on the pasted values.
        donor_jpeg_probability: how often a pasted region has a compression history of its own.
        noise_probability, noise: standard deviation of added noise in grey levels.
        blur_probability, blur: Gaussian blur of the pasted region, standard deviation in pixels.
        feather_probability, feather: soft border, standard deviation in pixels.
        min_change: a paste must change its region by this many grey levels on average; the best of some tries is kept.
        fill_weights: `telea`, `navier_stokes` (OpenCV) and `exemplar` (ours); not used with a callable.
        fill_radius: neighbourhood of the OpenCV methods in pixels.
        fill_dilation: pixels added around an object before it is filled in.
        fill_noise_probability: how often noise is added to a filled region, to hide its smoothness.
        regenerate_scale: intermediate size of the round trip that stands for a regenerated frame, 0..1.
        regenerate_blur: blur after it, standard deviation in pixels.
        resize_probability, resize: final reduction of the whole image, authentic ones too; factor 0..1.
        image_format: `png`, `jpeg` or `mixed` (each image draws one).
        jpeg_probability: share of JPEG files when the format is `mixed`.
        jpeg_quality: final JPEG quality, 1..100.
        chroma_subsampling_probability: share of all JPEG compressions that use 4:2:0.
        placement_tries: positions tried for one pasted region.
    """

    task_weights: dict[str, float] = dataclasses.field(
        default_factory=lambda: {
            "authentic": 0.2,
            "copy_move": 0.22,
            "splicing": 0.26,
            "inpainting": 0.08,
            "inpainting_blended": 0.24,
        }
    )
    paste_mask_weights: dict[str, float] = dataclasses.field(
        default_factory=lambda: {"object": 0.6, "polygon": 0.13, "brush": 0.05, "blob": 0.14, "border": 0.08}
    )
    fill_mask_weights: dict[str, float] = dataclasses.field(
        default_factory=lambda: {"object": 0.5, "polygon": 0.15, "brush": 0.2, "blob": 0.15, "border": 0.0}
    )
    area: tuple[float, float] = (0.01, 0.35)
    fill_area: tuple[float, float] = (0.01, 0.22)
    max_side: int = 512
    min_side_share: float = 0.5
    intact_probability: float = 0.4
    aspect_jitter: float = 0.2
    min_crop_share: float = 0.25
    max_enlargement: float = 1.25
    host_jpeg_probability: float = 0.3
    history_quality: tuple[int, int] = (60, 98)
    copies: int = 3
    scale_probability: float = 0.5
    scale: tuple[float, float] = (0.6, 1.6)
    rotate_probability: float = 0.4
    rotation: tuple[float, float] = (-30.0, 30.0)
    flip_probability: float = 0.25
    level_probability: float = 0.5
    colour_match_probability: float = 0.45
    colour_match_strength: tuple[float, float] = (0.2, 0.8)
    brightness_probability: float = 0.2
    brightness: tuple[float, float] = (0.8, 1.2)
    donor_jpeg_probability: float = 0.5
    noise_probability: float = 0.15
    noise: tuple[float, float] = (0.8, 5.0)
    blur_probability: float = 0.15
    blur: tuple[float, float] = (0.4, 1.2)
    feather_probability: float = 0.6
    feather: tuple[float, float] = (0.5, 2.5)
    min_change: float = 6.0
    fill_weights: dict[str, float] = dataclasses.field(
        default_factory=lambda: {"telea": 0.3, "navier_stokes": 0.3, "exemplar": 0.4}
    )
    fill_radius: tuple[int, int] = (3, 7)
    fill_dilation: tuple[int, int] = (2, 8)
    fill_noise_probability: float = 0.3
    regenerate_scale: tuple[float, float] = (0.6, 0.95)
    regenerate_blur: tuple[float, float] = (0.0, 0.6)
    resize_probability: float = 0.25
    resize: tuple[float, float] = (0.6, 0.95)
    image_format: str = "mixed"
    jpeg_probability: float = 0.6
    jpeg_quality: tuple[int, int] = (70, 100)
    chroma_subsampling_probability: float = 0.6
    placement_tries: int = 6

    def __post_init__(self):
        for name, allowed in (
            ("task_weights", TASKS),
            ("paste_mask_weights", MASK_KINDS),
            ("fill_mask_weights", MASK_KINDS),
            ("fill_weights", FILL_METHODS),
        ):
            _check_weights(name, getattr(self, name), allowed)
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name.endswith(("_probability", "_share")) and not 0.0 <= value <= 1.0:
                raise ValueError(f"{field.name} must be between 0 and 1, got {value}")
            if isinstance(value, tuple) and not (len(value) == 2 and value[0] <= value[1]):
                raise ValueError(f"{field.name} must be a pair (low, high) with low <= high, got {value}")
        for name, (low, high) in (("area", self.area), ("fill_area", self.fill_area)):
            if not 0.0 < low <= high <= MAX_AREA:
                raise ValueError(f"{name} must lie in (0, {MAX_AREA}], got {(low, high)}")
        for name, (low, high) in (("history_quality", self.history_quality), ("jpeg_quality", self.jpeg_quality)):
            if not 1 <= low <= high <= 100:
                raise ValueError(f"{name} must lie in 1..100, got {(low, high)}")
        if self.max_side < 64:
            raise ValueError(f"max_side must be at least 64 pixels, got {self.max_side}")
        if self.image_format not in FORMATS:
            raise ValueError(f"image_format must be one of {FORMATS}, got {self.image_format!r}")
        if self.copies < 1 or self.placement_tries < 1:
            raise ValueError(
                f"copies and placement_tries must be at least 1, got {self.copies}, {self.placement_tries}"
            )

    def with_tasks(
        self, tasks: list[str] | None = None, authentic_fraction: float | None = None
    ) -> "ManipulationConfig":
        """Copy of these settings that makes only some kinds, and a fixed share of authentic images.

        Args:
            tasks: kinds to make; the relative weights stay, a kind of weight 0 gets 1. None = as before.
            authentic_fraction: share of authentic images, 0..1. None = as the weights say.

        Raises:
            ValueError: for an unknown kind, or a fraction outside 0..1 or in conflict with `tasks`.
        """
        weights = dict(self.task_weights)
        if tasks is not None:
            unknown = sorted(set(tasks) - set(TASKS))
            if unknown or not tasks:
                raise ValueError(f"unknown kinds {unknown}: expected one or more of {list(TASKS)}")
            weights = {task: weights.get(task, 0.0) or 1.0 for task in TASKS if task in tasks}
        if authentic_fraction is not None:
            forged = {task: weight for task, weight in weights.items() if task != "authentic"}
            if not 0.0 <= authentic_fraction <= 1.0 or (sum(forged.values()) <= 0 and authentic_fraction < 1):
                raise ValueError(
                    f"authentic_fraction must be 0..1, and below 1 needs a forged kind, "
                    f"got {authentic_fraction} with kinds {sorted(weights)}"
                )
            total = sum(forged.values()) or 1.0
            weights = {task: (1.0 - authentic_fraction) * weight / total for task, weight in forged.items()}
            weights["authentic"] = authentic_fraction
        return dataclasses.replace(self, task_weights=weights)


def draw_weighted(weights: Mapping[str, float], rng: np.random.Generator) -> str:
    """Draw a key with a probability proportional to its weight."""
    names = sorted(weights)
    shares = np.array([weights[name] for name in names], np.float64)
    return names[int(rng.choice(len(names), p=shares / shares.sum()))]


def _check_weights(name: str, weights: dict[str, float], allowed: tuple[str, ...]) -> None:
    unknown = sorted(set(weights) - set(allowed))
    if unknown:
        raise ValueError(f"{name} has unknown entries {unknown}: expected {list(allowed)}")
    if min(weights.values(), default=0) < 0 or sum(weights.values()) <= 0:
        raise ValueError(f"{name} needs weights >= 0 with a positive sum, got {weights}")
