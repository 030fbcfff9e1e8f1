import json
import os

from forgescope.construction.line_log import append_line, whole_lines, write_json, write_lines


def test_lines_come_back(tmp_path):
    file = tmp_path / "folder" / "log.jsonl"
    assert whole_lines(file) == []
    rows = [{"a": "é\u2028\r\n"}, {"a": None}]
    for row in rows:
        append_line(file, row)
    assert whole_lines(file) == rows
    write_lines(file, rows[1:])
    assert whole_lines(file) == rows[1:]


def test_a_line_without_its_end_is_taken_out(tmp_path):
    file = tmp_path / "log.jsonl"
    file.write_bytes(b'{"a": 1}\n{"a": 2')
    assert whole_lines(file) == [{"a": 1}]
    append_line(file, {"a": 3})
    assert whole_lines(file) == [{"a": 1}, {"a": 3}]


def test_bytes_of_file_names_and_halves_of_characters_come_back(tmp_path):
    row = {"photo": os.fsdecode(b"caf\xe9.jpg"), "caption": json.loads('"a cat \\ud83d"')}
    append_line(tmp_path / "log.jsonl", row)
    write_lines(tmp_path / "again.jsonl", [row])
    write_json(tmp_path / "value.json", row)
    assert whole_lines(tmp_path / "log.jsonl") == whole_lines(tmp_path / "again.jsonl") == [row]
    assert json.loads((tmp_path / "value.json").read_text()) == row
