import json

import pytest
from archives_layout import tar_bytes, write_tree

from forgescope.datasets_scripts.files import CorpusFiles
from forgescope.datasets_scripts.json_ranges import json_entries, json_ranges

TRAP = 'says "}, {"image": 1}, {\\"image\\": }," and "}, "x.png": {" \\'
LIST = [{"image": f"{n}.png", "conversations": [{"from": "gpt", "value": TRAP * (n % 7)}]} for n in range(900)]
OBJECT = {f"gen/{n:04d}.png": {"}, ": TRAP, "text": None if n % 3 else "}, " * n} for n in range(700)}


def corpus(tmp_path, text: str, encoding: str = "utf-8") -> CorpusFiles:
    return CorpusFiles(write_tree(tmp_path, {"a.json": text.encode(encoding)}))


def everything(files: CorpusFiles, pieces: int) -> tuple[int, list]:
    ranges = json_ranges(files, "a.json", pieces)
    return len(ranges), [entry for part in ranges for entry in json_entries(files, part)]


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("pieces", [1, 2, 7, 64])
@pytest.mark.parametrize("data", [LIST, OBJECT], ids=["list", "object"])
def test_ranges_cover_every_entry_once_and_in_order(tmp_path, data, pieces, indent):
    count, entries = everything(corpus(tmp_path, json.dumps(data, indent=indent)), pieces)
    expected = [(None, value) for value in data] if isinstance(data, list) else list(data.items())
    assert entries == expected
    assert count == 1 if pieces == 1 else 1 < count <= pieces


def test_each_range_can_be_read_by_itself_from_an_archive(tmp_path):
    (tmp_path / "all.tar").write_bytes(tar_bytes({"a.json": json.dumps(LIST).encode()}))
    files = CorpusFiles(tmp_path)
    ranges = json_ranges(files, "a.json", 5)
    middle = list(json_entries(files, ranges[2]))
    assert 50 < len(middle) < 400
    start = int(middle[0][1]["image"].split(".")[0])
    assert [value["image"] for _, value in middle] == [f"{start + n}.png" for n in range(len(middle))]


@pytest.mark.parametrize("data", [[], {}, [1, "a", None], [[1], {"a": 2}]], ids=str)
def test_lists_of_other_things_are_one_range(tmp_path, data):
    count, entries = everything(corpus(tmp_path, json.dumps(data)), 8)
    assert count == 1
    assert entries == [(None, value) for value in data]


def test_records_that_nest_their_first_key_are_one_range(tmp_path):
    data = [{"image": "x" * 999, "more": [{"image": 1}, {"image": 2}]} for _ in range(200)]
    count, entries = everything(corpus(tmp_path, json.dumps(data)), 8)
    assert count == 1
    assert [value for _, value in entries] == data


def test_records_with_other_key_orders_are_not_lost(tmp_path):
    data = [dict(reversed(record.items())) if n % 5 == 0 and n else record for n, record in enumerate(LIST)]
    count, entries = everything(corpus(tmp_path, json.dumps(data)), 8)
    assert count > 2
    assert [value for _, value in entries] == data


def test_a_byte_order_mark_is_no_matter(tmp_path):
    assert everything(corpus(tmp_path, json.dumps(LIST), "utf-8-sig"), 4)[1] == [(None, value) for value in LIST]


@pytest.mark.parametrize(("text", "encoding"), [("", "utf-8"), ("text", "utf-8"), ("[1]", "utf-16")])
def test_other_files_are_refused(tmp_path, text, encoding):
    with pytest.raises(ValueError, match=r"a\.json begins with .*: expected a JSON list or object in UTF-8"):
        json_ranges(corpus(tmp_path, text, encoding), "a.json", 4)


@pytest.mark.parametrize("data", [LIST, OBJECT], ids=["list", "object"])
def test_damage_is_an_error_that_names_file_and_last_good_entry(tmp_path, data):
    text = json.dumps(data)
    files = corpus(tmp_path, text[: len(text) // 2])
    good = []
    with pytest.raises(ValueError, match=r"a\.json is damaged JSON .*after the entry .*\d+\.png"):
        good.extend(entry for part in json_ranges(files, "a.json", 3) for entry in json_entries(files, part))
    assert len(good) > 100
    with pytest.raises(ValueError, match="after the entry"):
        everything(corpus(tmp_path, text.replace('"600.png"', "600.png").replace('"gen/0600.png"', "x")), 3)
