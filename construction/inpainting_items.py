"""One item of an inpainting folder: a frame with a region to fill, and the images made of it once it is filled.

Label and masks follow GAMMA's Table 1.
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from .appearance import blend, soft_alpha
from .framing import frame_photo
from .manipulation import Manipulation, ManipulationConfig, complete, draw_fill_mask
from .manipulation_config import Drawn

# Images made of one filled frame; the place in the list is part of a row's index.
VARIANTS = ("authentic", "inpainting", "inpainting_blended")


def inpainting_config(**changes: Any) -> ManipulationConfig:
    """Settings of the engine that suit a pipeline.

    Frames are `max_side` pixels long and keep the photograph's aspect ratio, so that those of many photographs have
    one size and can be filled together; a filled image is neither reduced nor, by default, blended softly.

    Args:
        **changes: fields of `ManipulationConfig`, such as `max_side`, `fill_mask_weights`, `image_format`; with
            `feather_probability=1.0` the blended region has the soft border `feather`.
    """
    plain = {"min_side_share": 1.0, "aspect_jitter": 0.0, "resize_probability": 0.0, "feather_probability": 0.0}
    return ManipulationConfig(**{**plain, **changes})


@dataclasses.dataclass(frozen=True)
class Item:
    """A frame that waits for being filled.

    Args:
        photo: where it is from.
        frame: (H, W, 3) uint8 RGB.
        mask: (H, W) uint8, 1 = fill.
        feather: standard deviation in pixels of the blended region's soft border, 0 for a hard one.
        seed: of the fill.
        drawn: everything that was drawn, ready for JSON.
    """

    photo: Path
    frame: np.ndarray
    mask: np.ndarray
    feather: float
    seed: int
    drawn: Drawn


def draw_item(
    photo: Path, pixels: np.ndarray, config: ManipulationConfig, multiple: int, rng: np.random.Generator
) -> Item:
    """Draw frame, region and seed.

    Args:
        photo: name of the photograph.
        pixels: (H, W, 3) uint8 RGB.
        config: settings.
        multiple: the frame's sides are multiples of this many pixels; what is too much is cut off.
        rng: source of all randomness.

    Raises:
        ValueError: a photograph that is too small.
    """
    frame, drawn = frame_photo(pixels, config, rng)
    height, width = (side // multiple * multiple for side in frame.shape[:2])
    if not min(height, width):
        raise ValueError(f"frame of {frame.shape[1]}x{frame.shape[0]} pixels is too small: a side needs {multiple}")
    frame = np.ascontiguousarray(frame[:height, :width])
    mask, kind = draw_fill_mask(frame, config, rng)
    feather = float(rng.uniform(*config.feather)) if rng.random() < config.feather_probability else 0.0
    seed = int(rng.integers(2**32))
    drawn.update(mask_kind=kind, feather=round(feather, 4), fill_seed=seed)
    return Item(photo, frame, mask, feather, seed, drawn)


def make_variant(
    item: Item, filled: np.ndarray, task: str, config: ManipulationConfig, seed: list[int]
) -> Manipulation:
    """Make one image of a filled frame.

    Args:
        item: the frame and its region.
        filled: what the model made of it, (H, W, 3) uint8.
        task: one of `VARIANTS`.
        config: format of the file.
        seed: seed of the compression.
    """
    rng = np.random.default_rng(seed)
    if task == "authentic":
        framing: Drawn = {name: item.drawn[name] for name in ("crop", "reduction", "history") if name in item.drawn}
        return complete(item.frame, np.zeros_like(item.mask), task, framing, config, rng)
    if task == "inpainting":
        changed = (filled != item.frame).any(axis=2)[item.mask == 0]
        drawn = {**item.drawn, "changed_outside": round(float(changed.mean()), 6)}
        return complete(filled, item.mask, task, drawn, config, rng)
    alpha = soft_alpha(item.mask, item.feather)
    return complete(blend(item.frame, filled, alpha), (alpha > 0.5).astype(np.uint8), task, item.drawn, config, rng)


__all__ = ["VARIANTS", "Item", "draw_item", "inpainting_config", "make_variant"]
