"""The command: exit statuses, files it leaves, resuming, formats, and one sentence for what is wrong."""

import csv
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from report_page import page_data
from transformers import ResNetConfig
from transformers.utils import logging as transformers_logging

from forgescope.analyze import Analyzer
from forgescope.cli import main
from forgescope.modeling.modeling_iclnet import ICLNetModel


@pytest.fixture
def folder(tmp_path, photos, monkeypatch):
    """Two folders that hold the same name, one photograph turned by EXIF, one of another size."""
    exif = Image.Exif()
    exif[0x0112] = 6
    for place, photo in (("a/x.png", photos[0]), ("b/x.png", photos[1]), ("b/y.png", photos[4])):
        (tmp_path / "photos" / place).parent.mkdir(parents=True, exist_ok=True)
        photo.save(tmp_path / "photos" / place)
    photos[2].save(tmp_path / "photos/turned.jpg", exif=exif)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def forgescope(monkeypatch, capsys, tiny_checkpoint):
    """Run the command line in this process; gives exit status, standard output and standard error."""

    def run(*arguments, model=tiny_checkpoint):
        options = [] if model is None else ["--model", str(model)]
        monkeypatch.setattr(sys, "argv", ["forgescope", "detect", *map(str, arguments), *options])
        with pytest.raises(SystemExit) as status:
            main()
        captured = capsys.readouterr()
        return status.value.code, captured.out, captured.err

    verbosity = transformers_logging.get_verbosity()
    yield run
    transformers_logging.set_verbosity(verbosity)
    transformers_logging.enable_progress_bar()


def rows_of(out):
    return [json.loads(line) for line in (out / "report.jsonl").read_text().splitlines()]


def test_a_folder_of_good_photographs(folder, forgescope, tiny_checkpoint):
    status, out, err = forgescope("photos", "--out", "out", "--device", "cpu")
    assert (status, err) == (0, "")
    rows = rows_of(folder / "out")
    assert [row["path"] for row in rows] == [
        "photos/turned.jpg",
        "photos/a/x.png",
        "photos/b/x.png",
        "photos/b/y.png",
    ]
    analyzer = Analyzer(tiny_checkpoint)
    for row in rows:
        report = analyzer.analyze(row["path"])
        assert (row["verdict"], row["error"], row["precision"]) == (report.verdict, None, "float32")
        assert row["score"] == pytest.approx(report.score, abs=1e-5)
        assert row["forged_fraction"] == pytest.approx(report.forged_fraction, abs=1e-5)
        assert row["model"] == str(tiny_checkpoint)
        mask = Image.open(row["mask"])
        assert (mask.format, mask.mode) == ("PNG", "L")
        assert np.mean(np.asarray(mask) == report.mask * 255) > 0.999
        assert Image.open(row["overlay"]).size == mask.size
    assert Image.open(rows[0]["mask"]).size == (100, 150)
    assert len({row["mask"] for row in rows}) == 4
    assert re.search(r"4 examined: \d forged, \d inconclusive, \d authentic, 0 failed\n", out)
    assert "report:   out/report.jsonl\nmasks:    out/masks/\noverlays: out/overlays/\n" in out


def test_bad_files_are_named_and_the_run_goes_on(folder, forgescope):
    (folder / "photos/a/empty.png").touch()
    (folder / "photos/b/text.jpg").write_text("hello")
    status, out, err = forgescope("photos", "missing.jpg", "--out", "out")
    assert status == 1
    assert err == (
        "failed: photos/a/empty.png: the file is empty (0 bytes)\n"
        "failed: photos/b/text.jpg: not an image: the content is of no known format (JPEG, PNG, WEBP, GIF, TIFF, BMP, "
        "AVIF, JPEG2000, PPM, ICO, QOI)\n"
        "failed: missing.jpg: no such file\n"
    )
    assert "7 examined" in out
    assert "3 failed" in out
    rows = {row["path"]: row for row in rows_of(folder / "out")}
    assert len(rows) == 7
    assert rows["missing.jpg"]["error"] == "missing.jpg: no such file"
    assert rows["missing.jpg"]["verdict"] is None
    assert rows["photos/b/y.png"]["error"] is None


