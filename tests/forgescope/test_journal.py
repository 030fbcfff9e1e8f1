"""The journal of a run: what a crash leaves behind."""

import json

import pytest

from forgescope.journal import Journal


def row(name, **more):
    return {"path": f"/photos/{name}", "error": None, **more}


@pytest.mark.parametrize("kept", ["", "the end"])
def test_a_crash_between_a_row_and_its_end_costs_nothing(tmp_path, kept):
    file = tmp_path / "run.jsonl"
    journal = Journal(file, {})
    journal.append(row("a.jpg"))
    journal.append(row("b.jpg"))
    whole = file.read_bytes()
    file.write_bytes(whole if kept else whole[:-1])
    again = Journal(file, {})
    assert again.done("/photos/b.jpg")
    again.append(row("c.jpg"))
    assert [json.loads(line)["path"] for line in file.read_text().splitlines()] == [
        "/photos/a.jpg",
        "/photos/b.jpg",
        "/photos/c.jpg",
    ]
    assert len(Journal(file, {}).rows) == 3
