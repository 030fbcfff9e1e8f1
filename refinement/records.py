"""Steps of a run, and the folder that keeps them as JSON and pictures.

    DIR/settings.json   what the run was begun with
    DIR/steps/000.json  DIR/steps/000.png  DIR/steps/000-mask-00.png   I_0, what is wrong with it, and where
    DIR/steps/001.json  ...
    DIR/result.json     DIR/refined.png

The JSON of a step is written after its pictures and every file atomically, so a step is there wholly or not at all.
"""

import dataclasses
import hashlib
import io
import json
import os
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .artifacts import Artifact, read_mask


@dataclasses.dataclass(frozen=True)
class Edit:
    """One region that was inpainted.

    Args:
        artifact: its place among the artifacts of the step before, from 0.
        prompt: what the inpainting model was told.
        seed: of its noise.
        error: why it failed and left the region as it was; None when it did not.
    """

    artifact: int
    prompt: str
    seed: int
    error: str | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Step:
    """One image of a run; all steps together are the memory bank of Eq. 5.

    Args:
        number: t, 0 for the first image.
        image: I_t, PIL RGB.
        prompt: P_t of Eq. 5; in inpainting what the whole picture shows, "" for nothing said.
        artifacts: what the detector found in it; None: not examined.
        edits: what made it of the image before; empty in regeneration.
        preference: score, higher = better; None: not scored.
    """

    number: int
    image: Image.Image
    prompt: str = ""
    artifacts: tuple[Artifact, ...] | None = None
    edits: tuple[Edit, ...] = ()
    preference: float | None = None


def begin_run(folder: Path, settings: Mapping[str, Any]) -> None:
    """Create a folder and keep the settings of its run, or check that it was begun with the same.

    Raises:
        ValueError: it was begun with other settings.
    """
    file, wanted = folder / "settings.json", json.loads(json.dumps(settings))
    if not file.exists():
        if (folder / "steps").exists():
            raise ValueError(f"{folder} holds steps of another origin: choose another folder")
        write_atomically(file, json.dumps(wanted, indent=1, sort_keys=True).encode())
        return
    begun = _read_object(file)
    changed = sorted(key for key in {**wanted, **begun} if begun.get(key) != wanted.get(key))
    if changed:
        raise ValueError(f"{folder} was begun with other {', '.join(changed)}: use the same or another folder")


def image_hash(image: Image.Image | None) -> str | None:
    """Short name of an image's pixels, for the settings of a run."""
    return None if image is None else hashlib.sha256(f"{image.size}".encode() + image.tobytes()).hexdigest()[:16]


def save_step(folder: Path, step: Step) -> None:
    """Write the pictures of a step, then its JSON."""
    name = f"{step.number:03d}"
    row: dict[str, Any] = {
        "number": step.number,
        "image": f"{name}.png",
        "prompt": step.prompt,
        "preference": step.preference,
        "edits": [dataclasses.asdict(edit) for edit in step.edits],
        "artifacts": None,
    }
    write_picture(folder / "steps" / row["image"], step.image)
    if step.artifacts is not None:
        row["artifacts"] = []
        for place, artifact in enumerate(step.artifacts):
            mask = f"{name}-mask-{place:02d}.png"
            write_picture(folder / "steps" / mask, Image.fromarray(artifact.mask * np.uint8(255)))
            texts = {"phrase": artifact.phrase, "explanation": artifact.explanation}
            row["artifacts"].append({**texts, "mask": mask, "score": artifact.score})
    text = json.dumps(row, indent=1, ensure_ascii=False)
    write_atomically(folder / "steps" / f"{name}.json", text.encode())


def read_steps(folder: Path) -> list[Step]:
    """Read the steps that a folder has, from the first until one is missing.

    Raises:
        ValueError: a file of a step is damaged or missing.
    """
    steps: list[Step] = []
    for number in count():
        file = folder / "steps" / f"{number:03d}.json"
        if not file.exists():
            return steps
        try:
            steps.append(_read_step(file))
        except (ValueError, OSError, KeyError, TypeError) as error:
            raise ValueError(f"{file} cannot be read ({error}): remove it to make the step again") from error
    return steps


def write_result(folder: Path, steps: Sequence[Step], best: Step, stopped: str | None) -> None:
    """Write refined.png and result.json.

    Args:
        folder: of the run.
        steps: all of them.
        best: whose image is the result.
        stopped: why the run ended.
    """
    write_picture(folder / "refined.png", best.image)
    found = [None if step.artifacts is None else len(step.artifacts) for step in steps]
    result = {
        "stopped": stopped,
        "result": best.number,
        "artifacts": found,
        "preference": [step.preference for step in steps],
        "failed_edits": sum(edit.error is not None for step in steps for edit in step.edits),
    }
    write_atomically(folder / "result.json", json.dumps(result, indent=1).encode())


def write_atomically(file: Path, content: bytes) -> None:
    """Write a file so that it is either complete or absent."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        partial.write_bytes(content)
        os.replace(partial, file)
    finally:
        partial.unlink(missing_ok=True)


def write_picture(file: Path, picture: Image.Image) -> None:
    """Write a PNG file so that it is either complete or absent."""
    content = io.BytesIO()
    picture.save(content, "PNG")
    write_atomically(file, content.getvalue())


def _read_object(file: Path) -> dict[str, Any]:
    content = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError(f"{file} must hold a JSON object")
    return content


def _read_step(file: Path) -> Step:
    row = _read_object(file)
    with Image.open(file.parent / row["image"]) as picture:
        image = picture.convert("RGB")
    artifacts = None
    if row["artifacts"] is not None:
        artifacts = tuple(
            Artifact(entry["phrase"], entry["explanation"], read_mask(file.parent / entry["mask"]), entry["score"])
            for entry in row["artifacts"]
        )
    edits = tuple(Edit(**edit) for edit in row["edits"])
    return Step(row["number"], image, row["prompt"], artifacts, edits, row["preference"])


__all__ = [
    "Edit",
    "Step",
    "begin_run",
    "image_hash",
    "read_steps",
    "save_step",
    "write_atomically",
    "write_picture",
    "write_result",
]
