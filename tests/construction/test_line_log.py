from forgescope.construction.line_log import append_line, whole_lines, write_lines


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
