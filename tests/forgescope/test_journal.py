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


def test_paths_are_those_of_the_folder_that_a_run_was_started_in(tmp_path, monkeypatch):
    """The same words from two folders name two files, and other words from a third one name the first."""
    for name in ("one/photos", "two/photos"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "one")
    Journal(tmp_path / "run.jsonl", {}).append({"path": "photos/a.jpg", "error": None})
    monkeypatch.chdir(tmp_path / "two")
    journal = Journal(tmp_path / "run.jsonl", {})
    assert not journal.done("photos/a.jpg")
    journal.append({"path": "photos/a.jpg", "error": None})
    monkeypatch.chdir(tmp_path / "one" / "photos")
    again = Journal(tmp_path / "run.jsonl", {})
    assert again.done("a.jpg")
    assert {row["path"] for row in again.rows.values()} == {
        str(tmp_path / "one/photos/a.jpg"),
        str(tmp_path / "two/photos/a.jpg"),
    }
    # as it was given, where that still leads there
    monkeypatch.chdir(tmp_path / "one")
    rows = Journal(tmp_path / "run.jsonl", {}).rows
    assert rows[str(tmp_path / "one/photos/a.jpg")]["path"] == "photos/a.jpg"


def test_rows_of_earlier_versions_have_a_path_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.jsonl").write_text('{"path": "a.jpg", "error": null}\n')
    assert Journal(tmp_path / "run.jsonl", {}).done(str(tmp_path / "a.jpg"))
