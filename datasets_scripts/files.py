"""The files of a corpus by name, whether they lie in a folder, in zip archives, in tars or in one tar cut into parts.

Tars are indexed by their headers alone and read by position, so that memory stays small and order does not matter.
"""

import io
import os
import re
import tarfile
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from fnmatch import translate
from pathlib import Path
from typing import IO, Any, cast

from .notes import Notes
from .split_tar import PART_NAME, PartsFile, is_header, part_runs, start_of_next_member
from .windows import FileWindow

ARCHIVE_PATTERNS = ("*.zip", "*.tar")
# Left over by operating systems and archivers.
IGNORED = re.compile(r"(^|/)(__MACOSX/|\.DS_Store$|Thumbs\.db$|\._[^/]*$|\.cache/|\.git/)")
# Members after which the header objects that tarfile collects are dropped.
TAR_FORGET_EVERY = 1000
# What zipfile raises for damaged, encrypted or oddly compressed members.
ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError)


class CorpusFiles:
    """Names and contents of the files below a folder, archives unpacked in thought.

    Args:
        data_dir: a folder, or one archive (zip, tar, or any part of a split tar: its sisters are found).
        archives: patterns of files that are opened as archives; `()` leaves all of them alone.
        notes: counts duplicate members, links, missing parts and broken archives.
        archives_as_folders: put the members below a folder of the archive's name, as if it had been unpacked there, so
            that equal names in two archives stay apart; members that begin with that folder keep their names.

    Raises:
        FileNotFoundError: there is no such folder or archive.
        ValueError: a single archive that cannot be read.
    """

    def __init__(
        self,
        data_dir: str | Path,
        archives: Iterable[str] = ARCHIVE_PATTERNS,
        notes: Notes | None = None,
        archives_as_folders: bool = False,
    ):
        self.root = Path(data_dir).expanduser().absolute()
        self.notes = notes or Notes()
        patterns = [translate(pattern) for pattern in archives]
        self._archive_name = re.compile("|".join(patterns)) if patterns else None
        self._as_folders = archives_as_folders
        # name -> None for a plain file, else (archive, position): an index into the archive's own table
        self._entries: dict[str, Any] = {}
        self._zips: dict[str, zipfile.ZipFile] = {}
        self._tars: dict[str, IO[bytes]] = {}
        if self.root.is_dir():
            self._index_folder()
        elif self.root.is_file():
            self._index_file()
        else:
            raise FileNotFoundError(f"{data_dir} does not exist: expected a folder or an archive")

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def names(self) -> list[str]:
        """All names, relative to the root with forward slashes, sorted; archive members by their own names."""
        return sorted(self._entries)

    def match(self, pattern: str) -> list[str]:
        """Sorted names in which this regular expression is found."""
        found = re.compile(pattern).search
        return [name for name in self.names() if found(name)]

    def local_path(self, name: str) -> str | None:
        """Path of a plain file, None for a member of an archive.

        Raises:
            FileNotFoundError: no file of this name.
        """
        return str(self.root / name) if self._entry(name) is None else None

    def open(self, name: str) -> IO[bytes]:
        """Open a file for reading, with `seek`; a member of a zip is read at once, one of a tar as it is asked for.

        Raises:
            FileNotFoundError: no file of this name.
            OSError: it cannot be read.
        """
        entry = self._entry(name)
        if entry is None:
            return (self.root / name).open("rb")
        archive, position = entry
        if archive in self._tars:
            return io.BufferedReader(FileWindow(self._tars[archive], *position))
        return io.BytesIO(self.read(name))

    def read(self, name: str) -> bytes:
        """Contents of a file; errors as in `open`."""
        entry = self._entry(name)
        if entry is None:
            return (self.root / name).read_bytes()
        archive, position = entry
        if archive in self._zips:
            try:
                return self._zips[archive].read(position)
            except ZIP_ERRORS as error:
                raise OSError(f"{name} in {archive} is damaged: {error}") from error
        offset, size = position
        stream = self._tars[archive]
        stream.seek(offset)
        data = stream.read(size)
        if len(data) < size:
            raise OSError(f"{name} in {archive} is cut off after {len(data)} of {size} bytes; is a part missing?")
        return data

    def close(self) -> None:
        """Close the archives."""
        for archive in self._zips.values():
            archive.close()
        for stream in self._tars.values():
            stream.close()

    def _entry(self, name: str) -> Any:
        try:
            return self._entries[name]
        except KeyError:
            raise FileNotFoundError(f"{name} is not among the {len(self)} files of {self.root}") from None

    def _index_folder(self) -> None:
        parts: defaultdict[str, list[str]] = defaultdict(list)
        archives = []
        for name in walk_names(self.root):
            if IGNORED.search(name):
                continue
            stem = PART_NAME.match(name) if (archive := self._is_archive(name)) else None
            if not archive:
                self._entries[name] = None
            elif stem:
                parts[stem["stem"]].append(name)
            else:
                archives.append(name)
        for name in sorted(archives):
            try:
                self._index_archive(self.root / name)
            except ValueError as error:
                self.notes.add("archive that cannot be read", name, str(error))
        for stem_name, names in sorted(parts.items()):
            self._index_parts(str(self.root / stem_name), [self.root / name for name in names])

    def _index_file(self) -> None:
        stem = PART_NAME.match(self.root.name)
        if stem:
            sisters = [path for path in self.root.parent.iterdir() if PART_NAME.match(path.name)]
            same = [path for path in sisters if PART_NAME.match(path.name)["stem"] == stem["stem"]]  # type: ignore[index]
            chosen = [path for path in same if self._is_archive(path.name)]
            self._index_parts(str(self.root.parent / stem["stem"]), chosen)
        else:
            self._index_archive(self.root)

    def _is_archive(self, name: str) -> bool:
        return self._archive_name is not None and self._archive_name.match(name.lower()) is not None

    def _index_archive(self, path: Path) -> None:
        folder = self._folder_of(path)
        if zipfile.is_zipfile(path):
            archive = self._zips[str(path)] = zipfile.ZipFile(path)
            for info in archive.infolist():
                if not info.is_dir():
                    self._add(info.filename, (str(path), info), folder)
            return
        stream = path.open("rb")
        try:
            for name, offset, size in tar_members(stream, 0, self.notes, path.name):
                self._add(name, (str(path), (offset, size)), folder)
        except tarfile.TarError as error:
            stream.close()
            raise ValueError(f"{path} is neither a zip nor a tar archive that can be read: {error}") from error
        self._tars[str(path)] = stream

    def _folder_of(self, archive: Path) -> str:
        """The folder that an archive is unpacked to in thought: "" or one with a slash."""
        if not self._as_folders:
            return ""
        inside = archive.relative_to(self.root if self.root.is_dir() else self.root.parent)
        return inside.with_suffix("").as_posix() + "/"

    def _index_parts(self, stem: str, paths: list[Path]) -> None:
        for run in part_runs(paths, self.notes):
            archive = f"{stem}[{run[0].name}]"
            stream = cast(IO[bytes], PartsFile(run))
            self._tars[archive] = stream
            first = PART_NAME.match(run[0].name)
            start = 0 if first and int(first["number"]) == 1 else start_of_next_member(stream)
            if start is None:
                self.notes.add("part without a complete file", run[0].name)
                continue
            try:
                for name, offset, size in tar_members(stream, start, self.notes, run[0].name):
                    self._add(name, (archive, (offset, size)), self._folder_of(Path(f"{stem}.tar")))
            except tarfile.TarError as error:
                self.notes.add("archive that cannot be read", run[0].name, str(error))

    def _add(self, name: str, entry: Any, folder: str = "") -> None:
        name = name.removeprefix("./")
        if IGNORED.search(name):
            return
        own = folder.rstrip("/").rpartition("/")[2]
        if own and name.startswith(f"{own}/"):
            folder = folder.removesuffix(f"{own}/")
        name = f"{folder}{name}"
        if name in self._entries:
            self.notes.add("duplicate member, the first is used", name)
        else:
            self._entries[name] = entry


