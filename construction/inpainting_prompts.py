"""Texts that guide inpainting: one for all, one drawn for each image, or one for each photograph."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

# One text, texts to draw from, or texts by the name of a photograph's file. None fills without a text.
Prompts = str | Sequence[str] | Mapping[str, str] | None


def read_prompts(path: Path) -> list[str] | dict[str, str]:
    """Read texts: a JSON object of photograph names and texts, or, from any other file, one text a line.

    Raises:
        ValueError: no texts, or JSON of another form.
        FileNotFoundError: no such file.
    """
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix.lower() != ".json":
        lines = [line.strip() for line in text.split("\n") if line.strip()]
        if not lines:
            raise ValueError(f"{path} is empty: expected one prompt a line")
        return lines
    try:
        prompts = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path} is not JSON ({error}): expected an object of photograph names and prompts"
        ) from error
    if not isinstance(prompts, dict) or not all(isinstance(value, str) for value in prompts.values()):
        raise ValueError(f"{path} is no object of texts: expected photograph names and prompts")
    return prompts


def check_prompts(prompts: Prompts, photos: list[Path]) -> None:
    """Refuse an empty list, and texts by name that leave out a photograph.

    Raises:
        ValueError: as said.
    """
    if prompts is None or isinstance(prompts, str):
        return
    if not prompts:
        raise ValueError("prompts is empty: give at least one text, or None")
    if isinstance(prompts, Mapping):
        missing = [photo.name for photo in photos if photo.name not in prompts]
        if missing:
            raise ValueError(f"prompts has no text for {len(missing)} photographs, the first {missing[0]}")


def choose_prompt(prompts: Prompts, photo: Path, unguided_fraction: float, rng: np.random.Generator) -> str:
    """Text for one image; "" for the share `unguided_fraction` of all, and where there are none."""
    unguided, choice = rng.random() < unguided_fraction, rng.random()
    if prompts is None or unguided:
        return ""
    if isinstance(prompts, str):
        return prompts
    if isinstance(prompts, Mapping):
        return prompts[photo.name]
    return prompts[int(choice * len(prompts))]


__all__ = ["Prompts", "check_prompts", "choose_prompt", "read_prompts"]
