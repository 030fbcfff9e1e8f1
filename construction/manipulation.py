"""Classical image manipulations for training and testing detectors: copy-move, splicing, inpainting.

Implements the manipulation kinds and labels of GAMMA, section 3.2 and Table 1. The paper takes its images from
COCO-Inpaint and TampCOCO; how a region is chosen, moved and blended is not given in the paper and documented in
`ManipulationConfig`. A user's generative model goes in as `inpainter`.
"""

import dataclasses
import io
from collections.abc import Callable

import cv2
import numpy as np
from PIL import Image

from .appearance import add_noise, blend, soft_alpha
from .filling import fill_region, regenerate_frame
from .framing import finish, frame_photo
from .manipulation_config import FORMATS, LABELS, MASK_KINDS, TASKS, Drawn, ManipulationConfig, draw_weighted
from .masks import draw_mask
from .pasting import paste_regions

__all__ = [
    "FORMATS",
    "LABELS",
    "MASK_KINDS",
    "TASKS",
    "Inpainter",
    "Manipulation",
    "ManipulationConfig",
    "complete",
    "draw_fill_mask",
    "draw_task",
    "manipulate",
]

Inpainter = Callable[[Image.Image, Image.Image], Image.Image]


@dataclasses.dataclass
class Manipulation:
    """One constructed image.

    Args:
        image: PIL RGB, decoded from `encoded`, so JPEG traces are in it.
        mask: (H, W) uint8, 1 = forged pixel (opacity of the pasted or filled region above 0.5).
        ai_mask: (H, W) uint8, 1 = generated pixel: the whole frame for `inpainting`, the region for
            `inpainting_blended`, nothing otherwise (GAMMA Table 1).
        label: 1 = fake (holds generated content), 0 = real, as in GAMMA Table 1; forged at all is `mask.any()`.
        task: `authentic`, `copy_move`, `splicing`, `inpainting` or `inpainting_blended`.
        parameters: everything that was drawn, ready for JSON.
        encoded: bytes of the image file.
        suffix: `.png` or `.jpg`.
    """

    image: Image.Image
    mask: np.ndarray
    ai_mask: np.ndarray
    label: int
    task: str
    parameters: Drawn
    encoded: bytes
    suffix: str


def draw_task(config: ManipulationConfig, rng: np.random.Generator) -> str:
    """Draw the kind of the next image."""
    return draw_weighted(config.task_weights, rng)


def manipulate(
    photo: Image.Image,
    task: str,
    rng: np.random.Generator,
    config: ManipulationConfig | None = None,
    donor: Image.Image | None = None,
    inpainter: Inpainter | None = None,
) -> Manipulation:
    """Make one image from a photograph.

    Args:
        photo: PIL RGB host; a random frame of it is used.
        task: one of `TASKS`.
        rng: source of all randomness; the same state gives the same bytes.
        config: settings, `ManipulationConfig()` by default.
        donor: second photograph, needed for `splicing` only.
        inpainter: `inpainter(image, mask) -> image` with a PIL RGB image and a PIL L mask (255 = fill); it replaces
            OpenCV and the exemplar method. It must return an RGB image of the same size.

    Returns:
        The image, its masks, label and the drawn parameters.

    Raises:
        ValueError: unknown task, missing donor, photograph too small, or an inpainter that fails or returns an image
            of another size.

    Example:
        >>> rng = np.random.default_rng([seed, index])
        >>> made = manipulate(photo, "copy_move", rng)
        >>> made.mask.mean(), made.parameters["pastes"]
    """
    config = config or ManipulationConfig()
    if task not in TASKS:
        raise ValueError(f"unknown task {task!r}: expected one of {list(TASKS)}")
    if task == "splicing" and donor is None:
        raise ValueError("splicing needs a donor: pass a second photograph as `donor`")
    host, parameters = frame_photo(np.asarray(photo.convert("RGB")), config, rng)
    drawn: Drawn = {}
    if task == "authentic":
        image, mask = host, np.zeros(host.shape[:2], np.uint8)
    elif task in ("copy_move", "splicing"):
        image, mask, drawn = _paste(host, donor if task == "splicing" else None, config, rng)
    else:
        image, mask, drawn = _inpaint(host, task == "inpainting_blended", config, rng, inpainter)
    parameters.update(drawn)
    return complete(image, mask, task, parameters, config, rng)


