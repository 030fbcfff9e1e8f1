"""JSON lists of images: IMDL-BenCo's `[[image, mask], [image, "Negative"]]`, ForensicHub's `[{"path", "label"}]`."""

import json
from pathlib import PurePosixPath
from typing import Any

from .features import LABEL_NAMES
from .files import CorpusFiles
from .folder_layouts import Entries, Entry, split_of
from .notes import Notes

# What an IMDL-BenCo list has in the place of the mask of an authentic image.
NEGATIVE = "negative"
BROKEN_JSON = "JSON that cannot be read"
PAIR = 2


def list_entries(files: CorpusFiles, layout: str, notes: Notes) -> Entries:
    """Images that the lists of one layout name; the list's name is their source.

    Args:
        files: the corpus.
        layout: `imdl_json` or `forensichub_json`.
        notes: counts JSON files that are broken or of another form.

    Raises:
        ValueError: a list of this layout with an entry of another form, or with labels that are not 0 or 1.
    """
    entries: Entries = {}
    read = {"imdl_json": _imdl_entry, "forensichub_json": _forensichub_entry}[layout]
    for name, items in json_lists(files, notes).items():
        if list_layout(items) != layout:
            notes.add("JSON of another form, not read", name)
            continue
        path = PurePosixPath(name)
        folder = "" if str(path.parent) == "." else str(path.parent)
        place = entries.setdefault(split_of(path.stem), [])
        place += [read(item, f"{name} entry {number}", path.stem, folder) for number, item in enumerate(items)]
    return entries


def json_lists(files: CorpusFiles, notes: Notes) -> dict[str, list]:
    """Name -> list, of the JSON files that lie highest; `notes` counts broken ones."""
    names = files.match(r"(?i)\.json$")
    depth = min((name.count("/") for name in names), default=0)
    lists = {}
    for name in names:
        if name.count("/") == depth:
            try:
                loaded = json.loads(files.read(name).decode("utf-8-sig"))
            except (OSError, ValueError) as error:
                notes.add(BROKEN_JSON, name, str(error))
                continue
            if isinstance(loaded, list) and loaded:
                lists[name] = loaded
    return lists


def list_layout(items: list) -> str | None:
    """`imdl_json` or `forensichub_json`, by the first entry; None for neither."""
    first = items[0]
    if isinstance(first, list) and len(first) >= PAIR and all(isinstance(part, str) for part in first[:PAIR]):
        return "imdl_json"
    if isinstance(first, dict) and {"path", "label"} <= set(first):
        return "forensichub_json"
    return None


def _imdl_entry(item: Any, where: str, source: str, folder: str) -> Entry:
    if not isinstance(item, list) or len(item) < PAIR or not all(isinstance(part, str) for part in item[:PAIR]):
        raise ValueError(f'{where} is {item!r}: expected [image, mask] or [image, "Negative"]')
    if item[1].lower() == NEGATIVE:
        return Entry(item[0], None, LABEL_NAMES[0], source, folder, untouched=True)
    return Entry(item[0], item[1], None, source, folder)


def _forensichub_entry(item: Any, where: str, source: str, folder: str) -> Entry:
    if not isinstance(item, dict) or not isinstance(item.get("path"), str):
        raise ValueError(f"{where} is {item!r}: expected an object with path and label")
    label = item.get("label")
    if label not in (0, 1) or isinstance(label, bool):
        raise ValueError(f"{where} has label {label!r}: expected 0 (real) or 1 (fake)")
    return Entry(item["path"], None, LABEL_NAMES[label], source, folder)


__all__ = ["BROKEN_JSON", "json_lists", "list_entries", "list_layout"]
