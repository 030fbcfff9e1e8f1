"""Write a folder of manipulated images that `load_dataset("imagefolder", data_dir=...)` reads.

    DIR/images/000000.jpg  DIR/masks/000000.png  DIR/ai_masks/000000.png  DIR/metadata.jsonl  DIR/settings.json
    DIR/README.md

Item i depends on the seed, on i and on the list of photographs only, never on the number of processes or on which
items exist already. A run that was interrupted goes on where it stopped.
"""

import dataclasses
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from .folder_card import MANIPULATIONS, write_folder_card
from .image_folder import (
    FolderResult,
    Outcome,
    begin_folder,
    describe_photos,
    find_photos,
    finish_folder,
    finished_rows,
    save_item,
    write_atomically,
)
from .manipulation import Inpainter, Manipulation, ManipulationConfig, draw_task, manipulate

# A photograph that cannot be used is replaced by another one this often before the item is given up.
PHOTO_TRIES = 10
# Items handed to one process at a time: large enough to hide the queue, small enough to lose little when killed.
CHUNK = 8
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


def write_manipulations(job: FolderJob, count: int, num_proc: int = 1) -> FolderResult:
    """Make the items 0 to count - 1 that are not in the folder yet, and write metadata.jsonl and the card.

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
    begin_folder(job.out, {"seed": job.seed, **describe_photos(job.photos), "config": dataclasses.asdict(job.config)})
    rows = finished_rows(job.out)
    wanted = [index for index in range(count) if index not in rows]
    progress = tqdm(_run(job, wanted, num_proc), total=len(wanted), desc="manipulations", unit="image", disable=None)
    result = finish_folder(job.out, rows, progress)
    write_folder_card(job.out, MANIPULATIONS, result.rows)
    return result


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
    row_id = f"s{job.seed}-{index:06d}"
    return save_item(job.out, f"{index:06d}", made, index, id=row_id, source=job.source, photos=photos)


__all__ = ["FolderJob", "FolderResult", "find_photos", "make_item", "write_atomically", "write_manipulations"]
