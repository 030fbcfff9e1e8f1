import json

import pytest
from archives_layout import write_tree

from forgescope.datasets_scripts.files import CorpusFiles
from forgescope.datasets_scripts.json_text import read_json, read_json_list

TEXT = json.dumps([{"desc": "ü 手"}], ensure_ascii=False)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_encodings_are_told_apart(tmp_path, encoding):
    files = CorpusFiles(write_tree(tmp_path, {"a.json": TEXT.encode(encoding)}))
    assert read_json(files, "a.json") == [{"desc": "ü 手"}]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "a.json is empty"),
        (b" \n", "a.json is empty"),
        (b'[\n{"a": 1},\n{"b" 2}]', "a.json line 3 is not JSON: Expecting ':' delimiter at column 6"),
        ('[\n{"a" 1}]'.encode("utf-16"), "a.json line 2 is not JSON"),
        (b'["\xe9"]', "a.json is not text in utf-8: byte 2"),
    ],
)
def test_damage_is_named_with_file_and_line(tmp_path, data, message):
    files = CorpusFiles(write_tree(tmp_path, {"a.json": data}))
    with pytest.raises(ValueError, match=message):
        read_json(files, "a.json")


def test_a_list_is_a_list(tmp_path):
    files = CorpusFiles(write_tree(tmp_path, {"a.json": b"{}", "b.json": b"[]"}))
    assert read_json_list(files, "b.json") == []
    with pytest.raises(ValueError, match="a.json holds a JSON dict: expected a list"):
        read_json_list(files, "a.json")
