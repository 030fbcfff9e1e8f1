"""Rows and rejects of a folder, and the questions of a run: in threads, with failures, to the end of a dead server."""

import json
from pathlib import Path

import pytest

from forgescope.construction.asking import MOST_SERVER_ERRORS, Asking, reason_of
from forgescope.construction.chat_client import ServerError
from forgescope.construction.row_log import RowLog


def test_rows_are_logged_as_they_come_and_ordered_at_the_end(tmp_path):
    log = RowLog(tmp_path)
    assert [log.add({"index": 2}), log.add({"index": 0, "reason": "dull"}), log.add({"index": 1})] == [
        True,
        False,
        True,
    ]
    assert (tmp_path / "metadata.jsonl").read_text() == '{"index": 2}\n{"index": 1}\n'
    with (tmp_path / "rejects.jsonl").open("a") as file:
        file.write('{"index": 3, "rea')
    later = RowLog(tmp_path)
    assert later.done() == {0, 1, 2}
    assert later.finish() == ([{"index": 1}, {"index": 2}], [{"index": 0, "reason": "dull"}])
    assert (tmp_path / "metadata.jsonl").read_text() == '{"index": 1}\n{"index": 2}\n'
    assert json.loads((tmp_path / "rejects.jsonl").read_text()) == {"index": 0, "reason": "dull"}


@pytest.mark.parametrize("workers", [1, 4])
def test_what_fails_is_named_and_the_others_go_on(workers):
    def ask(item):
        if item % 3 == 0:
            raise (ServerError("away"), ValueError("7.png is grey"), KeyError("eyes"))[item // 3 % 3]
        return {"index": item}

    run = Asking(ask, lambda item: Path(f"{item}.png"), workers)
    rows = list(run.rows(range(9)))
    assert sorted(row["index"] for row in rows if row) == [1, 2, 4, 5, 7, 8]
    assert (len(rows), run.made, run.stopped) == (9, 6, None)
    assert run.failed == {"0.png": "0.png: away", "3.png": "3.png: 7.png is grey", "6.png": "6.png: KeyError: 'eyes'"}


@pytest.mark.parametrize("workers", [1, 5])
def test_a_dead_server_is_given_up(workers):
    def ask(item):
        raise ServerError("no answer")

    run = Asking(ask, lambda item: Path(f"{item}.png"), workers)
    most = max(MOST_SERVER_ERRORS, workers)
    failed = list(run.rows(range(100)))
    assert failed == [None] * len(run.failed)
    assert most <= len(failed) < most + workers
    assert (run.made, run.stopped) == (0, "no answer")


def test_reasons_name_the_photograph_once():
    assert reason_of(Path("a.png"), OSError("a.png is no image")) == "a.png is no image"
    assert reason_of(Path("a.png"), RuntimeError("CUDA")) == "a.png: RuntimeError: CUDA"
    assert reason_of(Path("a.png"), RuntimeError("CUDA"), (RuntimeError,)) == "a.png: CUDA"