def walk_names(root: Path) -> Iterator[str]:
    """Relative names of all files below a folder, forward slashes; symbolic links are followed, order as on disk."""
    pending = [""]
    while pending:
        folder = pending.pop()
        with os.scandir(root / folder) as entries:
            for entry in entries:
                name = f"{folder}{entry.name}"
                if entry.is_dir():
                    pending.append(f"{name}/")
                else:
                    yield name


def tar_members(
    stream: IO[bytes], start: int = 0, notes: Notes | None = None, archive_name: str = ""
) -> Iterator[tuple[str, int, int]]:
    """Name, offset and size of the regular files of a tar, from its headers alone.

    Tars appended to one another are read to the end; a file cut off at the end is left out.

    Args:
        stream: binary file with `seek`.
        start: offset of the first header.
        notes: counts links, and an archive that breaks off.
        archive_name: name in the notes.

    Raises:
        tarfile.TarError: the stream is no tar.
    """
    notes = notes or Notes()
    end = stream.seek(0, os.SEEK_END)
    stream.seek(start)
    if any(stream.read(tarfile.BLOCKSIZE)) and not is_header(stream, start):
        raise tarfile.ReadError("it does not begin with a tar header")
    stream.seek(start)
    with tarfile.open(fileobj=stream, mode="r:", ignore_zeros=True) as archive:
        try:
            for count, member in enumerate(iter(archive.next, None), start=1):
                if member.issym() or member.islnk():
                    notes.add("link in an archive, left out", member.name)
                elif member.isreg() and member.offset_data + member.size <= end:
                    yield member.name, member.offset_data, member.size
                if count % TAR_FORGET_EVERY == 0:
                    archive.members = []  # type: ignore[attr-defined]
        except tarfile.TarError as error:
            notes.add("archive that breaks off", archive_name, str(error))


__all__ = ["ARCHIVE_PATTERNS", "CorpusFiles", "tar_members", "walk_names"]
