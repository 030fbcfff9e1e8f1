"""The three published forms that PromptForge is read from, in a few kilobytes."""

import io
import json
import tarfile
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from forgescope.datasets_scripts.load import corpus_builder
from forgescope.datasets_scripts.notes import Notes


def picture(value: int, size: tuple[int, int] = (16, 12), form: str = "PNG") -> bytes:
    """An image of one grey value."""
    buffer = io.BytesIO()
    Image.new("RGB", size, (value,) * 3).save(buffer, format=form)
    return buffer.getvalue()


def mask_png(pixels: np.ndarray, mode: str = "L") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, format="PNG")
    return buffer.getvalue()


def write(path: Path, data: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def write_lines(path: Path, rows: list) -> Path:
    """JSON Lines; text goes in as it is."""
    return write(path, "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))


def annotated_row(number: int, folder: Path, **changes) -> dict:
    """A row of our own contract, with its three files: image of value `number`, original of `number` + 100."""
    write(folder / f"images/{number}.png", picture(number))
    write(folder / f"originals/{number}.png", picture(number + 100))
    pixels = np.zeros((8, 8), np.uint8)
    pixels[: number % 8 + 1] = 255
    write(folder / f"masks/{number}.png", mask_png(pixels))
    row = {
        "file_name": f"images/{number}.png",
        "original_file_name": f"originals/{number}.png",
        "mask_file_name": f"masks/{number}.png",
        "id": f"pair-{number}",
        "source": "x2edit-bagel",
        "task": "object_removal",
        "source_task": "Subject Deletion",
        "instruction": "remove it",
        "instruction_en": "remove it",
        "inlier_ratio": 0.75,
        "num_matches": 40 + number,
        "affine": [1, 0, 2.5, 0, 1, -3],
        "crop": [0, 1, 15, 11],
    }
    return row | changes


def tar_of(members: list[tuple[str, bytes | str]]) -> bytes:
    """A tar; names may repeat."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in members:
            data = data.encode() if isinstance(data, str) else data
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def x2edit_members(
    number: int, metadata: dict | str | None = None, source: str | None = ".1.0.jpg", text: str | None = "do it"
) -> list[tuple[str, bytes | str]]:
    """Members of one edit: source of value `number`, edited image of `number` + 100."""
    key = f"{number:09d}"
    if metadata is None:
        metadata = {"task": "subject_addition", "instruction": "加一只猫", "instruction_en": "Add a cat."}
    members: list[tuple[str, bytes | str]] = [(f"{key}.2.jpg", picture(number + 100, form="JPEG"))]
    if source is not None:
        members.append((f"{key}{source}", picture(number, (18, 12), form="JPEG")))
    members.append((f"{key}.json", metadata if isinstance(metadata, str) else json.dumps(metadata)))
    if text is not None:
        members.append((f"{key}.txt", text))
    return members


def pico_row(number: int, **changes) -> dict:
    row = {
        "open_image_input_url": f"https://farm1.staticflickr.com/5/{number}_abc_o.jpg",
        "text": f"Remove the lamp {number} from the table.",
        "output_image": f"images/positive-edit/{number}.png",
        "edit_type": "Remove an existing object",
        "summarized_text": "Remove the lamp.",
    }
    return row | changes


def notes_of(name: str, data_dir: Path, folder: Path, config: str | None = None, **options) -> Notes:
    """What a corpus counts when all its splits are read once; examples sorted, since pieces are noted in any order."""
    builder = corpus_builder(name, data_dir, config, folder / "cache", **options)
    builder.notes_dir = tempfile.mkdtemp(dir=folder)
    for dataset in builder.as_streaming_dataset().values():
        list(dataset)
    notes = Notes.read(builder.notes_dir)
    for examples in notes.examples.values():
        examples.sort()
    return notes
