"""Write a folder of manipulated images that `load_dataset("imagefolder", data_dir=...)` reads.

    DIR/images/000000.jpg  DIR/masks/000000.png  DIR/ai_masks/000000.png  DIR/metadata.jsonl  DIR/settings.json

Item i depends on the seed, on i and on the list of photographs only, never on the number of processes or on which
items exist already. A run that was interrupted goes on where it stopped.
"""

import dataclasses
import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from .framing import encode_png
from .manipulation import Inpainter, Manipulation, ManipulationConfig, draw_task, manipulate

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")
# A photograph that cannot be used is replaced by another one this often before the item is given up.
PHOTO_TRIES = 10
# Items handed to one process at a time: large enough to hide the queue, small enough to lose little when killed.
CHUNK = 8

# Index of an item, its row (None when it could not be made), and the photographs that failed with the reason.
Outcome = tuple[int, dict[str, Any] | None, dict[str, str]]
ReadPhoto = Callable[[Path], Image.Image]


@dataclasses.dataclass(frozen=True)
class FolderJob:
    """What one run writes.

    Args:
        photos: host and donor photographs, in a fixed order.
        out: target folder.
        seed: seed of the whole folder.
        config: settings of the engine.
        read_photo: returns a PIL RGB image; raises ValueError or OSError for a file it cannot read.
        inpainter: optional callable for the inpainting kinds (must be picklable for several processes).
        source: text of the `source` column.
    """

    photos: list[Path]
    out: Path
    seed: int
    config: ManipulationConfig
    read_photo: ReadPhoto
    inpainter: Inpainter | None = None
    source: str = "manipulation-engine"


@dataclasses.dataclass
class FolderResult:
    """Outcome of a run: rows of metadata.jsonl, items made now, failed photographs with reasons, items not made."""

    rows: list[dict[str, Any]]
    made: int
    failed_photos: dict[str, str]
    missing: list[int]


def find_photos(paths: list[Path]) -> list[Path]:
    """Photographs under files and folders (by suffix; a file that is named is always taken), sorted, each once.

    Raises:
        FileNotFoundError: a path does not exist.
        ValueError: no photograph was found.
    """
    photos: set[Path] = set()
    for path in paths:
        if path.is_dir():
            photos.update(file for file in path.rglob("*") if file.suffix.lower() in PHOTO_SUFFIXES and file.is_file())
        elif path.is_file():
            photos.add(path)
        else:
            raise FileNotFoundError(f"{path} does not exist: give photographs or folders of photographs")
    if not photos:
        raise ValueError(f"no photographs in {', '.join(map(str, paths))}: expected files {', '.join(PHOTO_SUFFIXES)}")
    return sorted(photos)


def write_manipulations(job: FolderJob, count: int, num_proc: int = 1) -> FolderResult:
    """Make the items 0 to count - 1 that are not in the folder yet, and write metadata.jsonl.

    Args:
        job: photographs, folder, seed and settings.
        count: number of items the folder shall hold, at least 1.
        num_proc: processes; more than one are spawned, so a script needs the `if __name__ == "__main__"` guard.

    Returns:
        All rows of the folder, sorted, and what went wrong.

    Raises:
        ValueError: bad numbers, or a folder that was begun with other settings.
    """
    if count < 1 or num_proc < 1:
        raise ValueError(f"count and num_proc must be at least 1, got {count} and {num_proc}")
    _prepare(job)
    rows = _finished_rows(job.out)
    wanted = [index for index in range(count) if index not in rows]
    failed: dict[str, str] = {}
    missing: list[int] = []
    partial_file = job.out / ".metadata.partial.jsonl"
    with partial_file.open("w", encoding="utf-8") as log:
        log.writelines(json.dumps(row) + "\n" for row in rows.values())
        progress = tqdm(
            _run(job, wanted, num_proc), total=len(wanted), desc="manipulations", unit="image", disable=None
        )
        for index, row, problems in progress:
            failed.update(problems)
            if row is None:
                missing.append(index)
                continue
            rows[index] = row
            log.write(json.dumps(row) + "\n")
            log.flush()
    ordered = [rows[index] for index in sorted(rows)]
    text = "".join(json.dumps(row) + "\n" for row in ordered)
    write_atomically(job.out / "metadata.jsonl", text.encode())
    partial_file.unlink()
    return FolderResult(ordered, len(wanted) - len(missing), dict(sorted(failed.items())), sorted(missing))


