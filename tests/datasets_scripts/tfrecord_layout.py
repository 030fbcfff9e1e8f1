"""Writes TFRecord files and `tf.train.Example` messages by their published formats, for tests of the reader."""

import struct

from forgescope.datasets_scripts.tfrecord import masked_crc32c


def varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def field(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def feature(values: list, packed: bool = True) -> bytes:
    """A Feature of bytes, floats or integers, by the type of the first value."""
    if isinstance(values[0], bytes):
        return field(1, b"".join(field(1, value) for value in values))
    if isinstance(values[0], float):
        numbers = [struct.pack("<f", value) for value in values]
        inner = field(1, b"".join(numbers)) if packed else b"".join(varint(1 << 3 | 5) + one for one in numbers)
        return field(2, inner)
    numbers = [varint(value) for value in values]
    inner = field(1, b"".join(numbers)) if packed else b"".join(varint(1 << 3) + one for one in numbers)
    return field(3, inner)


def example_bytes(features: dict[str, list], packed: bool = True) -> bytes:
    entries = [
        field(1, field(1, name.encode()) + field(2, feature(values, packed) if values else b""))
        for name, values in features.items()
    ]
    return field(1, b"".join(entries))


def record_bytes(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    checksums = [struct.pack("<I", masked_crc32c(part)) for part in (length, data)]
    return length + checksums[0] + data + checksums[1]