def complete(
    image: np.ndarray,
    mask: np.ndarray,
    task: str,
    parameters: Drawn,
    config: ManipulationConfig,
    rng: np.random.Generator,
) -> Manipulation:
    """Encode a made image and give it the label and the mask of generated pixels that Table 1 says.

    Args:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) uint8, 1 = forged pixel.
        task: one of `TASKS`.
        parameters: what was drawn so far; what is drawn here comes on top.
        config: format and final size.
        rng: source of all randomness.
    """
    ai_mask = {"inpainting": np.ones_like(mask), "inpainting_blended": mask}.get(task, np.zeros_like(mask))
    encoded, suffix, (mask, ai_mask), drawn = finish(image, [mask, ai_mask], config, rng)
    decoded = Image.open(io.BytesIO(encoded)).convert("RGB")
    return Manipulation(decoded, mask, ai_mask, LABELS[task], task, {**parameters, **drawn}, encoded, suffix)


def draw_fill_mask(host: np.ndarray, config: ManipulationConfig, rng: np.random.Generator) -> tuple[np.ndarray, str]:
    """Draw a region to fill in: (H, W) uint8 mask, objects with a margin around them, and the kind drawn."""
    mask, kind = draw_mask(host, draw_weighted(config.fill_mask_weights, rng), config.fill_area, rng)
    if kind == "object":
        size = 2 * int(rng.integers(config.fill_dilation[0], config.fill_dilation[1] + 1)) + 1
        grown = cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))
        mask = grown if grown.mean() <= config.fill_area[1] else mask
    return mask, kind


def _paste(
    host: np.ndarray, donor: Image.Image | None, config: ManipulationConfig, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, Drawn]:
    """Copy-move, or splicing from a random frame of a donor."""
    if donor is None:
        return paste_regions(host, None, config, rng)
    source, frame = frame_photo(np.asarray(donor.convert("RGB")), config, rng)
    image, mask, drawn = paste_regions(host, source, config, rng)
    return image, mask, {**drawn, "donor": frame}


def _inpaint(
    host: np.ndarray, blended: bool, config: ManipulationConfig, rng: np.random.Generator, inpainter: Inpainter | None
) -> tuple[np.ndarray, np.ndarray, Drawn]:
    """Fill a region; the frame around it is the original when `blended`, else regenerated."""
    mask, kind = draw_fill_mask(host, config, rng)
    drawn: Drawn = {"mask_kind": kind}
    if inpainter is not None:
        frame = _call_inpainter(inpainter, host, mask)
        drawn["fill"] = "callable"
    else:
        frame, fill = _fill(host, mask, config, rng)
        drawn.update(fill)
        if not blended or rng.random() < 0.5:  # a generator's own traces are in the region either way
            scale, blur = rng.uniform(*config.regenerate_scale), rng.uniform(*config.regenerate_blur)
            frame = regenerate_frame(frame, scale, blur)
            drawn["regenerate"] = [round(scale, 4), round(blur, 4)]
    if not blended:
        return frame, mask, drawn
    feather = rng.uniform(*config.feather) if rng.random() < config.feather_probability else 0.0
    alpha = soft_alpha(mask, feather)
    drawn["feather"] = round(feather, 4)
    return blend(host, frame, alpha), (alpha > 0.5).astype(np.uint8), drawn


def _fill(
    host: np.ndarray, mask: np.ndarray, config: ManipulationConfig, rng: np.random.Generator
) -> tuple[np.ndarray, Drawn]:
    method = draw_weighted(config.fill_weights, rng)
    radius = int(rng.integers(config.fill_radius[0], config.fill_radius[1] + 1))
    frame = fill_region(host, mask, method, radius, rng)
    drawn: Drawn = {"fill": method, "fill_radius": radius}
    if rng.random() < config.fill_noise_probability:
        noise = rng.uniform(*config.noise)
        frame = np.where(mask[..., None] == 1, add_noise(frame, noise, rng), frame)
        drawn["fill_noise"] = round(noise, 4)
    return frame, drawn


def _call_inpainter(inpainter: Inpainter, host: np.ndarray, mask: np.ndarray) -> np.ndarray:
    try:
        result = inpainter(Image.fromarray(host), Image.fromarray(mask * 255))
    except Exception as error:  # a stranger's model raises any type, and a folder must go on
        raise ValueError(f"the inpainter failed ({type(error).__name__}: {error})") from error
    frame = np.asarray(result.convert("RGB") if isinstance(result, Image.Image) else result)
    if frame.shape != host.shape or frame.dtype != np.uint8:
        raise ValueError(
            f"the inpainter must return an RGB image of {host.shape[1]}x{host.shape[0]} pixels, "
            f"got shape {frame.shape} and type {frame.dtype}: resize its result to the input's size"
        )
    return frame