def make_item(job: FolderJob, index: int) -> Outcome:
    """Make and save one item.

    Returns:
        The index, its row (None when no photograph could be used), and the photographs that failed with the reason.
    """
    rng = np.random.default_rng([job.seed, index])
    task = draw_task(job.config, rng)
    problems: dict[str, str] = {}
    # Every photograph is host equally often; a bad one is replaced by a random other one.
    order = np.random.default_rng([job.seed]).permutation(len(job.photos))
    host = int(order[index % len(order)])
    for _ in range(PHOTO_TRIES):
        donor = _draw_donor(len(job.photos), host, rng) if task == "splicing" else None
        images: list[Image.Image | None] = [None, None]
        for position, chosen in enumerate((host, donor)):
            if chosen is None:
                continue
            try:
                images[position] = job.read_photo(job.photos[chosen])
            except (ValueError, OSError) as error:
                problems[str(job.photos[chosen])] = str(error)
        if images[0] is not None and (donor is None or images[1] is not None):
            try:
                made = manipulate(images[0], task, rng, job.config, images[1], job.inpainter)
            except ValueError as error:
                problems[str(job.photos[host])] = f"{job.photos[host]}: {error}"
            else:
                photos = (job.photos[host].name, None if donor is None else job.photos[donor].name)
                return index, _save(job, index, made, photos), problems
        host = int(rng.integers(len(job.photos)))
    return index, None, problems


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that it is either complete or absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _run(job: FolderJob, wanted: list[int], num_proc: int) -> Iterator[Outcome]:
    """Yield the outcome of each item, in any order."""
    if num_proc == 1:
        yield from map(partial(make_item, job), wanted)
        return
    # Spawned, not forked: children then end with their parent, and no library thread is copied half-way.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(num_proc, mp_context=context, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        chunks = [wanted[start : start + CHUNK] for start in range(0, len(wanted), CHUNK)]
        for future in as_completed([pool.submit(_make_chunk, job, chunk) for chunk in chunks]):
            yield from future.result()


def _make_chunk(job: FolderJob, indices: list[int]) -> list[Outcome]:
    return [make_item(job, index) for index in indices]


def _draw_donor(count: int, host: int, rng: np.random.Generator) -> int:
    """Another photograph than the host; the host itself when there is no other."""
    return host if count == 1 else (host + 1 + int(rng.integers(count - 1))) % count


def _save(job: FolderJob, index: int, made: Manipulation, photos: tuple[str, str | None]) -> dict[str, Any]:
    name = f"{index:06d}"
    # `file_name` comes first: imagefolder (datasets 5.2) gives that file to the first image column it meets.
    row: dict[str, Any] = {
        "file_name": f"images/{name}{made.suffix}",
        "mask_file_name": f"masks/{name}.png",
        "ai_mask_file_name": f"ai_masks/{name}.png",
        "label": made.label,
        "task": made.task,
        "id": f"s{job.seed}-{name}",
        "index": index,
        "source": job.source,
        "photo": photos[0],
        "donor": photos[1],
        "parameters": json.dumps(made.parameters, sort_keys=True),
    }
    write_atomically(job.out / row["file_name"], made.encoded)
    write_atomically(job.out / row["mask_file_name"], encode_png(made.mask * 255))
    write_atomically(job.out / row["ai_mask_file_name"], encode_png(made.ai_mask * 255))
    return row


def _prepare(job: FolderJob) -> None:
    """Create the folder, or check that it was begun with the same settings."""
    # Name and size: a folder of photographs may move, but not change.
    names = "\n".join(f"{photo.name} {photo.stat().st_size}" for photo in job.photos)
    settings = {
        "seed": job.seed,
        "photos": len(job.photos),
        "photos_hash": hashlib.sha256(names.encode()).hexdigest()[:16],
        "config": json.loads(json.dumps(dataclasses.asdict(job.config))),
    }
    path = job.out / "settings.json"
    if not path.exists():
        if (job.out / "metadata.jsonl").exists():
            raise ValueError(f"{job.out} holds a dataset of another origin: choose an empty folder")
        write_atomically(path, json.dumps(settings, indent=1, sort_keys=True).encode())
        return
    begun = json.loads(path.read_text(encoding="utf-8"))
    changed = sorted(key for key in settings if begun.get(key) != settings[key])
    if changed:
        raise ValueError(f"{job.out} was begun with other {', '.join(changed)}: use the same or another folder")


def _finished_rows(out: Path) -> dict[int, dict[str, Any]]:
    """Rows of items whose files are all there; an incomplete last line of an interrupted run is dropped."""
    rows: dict[int, dict[str, Any]] = {}
    for name in ("metadata.jsonl", ".metadata.partial.jsonl"):
        path = out / name
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                continue
            files = [out / row[key] for key in ("file_name", "mask_file_name", "ai_mask_file_name")]
            if all(file.exists() for file in files):
                rows[row["index"]] = row
    return rows
