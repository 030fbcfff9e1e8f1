"""metadata.jsonl of an annotated PromptForge corpus: which lines belong to which split, and the fields of a line."""

from typing import Any

from .files import CorpusFiles
from .json_lines import line_ranges
from .notes import Notes
from .raw_edits import said
from .task_taxonomy import TASKS, normalised

METADATA = "metadata.jsonl"
# Folder of a metadata.jsonl -> split.
SPLIT_FOLDERS = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}
TEXT_FIELDS = ("source_task", "instruction", "instruction_en")
# Field -> how many numbers (None: one, not a list), and of which types.
NUMBER_FIELDS: dict[str, tuple[int | None, tuple[type, ...]]] = {
    "inlier_ratio": (None, (int, float)),
    "num_matches": (None, (int,)),
    "affine": (6, (int, float)),
    "crop": (4, (int,)),
}


def annotated_splits(files: CorpusFiles, notes: Notes) -> dict[str, list[Any]]:
    """Split -> pairs of a range of lines and the side of the hash it is read for, None for all its lines.

    Args:
        files: the corpus.
        notes: counts a metadata.jsonl that stands beside folders of splits.
    """
    names = files.match(rf"(^|/){METADATA}$")
    by_folder = {name: SPLIT_FOLDERS.get(name.rpartition("/")[0].rpartition("/")[2]) for name in names}
    if not any(by_folder.values()):
        ranges = [part for name in names for part in line_ranges(files, name)]
        return {split: [(part, split) for part in ranges] for split in ("train", "test")}
    splits: dict[str, list[Any]] = {}
    for name, split in by_folder.items():
        if split:
            splits.setdefault(split, []).extend((part, None) for part in line_ranges(files, name))
        else:
            notes.add(f"{METADATA} beside folders of splits, not read", name)
    return splits


def annotated_columns(record: dict[str, Any], where: str, notes: Notes) -> dict[str, Any]:
    """Columns of a line that name no file: None where a field is missing.

    Args:
        record: the line.
        where: its place.
        notes: counts tasks that are none of the eight, and numbers of another form; both become None.
    """
    task = said(record.get("task"))
    if task is not None and normalised(task) not in TASKS:
        notes.add("task that is none of the eight, left empty", where, task)
        task = None
    columns: dict[str, Any] = {"source": said(record.get("source")), "task": task and normalised(task)}
    for name in TEXT_FIELDS:
        columns[name] = record[name] if isinstance(record.get(name), str) else None
    for name, (count, types) in NUMBER_FIELDS.items():
        value = record.get(name)
        if value is not None and not _is_numbers(value, count, types):
            notes.add(f"{name} of another form, left empty", where, repr(value))
            value = None
        columns[name] = value
    return columns


def _is_numbers(value: object, count: int | None, types: tuple[type, ...]) -> bool:
    if count is None:
        return isinstance(value, types) and not isinstance(value, bool)
    return isinstance(value, list) and len(value) == count and all(_is_numbers(one, None, types) for one in value)


__all__ = ["annotated_columns", "annotated_splits"]
