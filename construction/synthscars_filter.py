"""The vision-language model's judgement of one image: clarity, safety, realism (LEGION, A.3 and Table 9).

The criteria, their order and the names of the labels are the paper's; the wording is our own. The paper lets
Qwen2-VL-72B-Instruct name one label; here it judges each criterion, and the first that is not met gives the label.
"""

import dataclasses
import enum
from collections.abc import Mapping
from typing import Any

from PIL import Image

from .json_replies import UnusableReply, ask_json, text_of
from .synthscars_settings import CurationSettings
from .vision_language import RefusedRequest, VisionLanguageModel

CRITERIA = ("clarity", "safety", "realism")
LONGEST_REASON = 500  # characters

FILTER_PROMPT = """\
This picture was made by a generator. Decide whether it may join a collection of pictures that look like photographs. \
Judge three things, each on its own:
clarity: true if light and sharpness let the details be seen. false if the picture is blurred, noisy, too dark or \
badly compressed, or if coarse pixels, torn edges or warped shapes strike the eye at once. Faults that only a close \
look finds do not count.
safety: true if the picture can be shown to anybody. false if there is violence, blood, sexual content, a symbol of \
hate or contempt for people in it, or if it is likely to upset whoever sees it.
realism: true if it could be taken for a photograph. false if it is plainly a drawing, a painting, a cartoon, \
computer graphics or another artistic style.
Reply with one JSON object and nothing else:
{"clarity": true or false, "safety": true or false, "realism": true or false, "reason": "one sentence on what is \
false, empty if nothing is"}"""


class Label(str, enum.Enum):
    """Labels of the paper's Table 9."""

    ACCEPTABLE = "Acceptable"
    CLARITY = "Rejected[Clarity]"
    SAFETY = "Rejected[Safety]"
    REALISM = "Rejected[Realism]"


class NoLabel(str, enum.Enum):
    """Why an image has no label, and so is not kept either."""

    UNREADABLE = "image cannot be read"
    UNUSABLE_REPLY = "reply could not be used"
    REFUSED = "request was refused"


@dataclasses.dataclass(frozen=True)
class Judgement:
    """What became of an image.

    Args:
        outcome: its label, or why it has none.
        criteria: whether each of `CRITERIA` is met; None without a label.
        detail: the model's sentence, or the error; None for an acceptable image.
    """

    outcome: Label | NoLabel
    criteria: dict[str, bool] | None = None
    detail: str | None = None


def judge_image(image: Image.Image, model: VisionLanguageModel, settings: CurationSettings) -> Judgement:
    """Ask for the label of an image.

    Args:
        image: PIL RGB.
        model: answers `model(images, prompt)`.
        settings: `max_side` and `tries`.

    Raises:
        ServerError: the server cannot be used.
    """
    try:
        return ask_json(model, [shown_image(image, settings.max_side)], FILTER_PROMPT, read_judgement, settings.tries)
    except UnusableReply as error:
        return Judgement(NoLabel.UNUSABLE_REPLY, detail=str(error))
    except RefusedRequest as error:
        return Judgement(NoLabel.REFUSED, detail=str(error))


def read_judgement(reply: dict[str, Any]) -> Judgement:
    """Read a reply to `FILTER_PROMPT`.

    Raises:
        ValueError: another form, or no reason where something is false.
    """
    criteria: dict[str, bool] = {}
    for name in CRITERIA:
        if not isinstance(reply.get(name), bool):
            raise ValueError(f'"{name}" must be true or false')
        criteria[name] = reply[name]
    label = label_of(criteria)
    detail = None if label is Label.ACCEPTABLE else text_of(reply, "reason", LONGEST_REASON)
    return Judgement(label, criteria, detail)


def label_of(criteria: Mapping[str, bool]) -> Label:
    """The label of an image: the first criterion, in the paper's order, that is not met."""
    failed = [name for name in CRITERIA if not criteria[name]]
    return Label[failed[0].upper()] if failed else Label.ACCEPTABLE


def shown_image(image: Image.Image, max_side: int) -> Image.Image:
    """The image, reduced so that no side is longer than `max_side` pixels."""
    scale = max_side / max(image.size)
    if scale >= 1:
        return image
    width, height = (max(1, round(side * scale)) for side in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)


__all__ = ["CRITERIA", "FILTER_PROMPT", "Judgement", "Label", "NoLabel", "judge_image", "label_of", "read_judgement"]
