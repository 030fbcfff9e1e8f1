"""TFRecord files and the `tf.train.Example` messages in them, read without TensorFlow.

A record is framed as length (uint64), checksum of the length, data, checksum of the data, all little-endian; checksums
are CRC-32C, rotated and offset. An Example is a protobuf message: a map from names to lists of bytes, floats or int64.
"""

import os
import struct
from collections.abc import Iterator
from functools import cache
from typing import IO

import numpy as np

from .notes import Notes

HEADER = struct.Struct("<QI")
CHECKSUM = struct.Struct("<I")
CASTAGNOLI = 0x82F63B78  # CRC-32C, bits reversed
MASK_DELTA = 0xA282EAD8
UINT32 = 0xFFFFFFFF
GIT_LFS_HEAD = b"version https://git-lfs"

# protobuf wire types
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MAX_VARINT_BITS = 63
# field numbers of Feature: which list it is
BYTES_LIST, FLOAT_LIST, INT64_LIST = 1, 2, 3

Values = list[bytes] | list[float] | list[int]


class DamagedRecordError(ValueError):
    """A record whose checksum or message is wrong."""


def record_offsets(stream: IO[bytes], name: str, notes: Notes) -> list[int]:
    """Where the records of a file begin, told from their headers alone; what follows a damaged header is left out.

    Args:
        stream: the file, with `seek`.
        name: its name in notes and errors.
        notes: counts "TFRecord file that breaks off".

    Raises:
        ValueError: the file is no TFRecord file, such as the pointer that Git leaves without LFS.
    """
    size = stream.seek(0, os.SEEK_END)
    offsets: list[int] = []
    offset = 0
    while offset < size:
        stream.seek(offset)
        header = stream.read(HEADER.size)
        length, checksum = HEADER.unpack(header) if len(header) == HEADER.size else (0, -1)
        end = offset + HEADER.size + length + CHECKSUM.size
        if masked_crc32c(header[:8]) != checksum or end > size:
            if not offset and masked_crc32c(header[:8]) != checksum:
                raise ValueError(_not_a_record_file(stream, name))
            notes.add("TFRecord file that breaks off", name, f"after {len(offsets)} records, at byte {offset}")
            break
        offsets.append(offset)
        offset = end
    return offsets


def read_record(stream: IO[bytes], offset: int) -> bytes:
    """Data of the record that begins at an offset.

    Raises:
        DamagedRecordError: a checksum is wrong.
    """
    stream.seek(offset)
    header = stream.read(HEADER.size)
    if len(header) < HEADER.size:
        raise DamagedRecordError(f"no record at byte {offset}")
    length, checksum = HEADER.unpack(header)
    if masked_crc32c(header[:8]) != checksum:
        raise DamagedRecordError(f"wrong checksum of the length at byte {offset}")
    data = stream.read(length)
    tail = stream.read(CHECKSUM.size)
    if len(tail) < CHECKSUM.size or masked_crc32c(data) != CHECKSUM.unpack(tail)[0]:
        raise DamagedRecordError(f"wrong checksum of the record at byte {offset}")
    return data


def parse_example(data: bytes) -> dict[str, Values]:
    """Features of a serialized `tf.train.Example`, by name; a feature without a list gives an empty one.

    Raises:
        DamagedRecordError: the bytes are no such message.
    """
    features: dict[str, Values] = {}
    try:
        for message in _messages(memoryview(data), 1):
            for entry in _messages(message, 1):
                parts = {number: value for number, _, value in _fields(entry) if isinstance(value, memoryview)}
                features[str(bytes(parts[1]), "utf-8")] = _values(parts.get(2, memoryview(b"")))
    except (IndexError, KeyError, TypeError, ValueError, struct.error) as error:
        raise DamagedRecordError(f"not a tf.train.Example: {error}") from error
    return features


def masked_crc32c(data: bytes) -> int:
    """CRC-32C as TFRecord files store it."""
    checksum = crc32c(data)
    return ((checksum >> 15 | checksum << 17) + MASK_DELTA) & UINT32


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli) of some bytes."""
    table, pairs = _tables()
    checksum = UINT32
    even = len(data) // 2 * 2
    for pair in np.frombuffer(data[:even], "<u2").tolist():
        checksum = pairs[(checksum ^ pair) & 0xFFFF] ^ (checksum >> 16)
    for byte in data[even:]:
        checksum = table[(checksum ^ byte) & 0xFF] ^ (checksum >> 8)
    return checksum ^ UINT32


@cache
def _tables() -> tuple[list[int], list[int]]:
    """Remainders of single bytes and of pairs of bytes."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> 1 ^ CASTAGNOLI, table >> 1).astype(np.uint32)
    pairs = np.arange(1 << 16, dtype=np.uint32)
    for _ in range(2):
        pairs = table[pairs & 0xFF] ^ pairs >> 8
    return table.tolist(), pairs.tolist()


def _not_a_record_file(stream: IO[bytes], name: str) -> str:
    stream.seek(0)
    head = stream.read(len(GIT_LFS_HEAD))
    if head == GIT_LFS_HEAD:
        return f"{name} is only a pointer to the file: run `git lfs pull` in its repository"
    return f"{name} is no TFRecord file: it begins with {head[:12]!r}"


def _fields(data: memoryview) -> Iterator[tuple[int, int, memoryview | int]]:
    """Number, wire type and value of every field of a message; fixed-width values as their bytes."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        number, wire = tag >> 3, tag & 7
        if wire == VARINT:
            value, position = _varint(data, position)
            yield number, wire, value
            continue
        if wire == BYTES:
            length, position = _varint(data, position)
        elif wire in (FIXED64, FIXED32):
            length = 8 if wire == FIXED64 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if position + length > len(data):
            raise ValueError("a field breaks off")
        yield number, wire, data[position : position + length]
        position += length


def _messages(data: memoryview, number: int) -> Iterator[memoryview]:
    """Embedded messages of one field number."""
    for found, _, value in _fields(data):
        if found == number and isinstance(value, memoryview):
            yield value


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > MAX_VARINT_BITS:
            raise ValueError("a number of more than 64 bits")


def _values(feature: memoryview | int) -> Values:
    """Contents of a Feature, numbers packed or one by one."""
    if not isinstance(feature, memoryview):
        raise ValueError("a feature that is no message")
    for kind, _, message in _fields(feature):
        if not isinstance(message, memoryview):
            raise ValueError("a list that is no message")
        found = [value for number, _, value in _fields(message) if number == 1]
        if kind == BYTES_LIST:
            return [bytes(value) for value in found if isinstance(value, memoryview)]
        if kind == FLOAT_LIST:
            packed = b"".join(value for value in found if isinstance(value, memoryview))
            return np.frombuffer(packed, "<f4").tolist()
        if kind == INT64_LIST:
            return [_signed(number) for value in found for number in _integers(value)]
    return []


def _integers(value: memoryview | int) -> Iterator[int]:
    if isinstance(value, int):
        yield value
        return
    position = 0
    while position < len(value):
        number, position = _varint(value, position)
        yield number


def _signed(number: int) -> int:
    number &= (1 << 64) - 1
    return number - (1 << 64) if number >> 63 else number


__all__ = ["DamagedRecordError", "crc32c", "masked_crc32c", "parse_example", "read_record", "record_offsets"]
