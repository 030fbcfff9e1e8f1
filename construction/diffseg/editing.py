"""One photograph through the whole pipeline: regions, edits turn by turn, mask of ids, quality (DiffSeg30k, 3.1, 3.2).

Tools are arguments (`Tools`); nothing is read or written here.
"""

import dataclasses
import enum
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from ..json_replies import UnusableReply, ask_json
from ..vision_language import RefusedRequest, VisionLanguageModel
from .editors import Editor
from .grounding import FindRegions
from .plan import PlannedTurn, draw_plan, region_generator
from .prompts import edit_prompt, objects_prompt, outlined, quality_prompt, read_edit, read_objects, read_quality
from .regions import Region, choose_regions, distinct_regions, grown_region, sized_regions
from .settings import EditSettings


class RejectReason(str, enum.Enum):
    """Why a photograph gives no image; the last one is the paper's (section 3.2)."""

    NO_OBJECT = "no object was named"
    NO_REGION = "no region was found"
    UNUSABLE_REPLY = "reply could not be used"
    REFUSED = "request was refused"
    LOW_QUALITY = "quality is too low"


class EditorError(RuntimeError):
    """An editor raised an error."""


@dataclasses.dataclass(frozen=True)
class Tools:
    """What the construction works with.

    Args:
        vision_language: answers `model(images, prompt)`.
        find_regions: finds regions of named objects.
        editors: by name.
        examples: images with their scores and reasons that go before the one whose quality is asked for (section 8);
            the paper has two, which are not published.
    """

    vision_language: VisionLanguageModel
    find_regions: FindRegions
    editors: Mapping[str, Editor]
    examples: Sequence[tuple[Image.Image, int, str]] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class Turn:
    """One edit that was made.

    Args:
        plan: what was drawn.
        region: where.
        prompt: what the editor was told.
        removal_prompt: what it was told first, in an addition.
        new_object: what was added.
        image: the whole image after the edit.
    """

    plan: PlannedTurn
    region: Region
    prompt: str
    removal_prompt: str | None
    new_object: str | None
    image: Image.Image


@dataclasses.dataclass
class EditedImage:
    """What has become of a photograph so far.

    Args:
        original: photograph at the size of the corpus, PIL RGB.
        planned_turns: edits that were drawn; fewer are made where fewer regions are found.
        turns: edits that were made.
        ids: (H, W) uint8, 0 = untouched, else the id of the editor that came last.
        quality: score from 0 to 5, None before it was asked for.
        quality_reason: the model's sentence.
        reject: why it is no part of the corpus; None where it is.
        detail: of the reject.
    """

    original: Image.Image
    planned_turns: int
    turns: list[Turn]
    ids: np.ndarray
    quality: float | None = None
    quality_reason: str | None = None
    reject: RejectReason | None = None
    detail: str | None = None

    @property
    def image(self) -> Image.Image:
        """The image after the last edit."""
        return self.turns[-1].image if self.turns else self.original


def edit_photo(photo: Image.Image, index: int, tools: Tools, settings: EditSettings) -> EditedImage:
    """Edit a photograph.

    Args:
        photo: PIL RGB, of any size.
        index: number of the item; with the seed it decides on everything drawn.
        tools: models and editors.
        settings: settings.

    Returns:
        The edited image, with `reject` set where it is of no use.

    Raises:
        ServerError: the vision-language server cannot be used.
        EditorError: an editor failed.
    """
    plan = draw_plan(settings, [name for name in settings.id2editor if name in tools.editors], index)
    original = square_photo(photo, settings.image_size)
    made = EditedImage(original, len(plan), [], np.zeros(original.size[::-1], dtype=np.uint8))
    try:
        regions = _find(original, tools, settings)
        if isinstance(regions, RejectReason):
            made.reject = regions
            return made
        rng = region_generator(settings, index)
        chosen = choose_regions(regions, len(plan), settings.person_weight, settings.area_exponent, rng)
        for turn_plan, region in zip(plan, chosen, strict=False):
            made.turns.append(_make_turn(made.image, region, turn_plan, tools, settings))
            made.ids[region.mask] = settings.id_of(turn_plan.editor)
        _judge(made, tools, settings)
    except UnusableReply as error:
        made.reject, made.detail = RejectReason.UNUSABLE_REPLY, str(error)
    except RefusedRequest as error:
        made.reject, made.detail = RejectReason.REFUSED, str(error)
    return made


