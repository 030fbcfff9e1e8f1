"""Images whose label is known: from class folders, from a table, or all of one label."""

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from .image_folder import find_photos
from .promptforge.pairs import safe_id
from .table_records import is_table, table_records

CLASS_FOLDERS = {"0_real": "real", "1_fake": "fake"}
LABELS = tuple(CLASS_FOLDERS.values())
# How tables spell labels.
SPELLINGS = {"real": "real", "fake": "fake", "0": "real", "1": "fake", **CLASS_FOLDERS}
# Columns of a table that name the image; the second is that of a metadata.jsonl.
PATH_COLUMNS = ("path", "file_name")
# The two sources that MMFR trains on; readers take the label of their images from these names.
TRAIN_LABELS = {"diffusiondb": "fake", "laion": "real"}


@dataclasses.dataclass(frozen=True)
class LabelledImage:
    """One image.

    Args:
        path: the file.
        label: `real` or `fake`.
        source: where it is from, such as the name of a generator; a folder's name.
    """

    path: Path
    label: str
    source: str

    def __post_init__(self):
        if self.label not in LABELS:
            raise ValueError(f"{self.path} has label {self.label!r}: expected {' or '.join(LABELS)}")
        if TRAIN_LABELS.get(self.source, self.label) != self.label:
            raise ValueError(
                f"{self.path} is {self.label} and has the source {self.source}, which stands for "
                f"{TRAIN_LABELS[self.source]} images: give another source"
            )


def find_labelled_images(
    paths: Iterable[Path], label: str | None = None, source: str | None = None
) -> list[LabelledImage]:
    """List images with their labels.

    The label of an image in a folder is told by the nearest folder above it that is named `0_real` or `1_fake`, and
    its source by the folder above that one. A table (CSV or JSON Lines) has the columns `path` (or `file_name`),
    relative to the table, `label` (`real`, `fake`, 0 or 1) and, if there are several sources, `source`.

    Args:
        paths: folders of images, images and tables.
        label: of all images whose folders tell none.
        source: of all images, instead of what folders and tables say.

    Returns:
        The images, each once, in the order of the paths and sorted within a folder.

    Raises:
        ValueError: no image, an image without a label or with two, or a malformed table.
        FileNotFoundError: a path does not exist, or a file that a table names.
    """
    found: dict[Path, LabelledImage] = {}
    for path in paths:
        for image in _table_images(path) if path.is_file() and is_table(path) else _folder_images(path, label):
            image = image if source is None else dataclasses.replace(image, source=safe_id(source))
            if label is not None and image.label != label:
                raise ValueError(f"{image.path} is {image.label} by its folder or table, and {label} was asked for")
            earlier = found.setdefault(image.path.absolute(), image)
            if earlier.label != image.label:
                raise ValueError(f"{image.path} is given as real and as fake: give it once")
    if not found:
        raise ValueError(f"no images in {', '.join(map(str, paths))}")
    return list(found.values())


def describe_images(images: list[LabelledImage]) -> dict[str, Any]:
    """Settings that tell whether a folder was begun with these images: they may move, but not change."""
    lines = [f"{image.source} {image.label} {image.path.name} {image.path.stat().st_size}" for image in images]
    digest = hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()
    return {"images": len(images), "images_hash": digest[:16]}


def _folder_images(path: Path, label: str | None) -> Iterator[LabelledImage]:
    photos = find_photos([path])
    unlabelled = [photo for photo in photos if _class_folder(photo) is None]
    if unlabelled and label is None:
        raise ValueError(
            f"{len(unlabelled)} of {len(photos)} images in {path} have no label, the first is {unlabelled[0]}: put "
            f"them below {' and '.join(CLASS_FOLDERS)}, give a table with the columns path and label, or one label "
            "for all"
        )
    for photo in photos:
        folder = _class_folder(photo)
        said = label if folder is None else CLASS_FOLDERS[folder.name]
        above = (photo.absolute() if folder is None else folder).parent
        yield LabelledImage(photo, str(said), safe_id(above.name or "images"))


def _class_folder(photo: Path) -> Path | None:
    """The nearest folder above an image that tells its label."""
    return next((folder for folder in photo.absolute().parents if folder.name in CLASS_FOLDERS), None)


def _table_images(table: Path) -> Iterator[LabelledImage]:
    for where, record in table_records(table):
        name = next((record[column] for column in PATH_COLUMNS if record.get(column)), None)
        if name is None:
            raise ValueError(f"{where} names no image: expected columns {' or '.join(PATH_COLUMNS)}, and label")
        label = SPELLINGS.get(str(record.get("label")).strip().lower())
        if label is None:
            raise ValueError(f"{where} has label {record.get('label')!r}: expected real, fake, 0 (real) or 1 (fake)")
        path = table.parent / str(name)
        if not path.is_file():
            raise FileNotFoundError(f"{where} names {path}, which does not exist: paths are relative to the table")
        yield LabelledImage(path, label, safe_id(str(record.get("source") or table.stem)))


__all__ = ["CLASS_FOLDERS", "LABELS", "TRAIN_LABELS", "LabelledImage", "describe_images", "find_labelled_images"]
