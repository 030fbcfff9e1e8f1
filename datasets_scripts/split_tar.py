"""One tar cut into numbered parts, as `NAME.part1.tar` to `NAME.part86.tar`; any subset of the parts can be read."""

import os
import re
import tarfile
from itertools import pairwise
from pathlib import Path
from typing import IO

from .notes import Notes
from .windows import SizedReader

PART_NAME = re.compile(r"(?P<stem>.*)\.part(?P<number>\d+)\.tar$")
TAR_MAGIC = b"ustar"
TAR_MAGIC_OFFSET = 257  # bytes from the start of a header, POSIX.1-1988
SEARCH_BLOCK = 1 << 20


class PartsFile(SizedReader):
    """Consecutive files as one seekable binary stream.

    Args:
        paths: the files, in order.
    """

    def __init__(self, paths: list[Path]):
        self._starts = [0]
        for path in paths:
            self._starts.append(self._starts[-1] + path.stat().st_size)
        super().__init__(self._starts[-1])
        self._files = [path.open("rb") for path in paths]

    def read(self, size: int = -1) -> bytes:
        """Read across the borders of parts; fewer bytes only at the end of the last."""
        end = self._size if size < 0 else min(self._position + size, self._size)
        pieces = []
        for file, (first, last) in zip(self._files, pairwise(self._starts), strict=True):
            if first < end and self._position < last and self._position < end:
                file.seek(self._position - first)
                pieces.append(file.read(min(end, last) - self._position))
                self._position += len(pieces[-1])
        return b"".join(pieces)

    def close(self) -> None:
        """Close every part."""
        for file in self._files:
            file.close()
        super().close()


def part_runs(paths: list[Path], notes: Notes) -> list[list[Path]]:
    """Sort parts by number (part2 before part10) and group those that follow one another.

    Args:
        paths: parts of one tar.
        notes: counts the parts missing before the last one that is there.

    Returns:
        Runs of consecutive parts.
    """
    numbers = {int(match["number"]): path for path in paths if (match := PART_NAME.match(path.name))}
    runs: list[list[Path]] = []
    previous = None
    for number in sorted(numbers):
        if previous is None or number != previous + 1:
            runs.append([])
            gap = number - (previous or 0) - 1
            if gap:
                notes.add("missing part", f"before {numbers[number].name}", f"{gap} missing", count=gap)
        runs[-1].append(numbers[number])
        previous = number
    return runs


def start_of_next_member(stream: IO[bytes]) -> int | None:
    """Offset of the first tar header in a stream that begins anywhere, None when there is none."""
    end = stream.seek(0, os.SEEK_END)
    position = 0
    while position < end:
        stream.seek(position)
        block = stream.read(SEARCH_BLOCK + TAR_MAGIC_OFFSET + len(TAR_MAGIC))
        found = block.find(TAR_MAGIC)
        while found >= 0:
            start = position + found - TAR_MAGIC_OFFSET
            if start >= 0 and is_header(stream, start):
                return start
            found = block.find(TAR_MAGIC, found + 1)
        position += SEARCH_BLOCK
    return None


def is_header(stream: IO[bytes], start: int) -> bool:
    """Whether a tar header with a right checksum stands at this offset."""
    stream.seek(start)
    try:
        tarfile.TarInfo.frombuf(stream.read(tarfile.BLOCKSIZE), tarfile.ENCODING, "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


__all__ = ["PART_NAME", "PartsFile", "is_header", "part_runs", "start_of_next_member"]
