import json

import pytest
from PIL import Image

from forgescope.construction.promptforge.pairs import DEFAULT_SOURCE, Pair, check_ids, read_pairs, safe_id


def save(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(path)


def test_csv(pair_table):
    pairs = read_pairs(pair_table)
    assert [pair.id for pair in pairs] == ["a", "b", "c", "unrelated", "flat", "identical", "broken"]
    assert pairs[0] == Pair(
        id="a",
        original=pair_table.parent / "a_o.png",
        edited=pair_table.parent / "a_e.png",
        source=DEFAULT_SOURCE,
        source_task="subject_addition",
        instruction="add a ball, a",
    )
    assert pairs[3].source_task is None
    assert pairs[3].instruction is None


def test_json_lines_and_ids_from_names(tmp_path):
    table = tmp_path / "t.jsonl"
    rows = [{"original": "x/1.png", "edited": "y/1 (2).png", "source": "mine"}, {"original": "o", "edited": "e.webp"}]
    table.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")
    pairs = read_pairs(table)
    assert [(pair.id, pair.source) for pair in pairs] == [("y-1-2", "mine"), ("e", DEFAULT_SOURCE)]


def test_two_folders(tmp_path):
    for name in ("originals/1.PNG", "originals/s/2.jpg", "originals/3.png", "edited/1.jpg", "edited/s/2.png"):
        save(tmp_path / name)
    pairs = read_pairs(tmp_path)
    assert [pair.id for pair in pairs] == ["1", "s-2"]
    assert pairs[1].original == tmp_path / "originals/s/2.jpg"
    assert pairs[1].edited == tmp_path / "edited/s/2.png"


def test_names_side_by_side(tmp_path):
    for name in ("cat_original.png", "cat_edited.jpg", "dog-original.png", "x.png"):
        save(tmp_path / name)
    pairs = read_pairs(tmp_path)
    assert [(pair.id, pair.edited.name) for pair in pairs] == [("cat", "cat_edited.jpg")]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", "original,edited\n1.png,\n", r"line 2 has no edited: expected columns original, edited"),
        ("t.csv", "a,b\n1,2\n", r"line 2 has no original and no edited"),
        ("t.csv", "original,edited\n", "holds no pairs"),
        ("t.csv", "original,edited,id\n1,2,x\n3,4,x\n", "the id x stands twice"),
        ("t.jsonl", '{"original": "1", "edited": "2"}\n{"orig', "line 2 is no JSON"),
        ("t.jsonl", "[1]\n", "line 1 is no JSON object"),
        ("t.txt", "1 2", "is no table of pairs: expected a name that ends in .csv or .jsonl"),
    ],
)
def test_bad_tables(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        read_pairs(tmp_path / name)


def test_a_table_that_is_no_text(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"original,edited\n\xff\xfe\x00,2\n")
    with pytest.raises(ValueError, match="is no CSV file"):
        read_pairs(tmp_path / "t.csv")


def test_missing_and_empty(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist: expected a folder of pairs"):
        read_pairs(tmp_path / "nothing")
    with pytest.raises(ValueError, match="holds no pairs: expected folders"):
        read_pairs(tmp_path)


def test_safe_id():
    assert safe_id("a/b c*.d") == "a-b-c-.d"
    assert safe_id("../..") == "pair"


def test_equal_ids_of_a_generator(tmp_path):
    pairs = [Pair("x", tmp_path, tmp_path), Pair("x", tmp_path, tmp_path)]
    with pytest.raises(ValueError, match="the id x stands twice"):
        check_ids(pairs)
