"""Files as a list names them: relative to the list, or by absolute paths that may lead out of the corpus."""

import posixpath
from pathlib import Path
from typing import IO

from .files import CorpusFiles
from .notes import Notes


class AbsoluteFiles(CorpusFiles):
    """Plain files by their absolute paths; nothing is indexed."""

    def __init__(self) -> None:
        self.root = Path("/")
        self.notes = Notes()

    def __contains__(self, name: str) -> bool:
        """Whether there is such a file."""
        return Path(name).is_file()

    def __len__(self) -> int:
        """0, since nothing is indexed."""
        return 0

    def names(self) -> list[str]:
        """Nothing."""
        return []

    def local_path(self, name: str) -> str | None:
        """The path itself."""
        return name

    def open(self, name: str) -> IO[bytes]:
        """Open the file."""
        return Path(name).open("rb")

    def read(self, name: str) -> bytes:
        """Contents of the file."""
        return Path(name).read_bytes()

    def close(self) -> None:
        """Nothing is open."""


ABSOLUTE_FILES = AbsoluteFiles()


def locate(files: CorpusFiles, folder: str, written: str) -> tuple[CorpusFiles, str]:
    """Find where a file that a list names is.

    Args:
        files: the corpus.
        folder: folder of the list in the corpus, "" for the root.
        written: path in the list, relative to that folder or absolute; backslashes count as slashes.

    Returns:
        What reads it and its name there. Whether it exists has not been looked at.
    """
    written = written.replace("\\", "/")
    if not Path(written).is_absolute():
        return files, posixpath.normpath(posixpath.join(folder, written))
    path = Path(written)
    if path.is_relative_to(files.root) and (inside := path.relative_to(files.root).as_posix()) in files:
        return files, inside
    return ABSOLUTE_FILES, written


__all__ = ["locate"]
