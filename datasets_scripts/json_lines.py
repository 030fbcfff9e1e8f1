"""JSON Lines in ranges: a long file is cut into pieces of work without being held in memory."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from .corpus import PIECES
from .files import CorpusFiles
from .notes import Notes

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class LineRange:
    """Consecutive lines of a file.

    Args:
        name: the file.
        offset: byte that the first line begins at.
        first: number of that line, from 1.
        lines: how many lines.
        left_out: numbers of lines that are not to be read.
    """

    name: str
    offset: int
    first: int
    lines: int
    left_out: frozenset[int] = frozenset()


def line_ranges(
    files: CorpusFiles, name: str, keep: Callable[[int, bytes], bool] | None = None, pieces: int = PIECES
) -> list[LineRange]:
    """Cut a file into at most `pieces` ranges of about as many lines each.

    Args:
        files: the corpus.
        name: file in it; inside an archive it is one range, since archives are slow to enter in the middle.
        keep: called with the number and the bytes of every line; the lines it refuses are left out.
        pieces: number of ranges.
    """
    offsets = []
    left_out = set()
    offset = 0
    with files.open(name) as stream:
        for number, line in enumerate(stream, start=1):
            offsets.append(offset)
            offset += len(line)
            if keep is not None and not keep(number, line):
                left_out.add(number)
    size = max(1, -(-len(offsets) // (pieces if files.local_path(name) else 1)))
    ranges = []
    for start in range(0, len(offsets), size):
        lines = min(size, len(offsets) - start)
        refused = frozenset(range(start + 1, start + lines + 1)) & left_out
        ranges.append(LineRange(name, offsets[start], start + 1, lines, refused))
    return ranges


def read_records(files: CorpusFiles, part: LineRange, notes: Notes) -> Iterator[tuple[str, dict[str, Any]]]:
    """Objects of a range, each with the words that name its place.

    Args:
        files: the corpus.
        part: the range.
        notes: counts lines that are no JSON object; empty lines do not matter.
    """
    with files.open(part.name) as stream:
        stream.seek(part.offset)
        for number in range(part.first, part.first + part.lines):
            line = stream.readline().removeprefix(BYTE_ORDER_MARK).strip()
            if not line or number in part.left_out:
                continue
            where = f"{part.name} line {number}"
            try:
                record = json.loads(line)
            except ValueError as error:
                notes.add("line that is not JSON", where, str(error))
                continue
            if isinstance(record, dict):
                yield where, record
            else:
                notes.add("malformed line, no object", where, type(record).__name__)


__all__ = ["LineRange", "line_ranges", "read_records"]
