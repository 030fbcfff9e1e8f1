"""`--json`: what programs get on standard output is JSON and nothing else, whatever is told to people meanwhile."""

import json
import shutil
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from forgescope.cli import main


@pytest.fixture
def run(monkeypatch, capfd):
    """Run the command line: exit status, parsed standard output, standard error. Also what C code prints is seen."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["forgescope", *map(str, words)])
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capfd.readouterr()
        return stopped.value.code, json.loads(out), err

    return call


@pytest.fixture
def examples(repository):
    return repository / "examples"


@pytest.fixture
def pairs(examples, tmp_path):
    """A photograph, and the same with a square drawn into it, as a table of pairs; a second pair is no image."""
    photo = next((examples / "images").iterdir())
    shutil.copy(photo, tmp_path / "a.jpg")
    with Image.open(photo) as image:
        edited = image.convert("RGB")
    ImageDraw.Draw(edited).rectangle((100, 100, 180, 170), fill=(250, 20, 240))
    edited.save(tmp_path / "b.png")
    (tmp_path / "c.png").write_text("no image")
    (tmp_path / "pairs.csv").write_text("id,original,edited\none,a.jpg,b.png\ntwo,a.jpg,c.png\n")
    return tmp_path / "pairs.csv"


def test_data(run, examples, tmp_path):
    status, corpora, _ = run("data", "list", "--json")
    assert status == 0
    assert corpora["genimage"]["licence"] == "cc-by-nc-sa-4.0"
    assert corpora["synthscars"]["configs"][0] == "union"
    status, report, err = run("data", "inspect", "folder", examples, "--limit", 2, "--json", "-")
    assert status == 0
    assert report["corpus"] == "folder"
    assert "local images and masks" in err
    status, written, err = run("data", "export", "folder", examples, "--out", tmp_path / "parquet", "--json")
    assert (status, written["rows"], written["url"]) == (0, {"train": 8}, None)
    assert str(tmp_path / "parquet") == written["folder"]
    assert "8 train" in err


def test_annotate_counts_what_it_rejected(run, pairs, tmp_path):
    out = tmp_path / "corpus"
    status, answer, err = run("annotate", pairs, "--out", out, "--backbone", "classical", "--json")
    assert status == 1
    assert (answer["annotated"], answer["made"], answer["rejected"]) == (1, 2, {"image cannot be read": 1})
    assert "1 pairs with masks in" in err
    status, answer, _ = run(
        "data", "turns", tmp_path / "pairs.csv", "--single", "--out", tmp_path / "strips", "--json"
    )
    assert status == 1
    assert list(answer["turns"].values()) == [1]
    assert list(answer["failed"]) == ["two"]
    status, answer, _ = run("annotate", "review", out, "--json")
    assert status == 0
    assert answer["pairs"] == 1
    assert Path(answer["page"]).is_file()


def test_construct(run, examples, tmp_path):
    words = ("construct", "manipulations", examples / "images", "--out", tmp_path / "made", "--count", 2, "--json")
    status, answer, err = run(*words)
    assert (status, answer["images"], answer["made"], answer["not_made"]) == (0, 2, 2, 0)
    assert run(*words)[1]["made"] == 0
    assert "2 images in" in err


def test_evaluate_prints_its_rows(run, examples):
    status, rows, err = run(
        "evaluate", "iclnet-mini", "--data", examples, "--preset", "iclnet", "--resamples", 0, "--json", "-"
    )
    assert status == 0
    assert {"protocol", "source", "metric", "value", "n", "reduction", "classes", "empty_rule", "threshold"} <= set(
        rows[0]
    )
    assert "model: iclnet-mini" in err
    assert "counts pooled" in err


def test_detect_prints_a_line_an_image_also_of_those_already_examined(examples, tmp_path, monkeypatch, capfd):
    (tmp_path / "broken.jpg").write_text("no image")
    photo = next((examples / "images").iterdir())
    words = ["detect", str(photo), str(tmp_path / "broken.jpg"), "--out", str(tmp_path / "out"), "--json"]
    monkeypatch.setattr(sys, "argv", ["forgescope", *words])
    for sentence in ("2 examined: ", "1 already examined"):
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capfd.readouterr()
        rows = [json.loads(line) for line in out.splitlines()]
        assert stopped.value.code == 1
        assert {Path(row["path"]).name: row["error"] is None for row in rows} == {
            photo.name: True,
            "broken.jpg": False,
        }
        assert sentence in err
        assert "report: " in err
    kept = [json.loads(line) for line in (tmp_path / "out" / "report.jsonl").read_text().splitlines()]
    assert [row["path"] for row in rows] == [row["path"] for row in kept]
    assert rows == kept
