"""The results folder: whole files, a journal that survives a crash and a full disk, names that never clash."""

import csv
import json
import os

import numpy as np
import pytest
from PIL import Image

from forgescope.decision import DecisionRule
from forgescope.journal import write_whole
from forgescope.report import ForgeryReport, find_regions
from forgescope.results import ResultsFolder, picture_name, probability_picture

SETTINGS = {"model": "tiny", "precision": "float32", "rule": DecisionRule().describe(), "tile": None}


def report_for(path, edge=40):
    probabilities = np.zeros((edge, edge + 10), np.float32)
    probabilities[5:20, 5:20] = 0.875
    mask = (probabilities > 0.5).astype(np.uint8)
    return ForgeryReport(
        verdict="forged",
        score=0.875,
        mask=mask,
        regions=find_regions(mask, probabilities),
        attribution=None,
        explanation=None,
        model="tiny",
        forged_fraction=float(mask.mean()),
        probability_map=probabilities,
        rule=DecisionRule(),
        notes=["One.", "Two."],
        precision="float32",
        path=str(path),
        image=Image.fromarray(np.random.default_rng(0).integers(0, 256, (edge, edge + 10, 3), dtype=np.uint8)),
    )


def test_a_row_has_the_fields_of_the_design(tmp_path):
    results = ResultsFolder(tmp_path / "out", SETTINGS)
    results.add(report_for("photos/a.jpg"))
    results.add_failure("photos/b.jpg", "photos/b.jpg: no such file")
    good, bad = (json.loads(line) for line in (tmp_path / "out/report.jsonl").read_text().splitlines())
    assert {"path", "verdict", "score", "forged_fraction", "mask", "overlay", "model", "error"} <= set(good)
    assert (good["path"], good["verdict"], good["score"], good["error"]) == ("photos/a.jpg", "forged", 0.875, None)
    assert good["forged_fraction"] == pytest.approx(225 / 2000)
    assert good["notes"] == ["One.", "Two."]
    mask = np.asarray(Image.open(good["mask"]))
    assert mask.shape == (40, 50)
    assert np.unique(mask).tolist() == [0, 255]
    assert Image.open(good["overlay"]).size == (50, 40)
    probabilities = np.asarray(Image.open(good["probability_map"]), dtype=float) / 255
    assert probabilities.shape == (40, 50)
    assert np.abs(probabilities - report_for("photos/a.jpg").probability_map).mean() < 0.01
    assert good["thresholds"] == {"authentic": 0.5, "forged": 0.5}
    assert bad["error"] == "photos/b.jpg: no such file"
    assert [bad[key] for key in ("verdict", "score", "forged_fraction", "mask", "probability_map")] == [None] * 5
    assert bad["model"] == "tiny"
    names = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*"))
    assert names == [
        f"masks/{picture_name('photos/a.jpg')}.png",
        f"overlays/{picture_name('photos/a.jpg')}.jpg",
        f"probability_maps/{picture_name('photos/a.jpg')}.jpg",
        "report.jsonl",
    ]


def test_ai_made_pixels_have_a_mask_of_their_own(tmp_path):
    results = ResultsFolder(tmp_path, SETTINGS)
    report = report_for("photos/a.jpg")
    report.ai_mask, report.ai_fraction = np.ones_like(report.mask), 1.0
    plain = results.add(report_for("photos/b.jpg"))
    assert (plain["ai_mask"], plain["ai_fraction"]) == (None, None)
    assert not (tmp_path / "ai_masks").exists()
    row = results.add(report)
    assert row["ai_fraction"] == 1
    assert row["ai_mask"] == str(tmp_path / "ai_masks" / f"{picture_name('photos/a.jpg')}.png")
    assert np.asarray(Image.open(row["ai_mask"])).min() == 255
    assert np.asarray(Image.open(row["mask"])).min() == 0
    failed = results.add_failure("c.jpg", "no such file")
    assert (failed["ai_mask"], failed["ai_fraction"]) == (None, None)


def test_pictures_of_probability_maps_are_reduced():
    values = np.linspace(0, 1, 2000 * 3000, dtype=np.float32).reshape(2000, 3000)
    picture = probability_picture(values)
    assert (picture.mode, picture.size) == ("L", (1024, 683))
    assert np.abs(np.asarray(picture) / 255 - np.linspace(0, 1, 683)[:, None]).max() < 0.005
    assert probability_picture(np.full((1, 4000), 0.5, np.float32)).size == (1024, 1)
    assert np.asarray(probability_picture(np.array([[0, 0.5, 1]]))).tolist() == [[0, 128, 255]]


def test_same_names_in_two_folders_do_not_clash(tmp_path):
    results = ResultsFolder(tmp_path, SETTINGS)
    rows = [results.add(report_for(path), with_overlay=False) for path in ("a/x.jpg", "b/x.jpg", "b/x.png")]
    assert len({row["mask"] for row in rows}) == 3
    assert [row["overlay"] for row in rows] == [row["probability_map"] for row in rows] == [None] * 3
    name = picture_name("a/" + "long" * 60 + "?*.jpg")
    assert len(name) == 80 + 1 + 10
    assert picture_name("a/ä b?.jpg").startswith("ä_b_-")


