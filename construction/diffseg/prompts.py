"""What the vision-language model is asked, and how its replies are read (DiffSeg30k, section 3.1 and section 8).

The paper publishes the question about quality alone; all wording here is our own. Every reply is a JSON object.
"""

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from PIL import Image

from ..json_replies import text_of
from .regions import NamedObject

LONGEST_NAME = 80  # characters
LONGEST_PROMPT = 500
LONGEST_REASON = 500
BEST_QUALITY = 5
OUTLINE_COLOUR = (255, 0, 0)
# Width of the outline as a share of the image's side.
OUTLINE_WIDTH = 1 / 256

OBJECTS_PROMPT = """\
Name the separate things in this picture that could be edited one at a time.
People come first: name every person or group of people that can be seen clearly. After them come the other things, \
large ones before small ones. Leave out what fills the whole background, such as sky, floor or wall, and whatever is \
tiny.
Name at most {count} things. A name is a short noun phrase that tells the thing apart from the others, for instance \
"woman in a green coat".
Reply with one JSON object and nothing else:
{{"objects": [{{"name": "...", "person": true or false}}]}}"""

_REGION = """\
The second picture is the first one with a region outlined in red. """

_FORM = """\
The description goes to an inpainting model that paints the region anew. It is one sentence of at most 40 words that \
says what the finished region shows and how it fits in with light, view and surroundings; it is no command and does \
not speak of the outline.
Reply with one JSON object and nothing else:
"""

EDIT_PROMPTS: Mapping[str, str] = {
    "attribute_change": _REGION
    + """\
It holds: {name}. The thing stays what it is, but one of its properties shall become a different one: colour, \
material, pattern, age, clothing, expression or state, whichever makes the most believable picture. Describe the \
region after this change.
"""
    + _FORM
    + '{{"prompt": "..."}}',
    "removal": _REGION
    + """\
It holds: {name}. This thing shall vanish. Describe what the region shows when the background around it simply goes \
on; do not mention the thing.
"""
    + _FORM
    + '{{"prompt": "..."}}',
    "addition": _REGION
    + """\
Until now {name} was there; it has been taken away. A new thing of another kind shall stand in the region, one that \
is likely in this place and of about this size. Describe the region with the new thing.
"""
    + _FORM
    + '{{"object": "name of the new thing", "prompt": "..."}}',
}

QUALITY_PROMPT = """\
How natural is the {place}picture? Give a whole number from 0 (clearly broken or impossible) to 5 (natural and of \
high quality). Look for things that are unfinished, smeared, doubled or pasted on, for parts that do not belong \
together, and for wrong light, size or perspective.
{examples}Reply with one JSON object and nothing else:
{{"score": 0 to 5, "reason": "one sentence"}}"""


def objects_prompt(most: int) -> str:
    """Ask for the objects of one image, `most` at most."""
    return OBJECTS_PROMPT.format(count=most)


def edit_prompt(edit_type: str, name: str) -> str:
    """Ask for the text of an edit; goes with the image and `outlined`."""
    return EDIT_PROMPTS[edit_type].format(name=name)


def quality_prompt(examples: list[tuple[int, str]]) -> str:
    """Ask for the quality of the last image; the images before it are examples with these scores and reasons."""
    lines = "".join(
        f"Picture {number} deserves {score}: {reason}\n" for number, (score, reason) in enumerate(examples, start=1)
    )
    return QUALITY_PROMPT.format(place="last " if examples else "", examples=lines)


def read_objects(reply: dict[str, Any], most: int) -> list[NamedObject]:
    """Objects of a reply to `objects_prompt`, each name once; an empty list is an answer too.

    Raises:
        ValueError: another form.
    """
    entries = reply.get("objects")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError('"objects" must be a list of objects with "name" and "person"')
    found: dict[str, NamedObject] = {}
    for entry in entries:
        person = entry.get("person")
        if not isinstance(person, bool):
            raise ValueError('"person" must be true or false')
        name = text_of(entry, "name", LONGEST_NAME)
        found.setdefault(name.lower(), NamedObject(name, person))
    return list(found.values())[:most]


def read_edit(reply: dict[str, Any], edit_type: str) -> tuple[str, str | None]:
    """Text of an edit, and the new object's name for an addition.

    Raises:
        ValueError: another form.
    """
    new = text_of(reply, "object", LONGEST_NAME) if edit_type == "addition" else None
    return text_of(reply, "prompt", LONGEST_PROMPT), new


def read_quality(reply: dict[str, Any]) -> tuple[float, str]:
    """Score and reason.

    Raises:
        ValueError: another form.
    """
    score = reply.get("score")
    if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= BEST_QUALITY:
        raise ValueError(f'"score" must be a number from 0 to {BEST_QUALITY}')
    return score, text_of(reply, "reason", LONGEST_REASON)


def outlined(image: Image.Image, mask: np.ndarray) -> Image.Image:
    """The image with the region's outline in red.

    Args:
        image: PIL RGB.
        mask: (H, W) bool.
    """
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    width = max(1, round(max(image.size) * OUTLINE_WIDTH))
    pixels = np.array(image)
    cv2.drawContours(pixels, contours, -1, OUTLINE_COLOUR, width)
    return Image.fromarray(pixels)


__all__ = [
    "EDIT_PROMPTS",
    "edit_prompt",
    "objects_prompt",
    "outlined",
    "quality_prompt",
    "read_edit",
    "read_objects",
    "read_quality",
]
