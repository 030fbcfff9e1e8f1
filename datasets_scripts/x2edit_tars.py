"""X2Edit's tars: `X2Edit_data/<model>/<shard>/<NNNNN>.tar`, some of them several tars appended to one another.

Members of one edit: `<key>.1.0.jpg` (source; also spelt `<key>..1.0.jpg` and `<key>.1.jpg`), `<key>.2.jpg` (edited),
`<key>.json` (its keys vary with the model), `<key>.txt` (instruction), and in `textflux` `<key>.1.1.jpg` (where text
goes; not a mask of what was changed, and not read). Appended tars repeat member names; the first of a name is used.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .files import CorpusFiles
from .notes import Notes
from .raw_edits import RawEdit, said

ROOT_FOLDER = "X2Edit_data"
# Folder of the release -> subset; the two whose names differ from PromptForge's are listed with the others.
SUBSETS = {
    "bagel": "bagel",
    "gpt4o": "gpt4o",
    "kontext": "kontext",
    "kontext_subject": "kontext_subject",
    "lama": "lama",
    "ominiconsistencey": "ominiconsistencey",
    "qwen-image-edit-Asian-portrait": "qwen-image-edit-Asian-portrait",
    "qwen-image-edit-NonAsian-portrait": "qwen-image-edit-NonAsian-portrait",
    "step1x-edit": "step1x",
    "textflux": "textflux",
}
MEMBER = re.compile(
    r"(?P<key>(?:.*/)?[^./]+)\.+(?:(?P<field>1\.0|1\.1|1|2)\.(?:jpe?g|png|webp)|(?P<text>json|txt))", re.IGNORECASE
)
SOURCE_FIELDS = ("1.0", "1")
EDITED_FIELD = "2"
# Fields of the metadata that hold the instruction, in the order they are asked; the .txt stands after the first.
INSTRUCTION_FIELDS = ("instruction", "txt", "instruction_en", "instruction_zh", "instruction_ori")


def tar_edits(path: str, root: Path, notes: Notes) -> Iterator[RawEdit]:
    """Edits of one tar, ordered by key; image bytes are read by whoever asks for them.

    The tar stays open until the next edit is asked for after the last one.

    Args:
        path: the tar.
        root: `data_dir`, below which tars outside of the release's folders are named.
        notes: counts tars that cannot be read, repeated and unknown members, edits without an edited image, without
            or with broken metadata.
    """
    place = Path(path)
    try:
        files = CorpusFiles(path, notes=notes)
    except (OSError, ValueError) as error:
        notes.add("archive that cannot be read", place.name, str(error))
        return
    try:
        for key, members in _samples(files, place.name, notes).items():
            edit = _edit(files, place, root, key, members, notes)
            if edit is not None:
                yield edit
    finally:
        files.close()


def subset_and_name(path: Path, root: Path) -> tuple[str | None, str]:
    """Subset that a tar belongs to by its folders, and its name below the subset; None and its name below `root`."""
    folders = path.parts[:-1]
    for place in range(len(folders) - 1, -1, -1):
        if folders[place] in SUBSETS or (place and folders[place - 1] == ROOT_FOLDER):
            inside = "/".join((*folders[place + 1 :], path.stem))
            return SUBSETS.get(folders[place], folders[place]), inside
    folder = root.parent if root == path else root
    return None, path.relative_to(folder).with_suffix("").as_posix()


def _samples(files: CorpusFiles, tar_name: str, notes: Notes) -> dict[str, dict[str, str]]:
    """Key -> field -> member."""
    samples: dict[str, dict[str, str]] = {}
    for name in files.names():
        match = MEMBER.fullmatch(name)
        if match is None:
            notes.add("member that is no part of an edit", f"{tar_name}: {name}")
            continue
        members = samples.setdefault(match["key"], {})
        kind = (match["field"] or match["text"]).lower()
        if kind in members:
            notes.add("image or text of an edit under two names, the first is used", f"{tar_name}: {name}")
        members.setdefault(kind, name)
    return samples


def _edit(
    files: CorpusFiles, place: Path, root: Path, key: str, members: dict[str, str], notes: Notes
) -> RawEdit | None:
    where = f"{place.name}: {key}"
    if EDITED_FIELD not in members:
        notes.add("edit without its edited image", where)
        return None
    sources = [members[field] for field in SOURCE_FIELDS if field in members]
    metadata = _metadata(files, members, where, notes)
    subset, inside = subset_and_name(place, root)
    model = subset or str(said(metadata.get("model")) or "unknown").lower()
    return RawEdit(
        id=f"x2edit-{model}/{inside}/{key}",
        source=f"x2edit-{model}",
        source_task=metadata["task"] if isinstance(metadata.get("task"), str) else None,
        instruction=next((text for field in INSTRUCTION_FIELDS if (text := said(metadata.get(field)))), None),
        instruction_en=said(metadata.get("instruction_en")),
        edited=(files, members[EDITED_FIELD]),
        original=(files, sources[0]) if sources else None,
        columns={"score_7b": _scores(metadata.get("score_7b"), where, notes)},
    )


def _metadata(files: CorpusFiles, members: dict[str, str], where: str, notes: Notes) -> dict[str, Any]:
    """The JSON of an edit, and under `txt` its text file."""
    metadata: dict[str, Any] = {}
    try:
        if "json" in members:
            loaded = json.loads(files.read(members["json"]))
            metadata = loaded if isinstance(loaded, dict) else {}
        if not metadata:
            notes.add("edit without metadata", where)
    except (OSError, ValueError) as error:
        notes.add("metadata that cannot be read", where, str(error))
    if "txt" in members:
        try:
            metadata["txt"] = files.read(members["txt"]).decode("utf-8-sig", "replace")
        except OSError as error:
            notes.add("instruction that cannot be read", where, str(error))
    return metadata


def _scores(value: Any, where: str, notes: Notes) -> list[float] | None:
    """Numbers of `score_7b`, which is a list in the form of text."""
    try:
        numbers = json.loads(value) if isinstance(value, str) else value
        if numbers is None:
            return None
        return [float(number) for number in (numbers if isinstance(numbers, list) else [numbers])]
    except (TypeError, ValueError):
        notes.add("score that is no list of numbers", where, repr(value))
        return None


__all__ = ["tar_edits"]