def square_photo(photo: Image.Image, size: int) -> Image.Image:
    """Resize a photograph so that its shorter side has `size` pixels, and cut the middle out (section 4.1)."""
    scale = size / min(photo.size)
    width, height = (max(size, round(side * scale)) for side in photo.size)
    left, top = (width - size) // 2, (height - size) // 2
    resized = photo.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
    return resized.crop((left, top, left + size, top + size))


def _find(image: Image.Image, tools: Tools, settings: EditSettings) -> list[Region] | RejectReason:
    """Regions that may be edited, or why there are none."""
    most = settings.max_objects
    things = _ask([image], objects_prompt(most), lambda reply: read_objects(reply, most), tools, settings)
    if not things:
        return RejectReason.NO_OBJECT
    found = tools.find_regions(image, things, settings.boxes_per_object)
    grown = [grown_region(region, settings.mask_dilation) for region in found]
    regions = distinct_regions(sized_regions(grown, settings.min_area, settings.max_area), settings.max_iou)
    return regions or RejectReason.NO_REGION


def _make_turn(image: Image.Image, region: Region, plan: PlannedTurn, tools: Tools, settings: EditSettings) -> Turn:
    """Edit one region; an addition removes what is there first, as section 3.1, item 3 says."""
    removal_prompt = None
    if plan.edit_type == "addition":
        removal_prompt, _ = _write_prompt(image, region, "removal", tools, settings)
        image = _edit(image, region, plan.editor, removal_prompt, plan.removal_seed, tools, settings)
    prompt, new_object = _write_prompt(image, region, plan.edit_type, tools, settings)
    edited = _edit(image, region, plan.editor, prompt, plan.seed, tools, settings)
    return Turn(plan, region, prompt, removal_prompt, new_object, edited)


def _write_prompt(
    image: Image.Image, region: Region, edit_type: str, tools: Tools, settings: EditSettings
) -> tuple[str, str | None]:
    question = edit_prompt(edit_type, region.thing.name)
    return _ask(
        [image, outlined(image, region.mask)], question, lambda reply: read_edit(reply, edit_type), tools, settings
    )


def _edit(
    image: Image.Image, region: Region, editor: str, prompt: str, seed: int, tools: Tools, settings: EditSettings
) -> Image.Image:
    try:
        edited = tools.editors[editor](image, region.mask, prompt, seed)
    except Exception as error:  # a stranger's model raises any type
        raise EditorError(f"{editor} failed ({type(error).__name__}: {error})") from error
    if not settings.keep_background:
        return edited
    return Image.fromarray(np.where(region.mask[..., None], np.asarray(edited), np.asarray(image)))


def _judge(made: EditedImage, tools: Tools, settings: EditSettings) -> None:
    """Ask for the quality and set the reject (section 3.2)."""
    images = [*(image for image, _, _ in tools.examples), made.image]
    question = quality_prompt([(score, reason) for _, score, reason in tools.examples])
    made.quality, made.quality_reason = _ask(images, question, read_quality, tools, settings)
    if made.quality < settings.min_quality:
        made.reject, made.detail = RejectReason.LOW_QUALITY, made.quality_reason


def _ask(
    images: Sequence[Image.Image],
    question: str,
    check: Callable[[dict[str, Any]], Any],
    tools: Tools,
    settings: EditSettings,
) -> Any:
    return ask_json(tools.vision_language, images, question, check, settings.tries)


__all__ = ["EditedImage", "EditorError", "RejectReason", "Tools", "Turn", "edit_photo", "square_photo"]
