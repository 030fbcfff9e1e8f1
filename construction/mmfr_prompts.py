"""What the vision-language model is asked about a labelled image, and how its replies are read.

As section 3.2 of FakeReasoning asks for: the label is told, the attributes are listed, the form of the reply is fixed,
and there is an answer for images that give nothing to tell by. The wording is our own. Replies are JSON objects.
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from .json_replies import text_of
from .mmfr_attributes import ATTRIBUTES

UNDECIDED = "undecided"
LONGEST_DESCRIPTION = 600  # characters
LONGEST_CAPTION = 1500
# Characters of an attribute's name that a record keeps.
LONGEST_NAME = 80
# Such texts would be read as stages of the answer, as the image's place in a prompt, or as special tokens.
TAG = re.compile(r"<\s*/?\s*[a-z]+\s*>", re.IGNORECASE)
SENTENCE_ENDS = (".", "!", "?")

_FORM = """\
Write one or two plain sentences for each attribute that you find: where in the picture it shows, and how. Not every \
picture has them all. Leave out what you do not see, and do not mention that you were told the answer.
Reply with one JSON object and nothing else:
{{"answer": "{label}", "attributes": {{"<name as in the list>": "<your sentences>"}}}}
If nothing in the picture lets you tell whether it is real or fake, reply instead:
{{"answer": "undecided"}}"""

INTERPRETATION_PROMPTS: Mapping[str, str] = {
    "fake": """\
A generative model made this picture; that is known. It may look like a photograph, a painting or a drawing, and its \
kind proves nothing. Find the traces that give it away. These are the attributes to look for:
{attributes}
"""
    + _FORM,
    "real": """\
This picture is genuine; that is known. A camera took it or a person made it, and no generative model had a part in \
it. Find what speaks for that. These are the attributes to look for:
{attributes}
"""
    + _FORM,
}

CAPTION_PROMPT = """\
Describe this picture in two to four sentences for somebody who cannot see it: the main things, what they look like, \
what they do and how they stand to one another, then the surroundings. Say nothing of its quality, or of how it may \
have been made.
Reply with one JSON object and nothing else:
{"caption": "..."}"""


@dataclasses.dataclass(frozen=True)
class Interpretation:
    """A reply to `interpretation_prompt`.

    Args:
        verdict: `real`, `fake` or `undecided`.
        attributes: names and descriptions, in the order of `ATTRIBUTES`.
        dropped: names that are none of the label's five.
    """

    verdict: str
    attributes: dict[str, str] = dataclasses.field(default_factory=dict)
    dropped: tuple[str, ...] = ()


def interpretation_prompt(label: str) -> str:
    """Ask for the attributes of an image whose label, `real` or `fake`, is known."""
    lines = "\n".join(f"- {attribute.name}: {attribute.meaning}" for attribute in ATTRIBUTES[label])
    return INTERPRETATION_PROMPTS[label].format(attributes=lines, label=label)


def read_interpretation(reply: dict[str, Any], label: str) -> Interpretation:
    """Read a reply to `interpretation_prompt(label)`; a verdict against the label is an answer too.

    Raises:
        ValueError: another form.
    """
    answer = reply.get("answer")
    verdict = answer.strip(" .").lower() if isinstance(answer, str) else None
    if verdict not in (*ATTRIBUTES, UNDECIDED):
        raise ValueError(f'"answer" must be "{label}" or "{UNDECIDED}"')
    if verdict != label:
        return Interpretation(verdict)
    given = reply.get("attributes")
    if not isinstance(given, dict):
        raise ValueError('"attributes" must be an object of names and sentences')
    known = {attribute.name.lower(): attribute.name for attribute in ATTRIBUTES[label]}
    found = {}
    dropped = []
    for key, value in given.items():
        name = known.get(" ".join(key.split()).lower())
        if name is None:
            dropped.append(key[:LONGEST_NAME])
        elif value is not None:  # null says that the image does not have it
            found[name] = _plain_text(given, key, LONGEST_DESCRIPTION)
    return Interpretation(verdict, {name: found[name] for name in known.values() if name in found}, tuple(dropped))


def read_caption(reply: dict[str, Any]) -> str:
    """Read a reply to `CAPTION_PROMPT`.

    Raises:
        ValueError: another form.
    """
    return _plain_text(reply, "caption", LONGEST_CAPTION)


def _plain_text(reply: dict[str, Any], key: str, longest: int) -> str:
    """A text that ends as a sentence does."""
    text = text_of(reply, key, longest)
    tag = TAG.search(text)
    if tag:
        raise ValueError(f'"{key}" must not hold tags such as {tag[0]}')
    return text if text.endswith(SENTENCE_ENDS) else f"{text}."


__all__ = [
    "CAPTION_PROMPT",
    "INTERPRETATION_PROMPTS",
    "UNDECIDED",
    "Interpretation",
    "interpretation_prompt",
    "read_caption",
    "read_interpretation",
]
