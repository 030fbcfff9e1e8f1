"""Where the images and masks of a local test set are: the usual forms, found by the names of files."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath

from .files import CorpusFiles
from .notes import Notes
from .pixels import is_image_name

TAMPERED, TRUTH, AUTHENTIC = "tp", "gt", "au"
IMAGE_FOLDERS = ("images", "image", "imgs", "img")
MASK_FOLDERS = ("masks", "mask", "gt")
MASK_ENDINGS = ("", "_mask", "_gt", "__mask", "_forged")
# Folder or part of a list's name -> split.
SPLIT_NAMES = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}


@dataclass(frozen=True)
class Entry:
    """One image of a test set.

    Args:
        image: name, or path as a list has it.
        mask: the same of its mask; None without one.
        label: `real` or `fake`; None: fake if the mask has a forged pixel.
        source: subset.
        folder: folder of the list that names them, "" for names below the root.
        untouched: known to have no forged pixel, in a set that has masks.
        id: stable name; None: that of the image.
        task: kind of forgery, where the set says.
    """

    image: str
    mask: str | None
    label: str | None
    source: str
    folder: str = ""
    untouched: bool = False
    id: str | None = None
    task: str | None = None


Entries = dict[str, list[Entry]]


def tp_gt_entries(files: CorpusFiles, notes: Notes) -> Entries:
    """`Tp/` and `Gt/`, and authentic images in `Au/`, as IMDL-BenCo has them, at any depth."""
    entries: Entries = {}
    for parent, folders in _image_folders(files).items():
        if TAMPERED not in folders or TRUTH not in folders:
            continue
        place, source = entries.setdefault(split_of(parent), []), parent or files.root.name
        masks = _by_stem(folders[TRUTH])
        for key, name in folders[TAMPERED].items():
            mask = _matching_mask(key, masks)
            if mask is None:
                notes.add("image without a mask, left out", name)
            else:
                place.append(Entry(name, mask, "fake", source))
        place += [Entry(name, None, "real", source, untouched=True) for name in folders.get(AUTHENTIC, {}).values()]
    return entries


def image_mask_entries(files: CorpusFiles, notes: Notes) -> Entries:
    """`images/` and `masks/` at any depth, or masks beside their images as `<name>_mask.png` or `<name>_gt.png`."""
    entries: Entries = {}
    unmatched = []
    for parent, folders in _image_folders(files).items():
        images = next((folders[name] for name in IMAGE_FOLDERS if name in folders), None)
        masks = next((folders[name] for name in MASK_FOLDERS if name in folders), None)
        if images is None or masks is None:
            continue
        place, source = [], parent or files.root.name
        stems = _by_stem(masks)
        for key, name in images.items():
            mask = _matching_mask(key, stems)
            if mask is None:
                unmatched.append(name)
            else:
                place.append(Entry(name, mask, None, source))
        if place:
            entries.setdefault(split_of(parent), []).extend(place)
    if not entries and not unmatched:
        entries, unmatched = _side_by_side(files)
    for name in unmatched if entries else []:
        notes.add("image without a mask, left out", name)
    return entries


@lru_cache(maxsize=1)
def _image_folders(files: CorpusFiles) -> dict[str, dict[str, dict[str, str]]]:
    """Parent -> lower-case name of a folder of interest -> path below it without the suffix -> name of the image."""
    wanted = {TAMPERED, TRUTH, AUTHENTIC, *IMAGE_FOLDERS, *MASK_FOLDERS}
    found: dict[str, dict[str, dict[str, str]]] = {}
    for name in files.names():
        if not is_image_name(name):
            continue
        parts = name.split("/")
        place = next((place for place, part in enumerate(parts[:-1]) if part.lower() in wanted), None)
        if place is not None:
            folders = found.setdefault("/".join(parts[:place]), {})
            folders.setdefault(parts[place].lower(), {})["/".join(parts[place + 1 :])] = name
    return found


def _by_stem(masks: dict[str, str]) -> dict[str, str]:
    """Lower-case path without its last suffix -> mask; dots elsewhere in the name stay."""
    return {_stem(key).lower(): name for key, name in masks.items()}


def _matching_mask(key: str, masks: dict[str, str]) -> str | None:
    """The mask with the stem of an image, or with its whole name (`a.jpg.png`), perhaps with an ending."""
    stems = [base + ending for base in (_stem(key), key) for ending in MASK_ENDINGS]
    return next((masks[stem.lower()] for stem in stems if stem.lower() in masks), None)


def _side_by_side(files: CorpusFiles) -> tuple[Entries, list[str]]:
    images = {_stem(name).lower(): name for name in files.names() if is_image_name(name)}
    endings = tuple(ending for ending in MASK_ENDINGS if ending)
    entries: Entries = {}
    unmatched = []
    for stem, name in images.items():
        if stem.endswith(endings):
            continue
        mask = next((images[stem + ending] for ending in endings if stem + ending in images), None)
        parent = name.rpartition("/")[0]
        if mask is None:
            unmatched.append(name)
        else:
            source = parent or files.root.name
            entries.setdefault(split_of(parent), []).append(Entry(name, mask, None, source))
    return entries, unmatched


def split_of(text: str) -> str:
    """Split that the last folder or word of a name speaks of, else `train`, as `datasets` calls a folder's rows."""
    words = PurePosixPath(text).name.lower().replace("-", "_").replace(".", "_").split("_")
    return next((SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES), "train")


def _stem(name: str) -> str:
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.rpartition(".")[0]


__all__ = ["Entries", "Entry", "image_mask_entries", "split_of", "tp_gt_entries"]
