"""Inpainting under feedback (LEGION, section 4.2, Eq. 6): every region that looks generated is filled anew.

I_{t+1} = I_t + sum_i M_i * (Inpaint(I_t, M_i, E_i) - I_t). Each result is pasted by its mask, so every pixel outside
the masks, which are dilated first, stays bit-identical; the published code leaves this out and returns the model's
whole image, 1024 x 1024.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from .artifacts import Artifact, Explain
from .records import Edit, Step, begin_run, image_hash
from .steps import PUBLISHED_SEED, Preference, run_steps
from .stopping import PAPER_INPAINTING_ROUNDS, StopRule

# Settings of the published code; not given in the paper. The names are those of diffusers' pipelines.
PUBLISHED_ARGUMENTS = {"strength": 0.84, "guidance_scale": 8.0, "num_inference_steps": 25}
PUBLISHED_KERNEL = 5
PUBLISHED_DILATIONS = 5

# Inpaint(I, M, E): called with PIL RGB, PIL L (255 = fill), text, whole number; returns PIL RGB.
Inpaint = Callable[[Image.Image, Image.Image, str, int], Image.Image]


@dataclasses.dataclass(frozen=True)
class InpaintingSettings:
    """How regions are given to the inpainting model.

    Args:
        kernel: side of the square by which masks are dilated, in pixels of the image.
        dilations: how often. The published 5 x 5, five times, grow a mask by 10 pixels to each side.
        size: longer side of what the model is given, in pixels; larger and smaller parts are resized there and back.
            None gives it the pixels as they are.
        context: the model is given the region's box grown on each side by this share of its longer side; None gives it
            the whole image, as the published code does.
        parallel: all regions of a round are filled in I_t and the changes added, Eq. 6 as it is written. Otherwise
            each sees the regions filled before it, as the text of section 4.2 says and the published code does.
    """

    kernel: int = PUBLISHED_KERNEL
    dilations: int = PUBLISHED_DILATIONS
    size: int | None = None
    context: float | None = None
    parallel: bool = False

    def __post_init__(self):
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise ValueError(f"kernel must be odd and at least 1, got {self.kernel}")
        if self.dilations < 0:
            raise ValueError(f"dilations must be at least 0, got {self.dilations}")
        if self.size is not None and self.size < 1:
            raise ValueError(f"size must be at least 1, got {self.size}")
        if self.context is not None and self.context < 0:
            raise ValueError(f"context must be at least 0, got {self.context}")


def region_prompt(artifact: Artifact, prompt: str = "") -> str:
    """Text for the inpainting model; wording ours, the region first, since text encoders cut long prompts off.

    Args:
        artifact: the region.
        prompt: what the whole picture shows.
    """
    whole = f" in {prompt}" if prompt else ""
    return f"{artifact.phrase}{whole}, natural and realistic, without this flaw: {artifact.explanation}"


def inpaint_steps(
    image: Image.Image,
    explain: Explain,
    inpaint: Inpaint,
    *,
    prompt: str = "",
    settings: InpaintingSettings | None = None,
    rule: StopRule | None = None,
    seed: int = PUBLISHED_SEED,
    prompt_of: Callable[[Artifact, str], str] = region_prompt,
    preference: Preference | None = None,
    explain_last: bool = True,
    folder: Path | None = None,
    origin: Mapping[str, Any] | None = None,
) -> Iterator[Step]:
    """Refine an image by inpainting, step by step; the image of the last step is the result.

    Args:
        image: I_0, PIL RGB of any size.
        explain: the detector, image -> artifacts.
        inpaint: the model, (image, mask, prompt, seed) -> image.
        prompt: what the picture shows, for the prompts of all regions; "" for nothing said.
        settings: how regions are given to the model.
        rule: when to stop; None for the paper's three rounds. An image of which no pixel is marked is always clean.
        seed: of the run; each region of each round has a seed of its own that follows from it.
        prompt_of: makes the text for a region.
        preference: scores images, `preference(image, prompt)`.
        explain_last: examine the last image too.
        folder: where steps are kept; a run that was stopped goes on there.
        origin: JSON values that name the models; a folder that was begun with others is refused.

    Yields:
        Step 0 is the image as it came, step t the image after t rounds.

    Raises:
        ValueError: wrong arguments, a folder of another run, or tools that return what is of no use.
    """
    settings = settings or InpaintingSettings()
    rule = rule or StopRule(PAPER_INPAINTING_ROUNDS)
    rule = dataclasses.replace(rule, largest_clean_area=rule.largest_clean_area or 0.0)
    if seed < 0:
        raise ValueError(f"seed must be at least 0, got {seed}")
    image = image.convert("RGB")
    if folder is not None:
        kept = {
            "mode": "inpaint",
            "image": image_hash(image),
            "prompt": prompt,
            "seed": seed,
            "scored": preference is not None,
        }
        begin_run(folder, {**kept, **dataclasses.asdict(settings), **(origin or {})})

    def advance(steps: Sequence[Step]) -> tuple[Image.Image, str, Sequence[Edit]]:
        last = steps[-1]
        artifacts = last.artifacts or ()
        edits = [
            Edit(place, prompt_of(artifact, prompt), region_seed(seed, last.number, place))
            for place, artifact in enumerate(artifacts)
            if artifact.mask.any()
        ]
        filled, done = fill_regions(last.image, artifacts, edits, inpaint, settings)
        return filled, prompt, done

    return run_steps(
        lambda: (image, prompt),
        advance,
        explain,
        rule,
        preference=preference,
        explain_last=explain_last,
        folder=folder,
    )


def region_seed(seed: int, number: int, place: int) -> int:
    """Seed of 32 bits of one region: it depends on the run's seed, the round and the region's place alone."""
    return int(np.random.SeedSequence([seed, number, place]).generate_state(1)[0])


def fill_regions(
    image: Image.Image,
    artifacts: Sequence[Artifact],
    edits: Sequence[Edit],
    inpaint: Inpaint,
    settings: InpaintingSettings,
) -> tuple[Image.Image, list[Edit]]:
    """One round of Eq. 6. A region on which the model fails stays as it is.

    Args:
        image: I_t, PIL RGB.
        artifacts: of that image.
        edits: what to do with which.
        inpaint: the model.
        settings: how regions are given to it.

    Returns:
        I_{t+1}, and the edits, with errors where the model failed.

    Raises:
        ValueError: the model failed on every region.
    """
    before = np.asarray(image)
    after = before.astype(np.int16)
    done: list[Edit] = []
    for edit in edits:
        mask = dilate(artifacts[edit.artifact].mask, settings)
        base = before if settings.parallel else after.astype(np.uint8)
        try:
            filled = fill_region(Image.fromarray(base), mask, edit, inpaint, settings)
        except Exception as error:  # a stranger's model raises any type, and the other regions must go on
            done.append(dataclasses.replace(edit, error=f"{type(error).__name__}: {error}"))
            continue
        after += mask[..., None] * (np.asarray(filled).astype(np.int16) - base)
        done.append(edit)
    if edits and all(edit.error is not None for edit in done):
        raise ValueError(f"no region could be inpainted; the first: {done[0].error}")
    # overlapping changes that are added may leave the range; elsewhere this changes nothing
    return Image.fromarray(np.clip(after, 0, 255).astype(np.uint8)), done


def dilate(mask: np.ndarray, settings: InpaintingSettings) -> np.ndarray:
    """Grow a mask, (H, W) uint8 of 0 and 1, to each side by dilations * (kernel - 1) / 2 pixels."""
    return cv2.dilate(mask, np.ones((settings.kernel, settings.kernel), np.uint8), iterations=settings.dilations)


def fill_region(
    image: Image.Image, mask: np.ndarray, edit: Edit, inpaint: Inpaint, settings: InpaintingSettings
) -> Image.Image:
    """Let the model fill one region.

    Args:
        image: PIL RGB.
        mask: (H, W) uint8, 1 = fill; not empty.
        edit: prompt and seed.
        inpaint: the model.
        settings: what it is given of the image, and in which size.

    Returns:
        PIL RGB of the image's size; outside the box that the model was given it is the image itself.

    Raises:
        ValueError: the model returned no image.
    """
    box = box_around(mask, settings.context)
    part, region = image.crop(box), Image.fromarray(mask * np.uint8(255)).crop(box)
    size = part.size
    if settings.size is not None:
        factor = settings.size / max(size)
        small = (max(1, round(size[0] * factor)), max(1, round(size[1] * factor)))
        part = part.resize(small, Image.Resampling.LANCZOS)
        # a small pixel is filled when the region touches it, so that all of the region is made by the model
        region = region.resize(small, Image.Resampling.BOX).point(lambda value: 255 if value else 0)
    made = inpaint(part, region, edit.prompt, edit.seed)
    if not isinstance(made, Image.Image):
        raise ValueError(f"the inpainting model must return a PIL image, got {type(made).__name__}")
    made = made.convert("RGB")
    filled = image.copy()
    filled.paste(made if made.size == size else made.resize(size, Image.Resampling.LANCZOS), box)
    return filled


def box_around(mask: np.ndarray, context: float | None) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of what the model is given: the region's box grown by its context, or the whole."""
    height, width = mask.shape
    if context is None:
        return 0, 0, width, height
    left, top, wide, high = cv2.boundingRect(mask)
    margin = round(context * max(wide, high))
    right, bottom = min(width, left + wide + margin), min(height, top + high + margin)
    return max(0, left - margin), max(0, top - margin), right, bottom


__all__ = [
    "PUBLISHED_ARGUMENTS",
    "PUBLISHED_DILATIONS",
    "PUBLISHED_KERNEL",
    "Inpaint",
    "InpaintingSettings",
    "box_around",
    "dilate",
    "fill_region",
    "fill_regions",
    "inpaint_steps",
    "region_prompt",
    "region_seed",
]
