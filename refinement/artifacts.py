"""What a detector says is wrong with an image: phrases, explanations and masks (the set A of LEGION, Eq. 6)."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

# Characters of a phrase that an error message shows.
SHOWN_CHARACTERS = 40


@dataclasses.dataclass(frozen=True, eq=False)
class Artifact:
    """One region that looks generated; location, mask and explanation stay together as (L, M, E) of Eq. 6.

    Args:
        phrase: where it is, such as `the left hand`. Several artifacts may have the same phrase.
        explanation: what is wrong there.
        mask: (H, W) uint8, 1 = artifact, size of the image. All 0 where the detector marked nothing.
        score: confidence, 0..1; None from a detector that gives none.
    """

    phrase: str
    explanation: str
    mask: np.ndarray = dataclasses.field(repr=False)
    score: float | None = None


# The detector, LEGION(I) of Eq. 5 and 6: called with PIL RGB.
Explain = Callable[[Image.Image], Sequence[Artifact]]


def check_artifacts(image: Image.Image, artifacts: Sequence[Artifact]) -> tuple[Artifact, ...]:
    """Check what a detector returned for an image.

    Returns:
        The artifacts; boolean masks become uint8.

    Raises:
        ValueError: no list of `Artifact`, or a mask of another size, type or other values.
    """
    if not isinstance(artifacts, Sequence) or not all(isinstance(one, Artifact) for one in artifacts):
        raise ValueError(f"explain must return a list of Artifact, got {type(artifacts).__name__}")
    return tuple(_checked(image, number, one) for number, one in enumerate(artifacts, start=1))


def _checked(image: Image.Image, number: int, artifact: Artifact) -> Artifact:
    place = f"artifact {number} ({artifact.phrase[:SHOWN_CHARACTERS]!r})"
    mask = np.asarray(artifact.mask)
    if mask.shape != (image.height, image.width):
        got = f"{mask.shape[1]} x {mask.shape[0]}" if mask.ndim == 2 else f"shape {mask.shape}"
        raise ValueError(f"{place}: expected a mask of {image.width} x {image.height} pixels as the image, got {got}")
    if mask.dtype == bool:
        return dataclasses.replace(artifact, mask=mask.astype(np.uint8))
    if mask.dtype != np.uint8 or mask.max(initial=0) > 1:
        raise ValueError(f"{place}: expected a mask of uint8 with 1 = artifact, got {mask.dtype} up to {mask.max()}")
    return artifact


def union_of(artifacts: Sequence[Artifact], shape: tuple[int, int]) -> np.ndarray:
    """All masks in one: (H, W) uint8, 1 = artifact; all 0 without artifacts."""
    union = np.zeros(shape, np.uint8)
    for artifact in artifacts:
        union |= artifact.mask
    return union


def read_artifacts(file: Path) -> list[Artifact]:
    """Read artifacts from a JSON file.

    The file holds `{"artifacts": [{"phrase": ..., "explanation": ..., "mask": "0.png", "score": 0.9}, ...]}`. Masks
    are pictures, 0 = clean, anything else = artifact, their paths relative to the file; `score` may be left out.

    Raises:
        ValueError: something else.
        FileNotFoundError: no such file.
    """
    if not file.is_file():
        raise FileNotFoundError(f"{file} does not exist: expected a JSON file with artifacts")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is no JSON file: {error}") from error
    entries = content.get("artifacts") if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise ValueError(f'{file} must hold {{"artifacts": [...]}}')
    return [_read_entry(file, number, entry) for number, entry in enumerate(entries, start=1)]


def _read_entry(file: Path, number: int, entry: Any) -> Artifact:
    place = f"{file}: artifact {number}"
    texts = ("phrase", "explanation", "mask")
    if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in texts):
        raise ValueError(f"{place} needs texts named {', '.join(texts)}")
    score = entry.get("score")
    if score is not None and (isinstance(score, bool) or not isinstance(score, int | float)):
        raise ValueError(f"{place}: score must be a number, got {score!r}")
    return Artifact(entry["phrase"], entry["explanation"], read_mask(file.parent / entry["mask"]), score)


def read_mask(file: Path) -> np.ndarray:
    """Read a picture of a mask: (H, W) uint8, 1 where it is not black.

    Raises:
        ValueError: it is no image, or damaged.
        FileNotFoundError: no such file.
    """
    if not file.is_file():
        raise FileNotFoundError(f"the mask {file} does not exist")
    try:
        with Image.open(file) as picture:
            return (np.asarray(picture.convert("L")) > 0).astype(np.uint8)
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise ValueError(f"the mask {file} cannot be read as an image ({error})") from error


__all__ = ["Artifact", "Explain", "check_artifacts", "read_artifacts", "read_mask", "union_of"]
