"""Replies of a language model as JSON: read strictly, checked, and asked for again when they are of no use."""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from PIL import Image

from .vision_language import VisionLanguageModel

FENCED = re.compile(r"```(?:json)?[ \t]*\n(.*?)```", re.DOTALL | re.IGNORECASE)
# Characters of a reply that an error message shows.
SHOWN_CHARACTERS = 80

Checked = TypeVar("Checked")


class UnusableReply(ValueError):
    """No try gave a reply of the form that was asked for."""


def ask_json(
    model: VisionLanguageModel,
    images: Sequence[Image.Image],
    prompt: str,
    check: Callable[[dict[str, Any]], Checked],
    tries: int = 3,
) -> Checked:
    """Ask for a JSON object until one passes.

    A model that is asked the same again may well say the same again, so from the second try on the prompt says what
    was wrong.

    Args:
        model: answers `model(images, prompt)`.
        images: PIL RGB.
        prompt: says which object is wanted.
        check: returns what is wanted from the object; raises ValueError with the reason when it is of no use.
        tries: how often the model is asked, at least 1.

    Returns:
        What `check` returned.

    Raises:
        UnusableReply: no reply passed.
    """
    if tries < 1:
        raise ValueError(f"tries must be at least 1, got {tries}")
    asked = prompt
    for _ in range(tries):
        reply = model(images, asked)
        try:
            return check(parse_json(reply))
        except ValueError as error:
            reason = str(error)
        asked = f"{prompt}\n\nYour last reply could not be used: {reason}. Reply with the JSON object alone."
    raise UnusableReply(f"no usable reply in {tries} tries; the last: {reason}")


def parse_json(reply: str) -> dict[str, Any]:
    """Read a reply that is one JSON object, alone or in one fenced block; nothing is evaluated.

    Raises:
        ValueError: anything else, NaN and Infinity included.
    """
    fenced = FENCED.findall(reply)
    text = fenced[0] if len(fenced) == 1 else reply
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"it is not JSON, it begins {_shown(reply)}") from error
    if not isinstance(value, dict):
        raise ValueError(f"it is not a JSON object, it begins {_shown(reply)}")
    return value


def text_of(reply: dict[str, Any], key: str, longest: int) -> str:
    """A text of a reply, with single spaces.

    Raises:
        ValueError: missing, no text, empty, or longer than `longest` characters.
    """
    value = reply.get(key)
    text = " ".join(value.split()) if isinstance(value, str) else ""
    if not text or len(text) > longest:
        raise ValueError(f'"{key}" must be a text of 1 to {longest} characters, got {_shown(json.dumps(value))}')
    return text


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"it holds {name}, which is not JSON")


def _shown(text: str) -> str:
    return repr(text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "...")


__all__ = ["UnusableReply", "ask_json", "parse_json", "text_of"]
