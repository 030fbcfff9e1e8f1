"""`forgescope explain`: what is printed on a terminal and in a pipe, files, resuming, exit statuses."""

import json
import os
import pty
import re
import sys

import pytest
from answering_fakereasoning import ANSWERS, OTHER_ANSWER, OTHER_QUESTION, plain_photo
from transformers.utils import logging as transformers_logging

from forgescope.cli import main
from forgescope.processing.chain_of_thought import QUESTION

# what a terminal is told besides text
ESCAPES = re.compile(r"\x1b\[[\d;]*m")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Three pictures, and between them a file that is none."""
    (tmp_path / "photos").mkdir()
    for color in ("blue", "red", "white"):
        plain_photo(color).save(tmp_path / f"photos/{color}.png")
    (tmp_path / "photos/broken.png").write_bytes(b"no picture")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(monkeypatch, answering_checkpoint):
    """Run the command line in this process; gives the exit status."""

    def run(*arguments, model=answering_checkpoint):
        options = ["--model", str(model), "--device", "cpu"]
        monkeypatch.setattr(sys, "argv", ["forgescope", "explain", *map(str, arguments), *options])
        with pytest.raises(SystemExit) as status:
            main()
        return status.value.code

    verbosity = transformers_logging.get_verbosity()
    yield run
    transformers_logging.set_verbosity(verbosity)
    transformers_logging.enable_progress_bar()


@pytest.fixture
def explain(run, capsys):
    """Run the command line; gives exit status, standard output and standard error."""

    def explain(*arguments, **options):
        status = run(*arguments, **options)
        return status, *capsys.readouterr()

    return explain


def rows_of(folder):
    lines = (folder / "explanations.jsonl").read_text().splitlines()
    return {row["path"]: row for row in map(json.loads, lines)}


def test_one_image_in_a_pipe(folder, explain):
    status, out, err = explain("photos/red.png")
    assert (status, err) == (0, "")
    assert out == (
        "fake, probability to be fake 0.982\n"
        "Summary: I look.\n"
        "Caption: A red wall.\n"
        "Reasoning: No grain.\n"
        "Conclusion: This image is fake.\n"
    )


def test_one_image_on_a_terminal_is_streamed(folder, run, monkeypatch):
    ours, terminal = pty.openpty()
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    with os.fdopen(terminal, "w") as screen, monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", screen)
        assert run("photos/red.png") == 0
        screen.flush()
        shown = os.read(ours, 10_000).decode().replace("\r\n", "\n")
    os.close(ours)
    assert ESCAPES.sub("", shown) == f"{ANSWERS['red']}\n\nfake, probability to be fake 0.982\n"
    assert "\x1b[1;36m<SUMMARY>\x1b[0m I look. \x1b[1;36m</SUMMARY>\x1b[0m" in shown
    assert "\x1b[1;31mfake, probability" in shown


def test_streaming_can_be_asked_for_and_switched_off(folder, explain):
    assert explain("photos/red.png", "--stream") == (
        0,
        f"{ANSWERS['red']}\n\nfake, probability to be fake 0.982\n",
        "",
    )
    assert explain("photos/white.png", "--no-stream")[1].startswith("fake\nConclusion: It is artificial.\nproblem: ")


def test_several_images_without_a_folder_are_printed_in_full(folder, explain):
    status, out, err = explain("photos/blue.png", "photos/white.png")
    assert (status, err) == (0, "")
    assert out.startswith("photos/blue.png\nno verdict\nAnswer: I cannot say.\nproblem: SUMMARY is missing\n")
    assert "photos/white.png\nfake\nConclusion: It is artificial.\n" in out


def test_a_folder_with_a_bad_file_and_a_run_that_goes_on(folder, explain, answering_checkpoint):
    status, out, err = explain("photos", "--out", "out", "--batch-size", 2)
    assert status == 1
    assert out == (
        "no verdict  photos/blue.png  problems: 4\n"
        "fake, probability to be fake 0.982  photos/red.png\n"
        "fake  photos/white.png  problems: 4\n"
    )
    assert re.search(r"failed: photos/broken.png: not an image", err)
    assert "4 explained: 2 fake, 0 real, 1 without a verdict, 1 failed\n" in err
    assert f"answers: {folder}/out/explanations.jsonl\n" in err
    rows = rows_of(folder / "out")
    assert list(rows) == [f"photos/{name}.png" for name in ("blue", "broken", "red", "white")]
    red, broken = rows["photos/red.png"], rows["photos/broken.png"]
    settings = {"model": str(answering_checkpoint), "precision": "float32", "question": QUESTION}
    settings |= {"max_new_tokens": 512, "temperature": 0.0, "seed": 0}
    assert settings.items() <= red.items()
    assert (red["verdict"], red["text"], red["caption"], red["error"]) == ("fake", ANSWERS["red"], "A red wall.", None)
    assert red["fake_probability"] == pytest.approx(0.982, abs=1e-3)
    assert (broken["verdict"], broken["text"], broken.keys()) == (None, "", red.keys())
    assert broken["error"].startswith("photos/broken.png: not an image")

    # what was cut off by a crash is explained again, the file that is mended too, and nothing else
    file = folder / "out/explanations.jsonl"
    file.write_bytes(file.read_bytes()[:-20])
    plain_photo("blue").save(folder / "photos/broken.png")
    status, out, err = explain("photos", "--out", "out", "--batch-size", 2)
    assert status == 0
    assert "2 already explained (--overwrite explains them again)" in err
    assert [line.split()[-3] for line in out.splitlines()] == ["photos/broken.png", "photos/white.png"]
    again = rows_of(folder / "out")
    assert {name: row["text"] for name, row in again.items()} == {
        "photos/blue.png": ANSWERS["blue"],
        "photos/broken.png": ANSWERS["blue"],
        "photos/red.png": ANSWERS["red"],
        "photos/white.png": ANSWERS["white"],
    }

    status, _, err = explain("photos", "--out", "out", "--temperature", 0.2)
    assert status == 2
    assert "holds results with temperature 0.0, this run has 0.2: choose another --out, or --overwrite" in err
    status, _, err = explain("photos/blue.png", "--out", "out", "--temperature", 0.2, "--overwrite")
    assert (status, rows_of(folder / "out")["photos/blue.png"]["temperature"]) == (0, 0.2)


def test_lines_of_json(folder, explain):
    status, out, err = explain("photos", "--format", "jsonl", "--max-new-tokens", 5)
    assert status == 1
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["path"] for row in rows] == [f"photos/{name}.png" for name in ("blue", "broken", "red", "white")]
    assert (rows[0]["text"], rows[0]["error"]) == (ANSWERS["blue"], None)
    assert rows[1]["error"].startswith("photos/broken.png: not an image")
    assert "the answer was cut off after 5 tokens" in rows[2]["problems"]
    assert "failed: photos/broken.png" in err


def test_another_question(folder, explain):
    assert explain("photos/red.png", "--question", OTHER_QUESTION)[1].startswith(f"no verdict\nAnswer: {OTHER_ANSWER}")


def test_a_missing_file_fails(folder, explain):
    assert explain("photos/none.png") == (1, "", "failed: photos/none.png: no such file\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["photos", "--stream"], "--stream shows one image as text"),
        (["photos/red.png", "--stream", "--format", "jsonl"], "--stream shows one image as text"),
        (["empty*"], "no image found in empty*"),
        (["photos", "--temperature", "-1"], "Invalid value for '--temperature'"),
        (["photos", "--format", "xml"], "Invalid value for '--format'"),
    ],
)
def test_wrong_usage_exits_with_2(folder, explain, arguments, message):
    status, out, err = explain(*arguments)
    assert (status, out) == (2, "")
    assert message in err


def test_a_model_that_does_not_explain_is_refused(folder, explain):
    status, _, err = explain("photos", model="iclnet-mini")
    assert status == 2
    assert err.startswith("error: checkpoint 'iclnet-mini' has model type 'iclnet', which cannot be used here")


def test_a_full_disk_leaves_whole_rows(folder, small_disk, explain):
    (small_disk / "filler").write_bytes(bytes(250_000))
    for number in range(8):
        plain_photo("blue").save(folder / f"photos/b{number}.png")
    filler = small_disk / "filler"
    with open(filler, "ab", buffering=0) as file:
        try:
            while file.write(bytes(1000)):
                pass
        except OSError:
            pass
    status, _, err = explain("photos", "--out", small_disk)
    assert status == 1
    assert "error: cannot write" in err
    assert "run again to go on from there" in err
    filler.unlink()
    assert explain("photos/red.png", "--out", small_disk)[0] == 0
    assert rows_of(small_disk)["photos/red.png"]["verdict"] == "fake"
