import io

import pytest
from tfrecord_layout import example_bytes, field, record_bytes

from forgescope.datasets_scripts.notes import Notes
from forgescope.datasets_scripts.tfrecord import (
    DamagedRecordError,
    crc32c,
    masked_crc32c,
    parse_example,
    read_record,
    record_offsets,
)

RECORDS = [b"first", b"", b"third record", bytes(range(256)) * 9]


def test_checksums_of_the_standard():
    # RFC 3720, appendix B.4, and the check value of CRC-32C
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(b"") == 0


def test_masked_checksum_is_the_one_that_event_files_begin_with():
    # every TensorBoard event file begins with a record of 24 bytes
    assert masked_crc32c((24).to_bytes(8, "little")) == int.from_bytes(b"\xa3\x7f\x4b\x22", "little")


def test_records_are_read_in_any_order():
    stream = io.BytesIO(b"".join(map(record_bytes, RECORDS)))
    notes = Notes()
    offsets = record_offsets(stream, "a.tfrecord", notes)
    assert offsets == [0, 21, 37, 65]
    assert [read_record(stream, offset) for offset in reversed(offsets)] == RECORDS[::-1]
    assert not notes.counts


@pytest.mark.parametrize(("cut", "left"), [(1, [0, 21]), (15, [0, 21]), (27, [0, 21]), (30, [0])])
def test_a_file_that_breaks_off_gives_what_is_whole(cut, left):
    whole = b"".join(map(record_bytes, RECORDS[:3]))
    notes = Notes()
    assert record_offsets(io.BytesIO(whole[:-cut]), "a.tfrecord", notes) == left
    assert notes.counts == {"TFRecord file that breaks off": 1}
    assert notes.examples["TFRecord file that breaks off"][0].startswith(f"a.tfrecord: after {len(left)} records")


def test_wrong_checksums_are_refused():
    data = bytearray(b"".join(map(record_bytes, RECORDS)))
    data[13] ^= 1
    stream = io.BytesIO(data)
    offsets = record_offsets(stream, "a.tfrecord", Notes())
    with pytest.raises(DamagedRecordError, match="wrong checksum of the record at byte 0"):
        read_record(stream, offsets[0])
    assert read_record(stream, offsets[2]) == RECORDS[2]
    data[21] ^= 1
    notes = Notes()
    assert record_offsets(io.BytesIO(data), "a.tfrecord", notes) == [0]
    assert notes.counts == {"TFRecord file that breaks off": 1}


def test_other_files_are_named():
    with pytest.raises(ValueError, match=r"a\.tfrecord is no TFRecord file: it begins with b'some text th'"):
        record_offsets(io.BytesIO(b"some text that is no record at all"), "a.tfrecord", Notes())
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
    with pytest.raises(ValueError, match="only a pointer to the file: run `git lfs pull`"):
        record_offsets(io.BytesIO(pointer), "a.tfrecord", Notes())
    assert record_offsets(io.BytesIO(b""), "empty.tfrecord", Notes()) == []


@pytest.mark.parametrize("packed", [True, False])
def test_examples_of_all_kinds(packed):
    features = {
        "name": [b"a/b.png", b"\x00\xff"],
        "score": [0.5, -2.0, 1e-3],
        "count": [0, 1, 300, -1, -(1 << 63), (1 << 63) - 1],
        "nothing": [],
        "größe": [b""],
    }
    found = parse_example(example_bytes(features, packed))
    assert found["score"] == pytest.approx(features["score"])
    assert {name: values for name, values in found.items() if name != "score"} == {
        name: values for name, values in features.items() if name != "score"
    }


def test_unknown_fields_are_passed_over():
    data = example_bytes({"a": [7]}) + field(9, b"later versions") + b"\x50\x05"
    assert parse_example(data) == {"a": [7]}
    assert parse_example(b"") == {}


@pytest.mark.parametrize("data", [b"\x0a\xff", b"\x0a", b"\xff" * 12, b"\x0a\x03\x0a\x01\x0a", b"\x0b"])
def test_damaged_messages_are_refused(data):
    with pytest.raises(DamagedRecordError, match=r"not a tf\.train\.Example"):
        parse_example(data)
