"""Pico-Banana-400K as its download scripts leave it: JSON Lines, and images in folders.

The single-turn file `sft.jsonl` has an edit a line: `output_image` (such as `images/positive-edit/1.png`),
`open_image_input_url`, `text`, `summarized_text`, `edit_type`, and `local_input_image` once the publisher's mapping
script has run. Edited images are found by `output_image`, never by position: manifest and JSON Lines differ in order.
Source images are not published; whoever has them has files of the URL's or the mapped name. The preference and
multi-turn files have other fields and are not read.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from urllib.parse import urlsplit

from .files import CorpusFiles
from .json_lines import LineRange, line_ranges, read_records
from .named_files import locate
from .notes import Notes
from .pixels import is_image_name
from .raw_edits import RawEdit, said

SOURCE = "pico-banana"
# In the name of a single-turn file; in that of one which the mapping script has written.
SINGLE_TURN = "sft"
MAPPED = "with_local_source_image_path"
OUTPUT_FIELD = "output_image"
# Much faster than parsing every line twice.
OUTPUT_TEXT = re.compile(rb'"output_image"\s*:\s*"([^"]+)"')


def pico_ranges(files: CorpusFiles, notes: Notes) -> list[LineRange]:
    """Ranges of the single-turn files.

    Args:
        files: the corpus.
        notes: counts files of other forms, and lines whose `output_image` an earlier line has.
    """
    names = files.match(r"(?i)\.jsonl$")
    single = [name for name in names if SINGLE_TURN in _file_name(name).lower()]
    for name in sorted(set(names) - set(single)):
        notes.add("JSON Lines of another form, not read", name)
    mapped = [name for name in single if MAPPED in name]
    if mapped:
        for name in sorted(set(single) - set(mapped)):
            notes.add("JSON Lines without mapped source images, not read beside those with", name)
    seen: set[bytes] = set()

    def is_first(number: int, line: bytes) -> bool:
        found = OUTPUT_TEXT.search(line)
        if found and found[1] in seen:
            notes.add(
                "output_image named again, the first line is used", f"line {number}", found[1].decode(errors="replace")
            )
            return False
        if found:
            seen.add(found[1])
        return True

    return [part for name in mapped or single for part in line_ranges(files, name, is_first)]


def pico_edits(files: CorpusFiles, part: LineRange, notes: Notes) -> Iterator[RawEdit]:
    """Edits of a range of lines.

    Args:
        files: the corpus.
        part: the range.
        notes: counts broken lines, lines without fields, and missing edited and source images.
    """
    folder = part.name.rpartition("/")[0]
    for where, record in read_records(files, part, notes):
        output = record.get(OUTPUT_FIELD)
        if not isinstance(output, str) or not output:
            notes.add("line without output_image", where, f"its fields: {', '.join(record)}")
            continue
        edited = _find_edited(files, output)
        if edited is None:
            notes.add("missing file", output, where)
            continue
        task = record.get("edit_type")
        instruction = said(record.get("text")) or said(record.get("summarized_text"))
        yield RawEdit(
            id=f"{SOURCE}/{output}",
            source=SOURCE,
            source_task=task if isinstance(task, str) else None,
            instruction=instruction,
            instruction_en=instruction,
            edited=(files, edited),
            original=_find_original(files, folder, record, edited),
            columns={"summarized_text": said(record.get("summarized_text"))},
        )


def _find_edited(files: CorpusFiles, output: str) -> str | None:
    """A file whose path ends with the whole of `output_image`."""
    output = output.removeprefix("./").lstrip("/")
    if output in files:
        return output
    return next((name for name in _names_of(files).get(_file_name(output), []) if name.endswith(f"/{output}")), None)


def _find_original(files: CorpusFiles, folder: str, record: dict, edited: str) -> tuple[CorpusFiles, str] | None:
    mapped = said(record.get("local_input_image"))
    if mapped:
        found = locate(files, folder, mapped)
        if found[1] in found[0]:
            return found
    url = said(record.get("open_image_input_url"))
    for written in (mapped, urlsplit(url).path if url else None):
        for name in _names_of(files).get(_file_name(written or ""), []):
            if name != edited:
                return files, name
    return None


@lru_cache(maxsize=1)
def _names_of(files: CorpusFiles) -> dict[str, list[str]]:
    """File name without folders -> images of that name."""
    found: dict[str, list[str]] = {}
    for name in files.names():
        if is_image_name(name):
            found.setdefault(_file_name(name), []).append(name)
    return found


def _file_name(name: str) -> str:
    return name.replace("\\", "/").rpartition("/")[2]


__all__ = ["pico_edits", "pico_ranges"]
