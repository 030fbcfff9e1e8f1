"""Binary streams that are made of other streams."""

import io
import os
from typing import IO


class SizedReader(io.RawIOBase):
    """A seekable binary stream of known size; subclasses give `read`, which moves `_position`.

    Args:
        size: number of bytes.
    """

    def __init__(self, size: int):
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """Offset in the stream."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to an offset of the stream."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = base + offset
        return self._position

    def readinto(self, buffer) -> int:
        """Read into a buffer; what `io.BufferedReader` calls."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class FileWindow(SizedReader):
    """Bytes `start` to `start + size` of a stream that others read too; nothing is held in memory.

    Args:
        stream: binary stream with `seek`; it is moved at every read, and stays open when the window is closed.
        start: offset of the first byte.
        size: number of bytes.
    """

    def __init__(self, stream: IO[bytes], start: int, size: int):
        super().__init__(size)
        self._stream = stream
        self._start = start

    def read(self, size: int = -1) -> bytes:
        """Read up to the end of the window."""
        left = max(0, self._size - self._position)
        self._stream.seek(self._start + self._position)
        data = self._stream.read(left if size < 0 else min(size, left))
        self._position += len(data)
        return data


__all__ = ["FileWindow", "SizedReader"]