def test_a_second_run_does_only_what_is_left(folder, forgescope, photos):
    (folder / "photos/a/bad.png").write_bytes(b"no image")
    assert forgescope("photos/a", "--out", "out")[0] == 1
    masks = folder / "out/masks"
    (before,) = (path.stat().st_mtime_ns for path in masks.iterdir())
    photos[5].save(folder / "photos/a/bad.png")
    status, out, _ = forgescope("photos", "--out", "out")
    assert status == 0
    assert "1 already examined (--overwrite examines them again)" in out
    assert "4 examined" in out
    assert sorted(row["path"] for row in rows_of(folder / "out")) == [
        "photos/a/bad.png",
        "photos/a/x.png",
        "photos/b/x.png",
        "photos/b/y.png",
        "photos/turned.jpg",
    ]
    assert min(path.stat().st_mtime_ns for path in masks.iterdir()) == before
    status, _, err = forgescope("photos", "--out", "out", "--threshold", "0.9")
    assert status == 2
    assert "holds results with rule" in err
    status, out, _ = forgescope("photos/b", "--out", "out", "--threshold", "0.9", "--overwrite", "--no-overlay")
    assert status == 0
    assert [row["overlay"] for row in rows_of(folder / "out")] == [None, None]
    assert forgescope("photos/b", "--out", "out", "--threshold", "0.9")[:2] == (
        0,
        "2 already examined (--overwrite examines them again)\n"
        "0 examined: 0 forged, 0 inconclusive, 0 authentic, 0 failed\n"
        "report:   out/report.jsonl\nmasks:    out/masks/\noverlays: out/overlays/\n",
    )


def test_results_inside_the_examined_folder_are_not_examined(folder, forgescope):
    for _ in range(2):
        assert forgescope("photos", "--out", "photos/out")[0] == 0
    assert len(rows_of(folder / "photos/out")) == 4


def test_a_table_and_a_page_beside_the_rows(folder, forgescope):
    (folder / "photos/b/bad.png").touch()
    status, out, _ = forgescope("photos/b", "--out", "out", "--format", "csv")
    assert status == 1
    assert "report:   out/report.csv\n" in out
    with open(folder / "out/report.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [(line["path"], bool(line["error"])) for line in lines] == [
        ("photos/b/bad.png", True),
        ("photos/b/x.png", False),
        ("photos/b/y.png", False),
    ]
    status, out, _ = forgescope("photos", "--out", "out", "--format", "html")
    assert "report:   out/report.html\n" in out
    # rows of both runs
    rows = page_data(folder / "out/report.html")["rows"]
    assert len(rows) == 5
    assert [row["thumbnail"][:23] for row in rows if row["thumbnail"]] == ["data:image/webp;base64,"] * 4


