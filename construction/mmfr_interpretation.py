"""One image of MMFR: asked about its attributes and for a caption, or rejected (FakeReasoning, section 3.2)."""

import dataclasses
from enum import Enum

from PIL import Image

from .json_replies import UnusableReply, ask_json
from .mmfr_prompts import (
    CAPTION_PROMPT,
    UNDECIDED,
    interpretation_prompt,
    read_caption,
    read_interpretation,
)
from .vision_language import RefusedRequest, VisionLanguageModel


class RejectReason(str, Enum):
    """Why an image is left out."""

    UNDECIDED = "cannot be told"
    CONTRADICTION = "answer contradicts the label"
    NO_ATTRIBUTE = "no known attribute was named"
    UNUSABLE_REPLY = "reply could not be used"
    REFUSED = "request was refused"


@dataclasses.dataclass(frozen=True)
class MMFRSettings:
    """How images are asked about; none of it is given in the paper.

    Args:
        tries: how often the model is asked before its replies count as unusable.
        max_side: longest side in pixels of what the model is shown; None shows images as they are. Smaller images cost
            less, and hide traces.
    """

    tries: int = 3
    max_side: int | None = None

    def __post_init__(self):
        if self.tries < 1 or (self.max_side is not None and self.max_side < 1):
            raise ValueError(f"tries and max_side must be at least 1, got {self.tries} and {self.max_side}")


@dataclasses.dataclass(frozen=True)
class DescribedImage:
    """What the model says of an image.

    Args:
        attributes: names and descriptions.
        caption: None for a rejected image.
        dropped: attributes outside the label's five.
        reject: why the image is left out; None when it is not.
        detail: the reason in words.
    """

    attributes: dict[str, str] = dataclasses.field(default_factory=dict)
    caption: str | None = None
    dropped: tuple[str, ...] = ()
    reject: RejectReason | None = None
    detail: str | None = None


def describe_image(
    image: Image.Image, label: str, model: VisionLanguageModel, settings: MMFRSettings
) -> DescribedImage:
    """Ask for the attributes of an image, and for a caption when they are of use.

    Args:
        image: PIL RGB.
        label: `real` or `fake`.
        model: answers `model(images, prompt)`.
        settings: settings.

    Raises:
        ServerError: the server cannot be used.
    """
    image = shrunk(image, settings.max_side)
    try:
        answer = ask_json(
            model,
            [image],
            interpretation_prompt(label),
            lambda reply: read_interpretation(reply, label),
            settings.tries,
        )
        if answer.verdict == UNDECIDED:
            return DescribedImage(reject=RejectReason.UNDECIDED)
        if answer.verdict != label:
            return DescribedImage(reject=RejectReason.CONTRADICTION, detail=f"{answer.verdict}, not {label}")
        if not answer.attributes:
            return DescribedImage(dropped=answer.dropped, reject=RejectReason.NO_ATTRIBUTE)
        caption = ask_json(model, [image], CAPTION_PROMPT, read_caption, settings.tries)
    except UnusableReply as error:
        return DescribedImage(reject=RejectReason.UNUSABLE_REPLY, detail=str(error))
    except RefusedRequest as error:
        return DescribedImage(reject=RejectReason.REFUSED, detail=str(error))
    return DescribedImage(answer.attributes, caption, answer.dropped)


def shrunk(image: Image.Image, max_side: int | None) -> Image.Image:
    """The image, reduced where its longer side has more than `max_side` pixels."""
    if max_side is None or max(image.size) <= max_side:
        return image
    reduced = image.copy()
    reduced.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    return reduced


__all__ = ["DescribedImage", "MMFRSettings", "RejectReason", "describe_image", "shrunk"]