def test_a_later_run_knows_what_is_done_and_tries_failures_again(tmp_path):
    first = ResultsFolder(tmp_path, SETTINGS)
    first.add(report_for("a.jpg"))
    first.add_failure("b.jpg", "b.jpg: no such file")
    second = ResultsFolder(tmp_path, SETTINGS)
    assert second.done("a.jpg")
    assert second.done(os.path.abspath("a.jpg"))
    assert not second.done("b.jpg")
    assert len((tmp_path / "report.jsonl").read_text().splitlines()) == 1
    assert ResultsFolder(tmp_path, SETTINGS, overwrite=True).rows == {}
    assert not (tmp_path / "report.jsonl").exists()


def test_a_line_cut_off_by_a_crash_is_dropped(tmp_path):
    ResultsFolder(tmp_path, SETTINGS).add(report_for("a.jpg"))
    whole = (tmp_path / "report.jsonl").read_bytes()
    (tmp_path / "report.jsonl").write_bytes(whole + whole[:50])
    results = ResultsFolder(tmp_path, SETTINGS)
    assert list(results.rows) == [os.path.abspath("a.jpg")]
    assert (tmp_path / "report.jsonl").read_bytes() == whole
    (tmp_path / "report.jsonl").write_bytes(b"no row\n" + whole)
    with pytest.raises(ValueError, match=r"line 1 of .*report.jsonl is no row of a report: choose another --out"):
        ResultsFolder(tmp_path, SETTINGS)


def test_results_of_other_settings_are_not_mixed(tmp_path):
    ResultsFolder(tmp_path, SETTINGS).add(report_for("a.jpg"))
    with pytest.raises(
        ValueError, match="holds results with model 'tiny', this run has 'large': choose another --out"
    ):
        ResultsFolder(tmp_path, SETTINGS | {"model": "large"})
    with pytest.raises(ValueError, match="holds results with tile None, this run has 512"):
        ResultsFolder(tmp_path, SETTINGS | {"tile": 512})


def test_results_of_an_ensemble_with_other_thresholds_are_not_mixed(tmp_path):
    """The rule of an ensemble is the same for all: what its checkpoints are asked with counts too."""
    settings = SETTINGS | {"checkpoints": [SETTINGS, SETTINGS]}
    ResultsFolder(tmp_path, settings).add(report_for("a.jpg"))
    ResultsFolder(tmp_path, settings)
    with pytest.raises(ValueError, match="holds results with checkpoints .*: choose another --out, or --overwrite"):
        ResultsFolder(tmp_path, settings | {"checkpoints": [SETTINGS, SETTINGS | {"rule": "forged from 0.9"}]})


def test_the_table_has_a_line_for_each_photograph(tmp_path):
    results = ResultsFolder(tmp_path, SETTINGS)
    results.add(report_for('a, "quoted".jpg'))
    results.add_failure("b.jpg", "b.jpg: no such file")
    with open(results.write_csv(), newline="", encoding="utf-8") as file:
        good, bad = csv.DictReader(file)
    assert (good["path"], good["verdict"], good["score"]) == ('a, "quoted".jpg', "forged", "0.875")
    assert (good["region_count"], good["notes"], good["error"]) == ("1", "One. Two.", "")
    assert (bad["path"], bad["verdict"], bad["error"]) == ("b.jpg", "", "b.jpg: no such file")


def test_file_names_of_any_bytes_survive_the_journal(tmp_path):
    path = os.fsdecode(b"caf\xe9.jpg")
    results = ResultsFolder(tmp_path, SETTINGS)
    results.add(report_for(path))
    results.write_csv()
    (tmp_path / "report.jsonl").read_text(encoding="utf-8")
    assert ResultsFolder(tmp_path, SETTINGS).done(path)


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    target = tmp_path / "a.txt"
    write_whole(target, b"old")
    (tmp_path / ".a.txt.partial").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_whole(target, b"new")
    assert target.read_bytes() == b"old"


def fill(write):
    for number in range(10_000):
        write(number)


def test_a_full_disk_leaves_the_earlier_rows_whole(small_disk):
    results = ResultsFolder(small_disk / "out", SETTINGS)
    results.add(report_for("a.jpg"))
    whole = results.journal.read_bytes()
    with pytest.raises(OSError, match="No space left on device"):
        fill(lambda number: results.add(report_for(f"{number}.jpg", edge=300)))
    rows = [json.loads(line) for line in results.journal.read_text().splitlines()]
    assert results.journal.read_bytes().startswith(whole)
    assert all(Image.open(row["overlay"]).size == Image.open(row["mask"]).size for row in rows)
    assert not list(small_disk.rglob("*.partial"))
    # now fill the last byte, so that the journal itself cannot grow
    with open(small_disk / "filler", "wb", buffering=0) as filler, pytest.raises(OSError, match="No space left"):
        fill(lambda _: filler.write(bytes(512)))
    before = results.journal.read_bytes()
    with pytest.raises(OSError, match="No space left on device"):
        fill(lambda number: results.add_failure(f"missing-{number}.jpg", "no such file " * 40))
    kept = results.journal.read_bytes()
    assert kept.startswith(before)
    assert kept.endswith(b"\n")
    (small_disk / "filler").unlink()
    assert ResultsFolder(small_disk / "out", SETTINGS).done("a.jpg")