def test_options_reach_the_analyzer(folder, forgescope):
    options = ("--tile", "64", "--overlap", "16", "--dtype", "bfloat16", "--batch-size", "2", "--mask-threshold", "1")
    assert forgescope("photos/b", "photos/a/x.png", "--no-recursive", "--out", "out", *options)[0] == 0
    for row in rows_of(folder / "out"):
        assert (row["precision"], row["tile"], row["forged_fraction"]) == ("bfloat16", 64, 0)
        assert re.search(r"in \d+ tiles of 64 pixels that overlap by 16", row["notes"][-1])
    status, _, err = forgescope("photos/a", "--out", "small", "--max-pixels", "14999")
    assert status == 1
    assert "150 x 100 pixels exceeds the limit of 14999 pixels (decompression bomb?)" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing/*.jpg"], "error: no image found in nothing/*.jpg: expected image files, folders or patterns"),
        (["photos", "--model", "./nowhere"], "error: unknown checkpoint './nowhere': no such folder"),
        (["photos", "--model", "photos"], "error: folder 'photos' has no config.json"),
        (["photos", "--tile", "100"], "error: expected a tile size that is a positive multiple of 32, got 100"),
        (["photos", "--device", "nonsense"], "error: device 'nonsense' cannot be used"),
        (["photos", "--threshold", "7"], "error: expected forged_threshold between 0 and 1, got 7.0"),
        (["photos", "--batch-size", "0"], "error: expected a batch size of at least 1, got 0"),
        (["photos", "--format", "xml"], "xml"),
        ([], "Missing argument"),
    ],
)
def test_wrong_usage_is_one_sentence_and_status_2(folder, forgescope, tiny_checkpoint, arguments, message):
    status, _, err = forgescope(*arguments, model=None if "--model" in arguments else tiny_checkpoint)
    assert status == 2
    assert message in re.sub(r"[\s│]+", " ", err)
    assert "Traceback" not in err
    assert not (folder / "forgescope-report").exists()


def test_a_checkpoint_of_another_model_is_refused(folder, forgescope):
    ResNetConfig(hidden_sizes=[8], depths=[1]).save_pretrained(folder / "resnet")
    status, _, err = forgescope("photos", model=folder / "resnet")
    assert status == 2
    assert re.fullmatch(r"error: checkpoint '.*resnet' has model type 'resnet', which cannot be used here.*\n", err)


def test_a_checkpoint_without_head_is_refused_in_one_sentence(folder, forgescope, tiny_checkpoint):
    ICLNetModel.from_pretrained(tiny_checkpoint).save_pretrained(folder / "base")
    status, _, err = forgescope("photos", model=folder / "base")
    assert status == 2
    assert re.fullmatch(r"error: .* weights of ICLNetForForgerySegmentation .*\n", err.splitlines(keepends=True)[-1])


def test_a_report_that_cannot_be_written_is_one_sentence(folder, forgescope):
    (folder / "out").mkdir()
    (folder / "out/masks").write_text("in the way")
    status, _, err = forgescope("photos", "--out", "out")
    assert status == 1
    assert err.splitlines() == [
        f"error: cannot write {folder / 'out/masks'}: File exists",
        f"0 rows are kept in {folder / 'out/report.jsonl'}; run again to go on from there",
    ]


def test_a_full_disk_is_one_sentence_and_keeps_what_was_written(folder, forgescope, small_disk):
    for number in range(40):
        (folder / f"photos/a/{number}.png").symlink_to(folder / "photos/a/x.png")
    status, _, err = forgescope("photos/a", "--out", small_disk)
    assert status == 1
    rows = rows_of(small_disk)
    assert 1 < len(rows) < 40
    assert err.splitlines() == [
        f"error: cannot write {small_disk}: No space left on device",
        f"{len(rows)} rows are kept in {small_disk / 'report.jsonl'}; run again to go on from there",
    ]
    assert all(Image.open(row["mask"]).size == Image.open(row["overlay"]).size for row in rows)


def test_the_installed_command_runs_quietly_without_a_terminal(folder, tiny_checkpoint):
    command = [sys.executable, "-m", "forgescope", "detect", "photos/a", "--model", str(tiny_checkpoint)]
    run = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert (run.returncode, run.stderr) == (0, "")
    assert "report:   forgescope-report/report.jsonl" in run.stdout


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--tile", "512")], ids=["resized", "tiles"])
def test_a_photograph_of_50_megapixels_stays_under_2_gb(tmp_path, photos, tiny_checkpoint, options):
    photos[3].resize((8660, 5774)).save(tmp_path / "large.jpg", quality=92)
    script = (
        "import resource, sys\n"
        "from forgescope.cli import main\n"
        "try:\n    main()\n"
        "finally:\n    print('peak', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    arguments = [
        "detect",
        str(tmp_path / "large.jpg"),
        "--model",
        str(tiny_checkpoint),
        "--out",
        str(tmp_path / "out"),
    ]
    run = subprocess.run(
        [sys.executable, "-c", script, *arguments, "--format", "html", *options], capture_output=True, text=True
    )
    assert "1 examined" in run.stdout, run.stderr
    peak = int(re.search(r"peak (\d+)", run.stdout)[1]) * 1024
    assert peak < 2e9, f"{peak / 1e9:.2f} GB"
    assert Image.open(next((tmp_path / "out/masks").iterdir())).size == (8660, 5774)
