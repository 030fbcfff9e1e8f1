"""Features of all images in a folder: batch by batch, each on disk when it is done, continued after a stop.

    FOLDER/settings.json  FOLDER/00000000.npz (indices, values)  FOLDER/unreadable.jsonl (index, detail)

Batches are cut at fixed places of the list, so a continued run computes the same numbers as one that was not stopped.
"""

import dataclasses
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from .image_folder import begin_folder, describe_photos, write_atomically
from .line_log import append_line, whole_lines
from .synthscars_features import ExtractFeatures


@dataclasses.dataclass(frozen=True)
class FolderFeatures:
    """Features of a list of images.

    Args:
        indices: (N,) int64, places in the list of the images that could be read, ascending.
        values: (N, D) float32.
        unreadable: places of the other images, with the reason.
    """

    indices: np.ndarray
    values: np.ndarray
    unreadable: dict[int, str]


def write_features(
    folder: Path,
    photos: list[Path],
    extract: ExtractFeatures,
    read_photo: Callable[[Path], Image.Image],
    batch_size: int,
    description: dict[str, Any],
) -> FolderFeatures:
    """Compute the features that are not there yet, and read all.

    Args:
        folder: absent, or begun with the same images and network.
        photos: images in a fixed order.
        extract: the network.
        read_photo: returns a PIL RGB image, or raises ValueError or OSError.
        batch_size: images at once.
        description: of the network, ready for JSON.

    Raises:
        ValueError: the folder was begun with others, or the network fails or gives no (N, D) numbers.
        OSError: the folder cannot be written.
    """
    record = {"kind": "features", **describe_photos(photos), "batch_size": batch_size, "network": description}
    begin_folder(folder, record)
    log = folder / "unreadable.jsonl"
    unreadable = {row["index"]: row["detail"] for row in whole_lines(log)}
    found: list[tuple[np.ndarray, np.ndarray]] = []
    with tqdm(total=len(photos), desc="features", unit="image", disable=None) as progress:
        for start in range(0, len(photos), batch_size):
            places = range(start, min(start + batch_size, len(photos)))
            file = folder / f"{start:08d}.npz"
            if not file.exists():
                images = _read(photos, places, read_photo, log, unreadable)
                _save(file, np.array(list(images), dtype=np.int64), _extract(extract, list(images.values())))
            with np.load(file) as batch:
                found.append((batch["indices"], batch["values"]))
            progress.update(len(places))
    full = [batch for batch in found if len(batch[0])]  # of a batch without images the width is not known
    if not full:
        return FolderFeatures(np.zeros(0, dtype=np.int64), np.zeros((0, 0), dtype=np.float32), unreadable)
    indices, values = (np.concatenate(parts) for parts in zip(*full, strict=True))
    return FolderFeatures(indices, values, unreadable)


def _read(
    photos: list[Path],
    places: range,
    read_photo: Callable[[Path], Image.Image],
    log: Path,
    unreadable: dict[int, str],
) -> dict[int, Image.Image]:
    """Images of a batch by place; those that cannot be read are logged."""
    images = {}
    for place in places:
        if place in unreadable:
            continue
        try:
            images[place] = read_photo(photos[place])
        except (ValueError, OSError) as error:
            unreadable[place] = str(error).replace(str(photos[place]), photos[place].name)
            append_line(log, {"index": place, "detail": unreadable[place]})
    return images


def _extract(extract: ExtractFeatures, images: list[Image.Image]) -> np.ndarray:
    if not images:
        return np.zeros((0, 0), dtype=np.float32)
    try:
        values = np.asarray(extract(images), dtype=np.float32)
    except RuntimeError as error:  # of torch, mostly too little memory
        raise ValueError(f"the feature network failed on {len(images)} images: {error}") from error
    if values.ndim != 2 or len(values) != len(images) or not np.isfinite(values).all():
        raise ValueError(
            f"the feature network must give finite numbers of shape ({len(images)}, D), got shape {values.shape}"
        )
    return values


def _save(file: Path, indices: np.ndarray, values: np.ndarray) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, indices=indices, values=values)
    write_atomically(file, buffer.getvalue())


__all__ = ["FolderFeatures", "write_features"]
