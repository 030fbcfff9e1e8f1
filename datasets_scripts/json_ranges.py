"""Large JSON files, one list or one object of many entries, read a range at a time.

A file is cut at the commas between its entries, which are found from any offset without reading what stands before.
So several readers share a file, each parses its own ranges only, and no more than one entry is held in memory.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

import ijson

from .files import CorpusFiles

# Bytes read at a time in search of a cut, and after which the search is given up and two ranges become one.
SEARCH_BLOCK = 1 << 16
MAX_SEARCH = 1 << 24
# Ranges smaller than this are not worth a cut.
MIN_RANGE = 1 << 15
# Characters of an entry shown in errors.
MAX_SHOWN = 200
UTF8_MARK = b"\xef\xbb\xbf"
OPENINGS = {b"[": "list", b"{": "object"}
STRING = rb'"(?:[^"\\]|\\.)*"'
# In JSON a quote inside a text has a backslash before it, so a comma between `}` and an unescaped quote of a known
# first key, or of a key that ends as image files do, stands between two entries and never inside a text.
FIRST_KEY = re.compile(rb"\s*\[\s*\{\s*(" + STRING + rb")\s*:")
IMAGE_KEY_CUT = re.compile(
    rb'\}\s*(,)\s*"(?:[^"\\]|\\.)*\.(?:png|jpe?g|webp|bmp|tiff?|gif)"\s*:\s*[\{n]', re.IGNORECASE
)


@dataclass(frozen=True)
class JsonRange:
    """Entries of a JSON file between two commas.

    Args:
        name: file of the corpus.
        kind: `list` or `object`.
        start: offset of the first byte: 0, or the one after a comma.
        stop: offset after the last byte.
        first: whether it begins with the file.
        last: whether it ends with the file.
    """

    name: str
    kind: str
    start: int
    stop: int
    first: bool
    last: bool


def json_ranges(files: CorpusFiles, name: str, pieces: int) -> list[JsonRange]:
    """Cut a JSON file into at most this many ranges; a file whose entries are not all told apart gives one.

    Args:
        files: the corpus.
        name: file in it: a list of objects, or an object whose keys are image files.
        pieces: wanted number of ranges.

    Raises:
        ValueError: neither a list nor an object.
        OSError: it cannot be read.
    """
    with files.open(name) as stream:
        size = stream.seek(0, os.SEEK_END)
        kind = _kind(stream, name)
        pattern = _list_cut(stream) if kind == "list" else IMAGE_KEY_CUT
        step = max(MIN_RANGE, -(-size // pieces))
        cuts: list[int] = []
        for offset in range(step, size, step):
            if pattern is not None and (not cuts or offset > cuts[-1]):
                cut = _find_cut(stream, pattern, offset)
                if cut is not None:
                    cuts.append(cut)
    starts, stops = [0, *(cut + 1 for cut in cuts)], [*cuts, size]
    return [
        JsonRange(name, kind, start, stop, first=start == 0, last=stop == size)
        for start, stop in zip(starts, stops, strict=True)
    ]


def json_entries(files: CorpusFiles, part: JsonRange) -> Iterator[tuple[str | None, Any]]:
    """Key (None in a list) and value of every entry of a range.

    Raises:
        ValueError: the file is no JSON; names the last entry that could be read.
        OSError: it cannot be read.
    """
    last: Any = "(none)" if part.first else f"the one before byte {part.start}"
    with files.open(part.name) as stream:
        text = _RangeText(stream, part)
        entries = _entries(text, part.kind)
        while True:
            # no `yield` inside the `try`: readers may be closed when the interpreter is about to end
            try:
                entry = next(entries, None)
            except (ijson.JSONError, UnicodeDecodeError) as error:
                detail = f"{' '.join(str(error).split()[:6])}), after the entry {str(last)[:MAX_SHOWN]}"
                raise ValueError(f"{part.name} is damaged JSON ({detail}") from error
            if entry is None:
                return
            yield entry
            last = entry[1] if entry[0] is None else entry[0]


def _entries(text: "_RangeText", kind: str) -> Iterator[tuple[str | None, Any]]:
    if kind == "object":
        return iter(ijson.kvitems(text, "", use_float=True))
    return ((None, value) for value in ijson.items(text, "item", use_float=True))


class _RangeText:
    """A range with the brackets that make it JSON by itself."""

    def __init__(self, stream: IO[bytes], part: JsonRange):
        opening, closing = (b"[", b"]") if part.kind == "list" else (b"{", b"}")
        self._stream = stream
        self._left = part.stop - part.start
        self._pending = b"" if part.first else opening
        self._closing = b"" if part.last else closing
        stream.seek(part.start)
        if part.first and stream.read(len(UTF8_MARK)) == UTF8_MARK:
            self._left -= len(UTF8_MARK)
        else:
            stream.seek(part.start)

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes; nothing at the end."""
        if size == 0:
            return b""
        if self._pending:
            data, self._pending = self._pending, b""
            return data
        data = self._stream.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(data)
        if not data:
            data, self._closing = self._closing, b""
        return data


def _kind(stream: IO[bytes], name: str) -> str:
    stream.seek(0)
    head = stream.read(SEARCH_BLOCK).removeprefix(UTF8_MARK).lstrip()
    if head[:1] not in OPENINGS:
        raise ValueError(f"{name} begins with {head[:12]!r}: expected a JSON list or object in UTF-8")
    return OPENINGS[head[:1]]


def _list_cut(stream: IO[bytes]) -> re.Pattern[bytes] | None:
    """What stands between the objects of a list, by the first key of its first object; None when that is unclear."""
    stream.seek(0)
    match = FIRST_KEY.match(stream.read(SEARCH_BLOCK).removeprefix(UTF8_MARK))
    stream.seek(0)
    try:
        first = next(ijson.items(stream, "item"), None)
    except ijson.JSONError:
        return None
    if match is None or not isinstance(first, dict) or any(map(_holds(next(iter(first))), first.values())):
        return None
    return re.compile(rb"\}\s*(,)\s*\{\s*" + re.escape(match[1]) + rb"\s*:")


def _holds(key: str) -> Any:
    """Whether a value holds an object with this key anywhere."""

    def holds(value: Any) -> bool:
        if isinstance(value, dict):
            return key in value or any(map(holds, value.values()))
        return isinstance(value, list) and any(map(holds, value))

    return holds


def _find_cut(stream: IO[bytes], pattern: re.Pattern[bytes], offset: int) -> int | None:
    """Offset of the first comma between two entries at or after this offset."""
    stream.seek(offset)
    window = b""
    while len(window) < MAX_SEARCH:
        block = stream.read(SEARCH_BLOCK)
        if not block:
            return None
        window += block
        match = pattern.search(window)
        if match:
            return offset + match.start(1)
    return None


__all__ = ["JsonRange", "json_entries", "json_ranges"]
