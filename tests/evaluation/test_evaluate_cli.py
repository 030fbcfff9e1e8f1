import json
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from forgescope.cli import main
from forgescope.evaluation.counts import confusion_counts

ROW_KEYS = {
    "protocol",
    "source",
    "metric",
    "value",
    "n",
    "reduction",
    "classes",
    "empty_rule",
    "threshold",
    "paper_value",
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Eight images of two tasks with masks, four authentic ones without."""
    folder = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    (folder / "images").mkdir()
    (folder / "masks").mkdir()
    lines = []
    for index in range(12):
        name = f"{index:02d}.png"
        Image.fromarray(random.integers(0, 255, (70, 90, 3), dtype=np.uint8)).save(folder / "images" / name)
        task = ("splicing", "copy_move", "authentic")[index % 3]
        line = {"file_name": f"images/{name}", "label": 0, "task": task, "source": "noise", "id": name}
        line["mask_file_name"] = None
        if task != "authentic":
            mask = np.zeros((70, 90), np.uint8)
            mask[10:40, 20:60] = 255
            Image.fromarray(mask).save(folder / "masks" / name)
            line["mask_file_name"] = f"masks/{name}"
        lines.append(json.dumps(line))
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    return folder


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command line in this process: exit status, standard output, standard error."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["forgescope", "evaluate", *(str(word) for word in words)])
        with pytest.raises(SystemExit) as exit_:
            main()
        captured = capsys.readouterr()
        return exit_.value.code, captured.out, captured.err

    return call


def test_rows_equal_what_the_analyzer_finds(run, checkpoint, data, tmp_path):
    from forgescope.analyze import Analyzer

    status, out, _ = run(
        checkpoint,
        "--data",
        data,
        "--by",
        "task",
        "--json",
        tmp_path / "rows.json",
        "--markdown",
        tmp_path / "rows.md",
    )
    assert status == 0
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert all(row.keys() >= ROW_KEYS for row in rows)
    assert {row["source"] for row in rows} == {"splicing", "copy_move", "authentic", "all", "average"}
    f1 = []
    for mask_file in sorted((data / "masks").iterdir()):
        (values,) = Analyzer(checkpoint).probability_maps([Image.open(data / "images" / mask_file.name)])
        tp, fp, fn, _ = confusion_counts(values > 0.5, np.asarray(Image.open(mask_file)) > 0)[0].tolist()
        f1.append(2 * tp / (2 * tp + fp + fn))
    (row,) = (row for row in rows if row["source"] == "all" and row["metric"] == "pixel_f1")
    assert row["value"] == pytest.approx(np.mean(f1), abs=1e-4)
    assert (row["n"], row["reduction"], row["threshold"]) == (8, "image", 0.5)
    assert "precision: float32" in out
    assert "- precision: float32" in (tmp_path / "rows.md").read_text()


def test_preset_perturbations_and_chart(run, checkpoint, data, tmp_path):
    pytest.importorskip("matplotlib")
    words = ("--preset", "iclnet", "--perturb", "none,jpeg:80+crop:20", "--resamples", "0")
    written = ("--json", tmp_path / "rows.json", "--plot", tmp_path / "c.png", "--html", tmp_path / "page.html")
    status, out, _ = run(checkpoint, "--data", data, *words, *written)
    assert status == 0
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert {row["perturbation"] for row in rows} == {"none", "jpeg:80+crop:20"}
    assert {row["reduction"] for row in rows} == {"pooled"}
    assert {row["protocol"] for row in rows} == {"iclnet"}
    assert "after jpeg:80+crop:20" in out
    assert Image.open(tmp_path / "c.png").size[0] >= 900
    page = (tmp_path / "page.html").read_text()
    assert page.count('<img alt="Chart of the numbers below" src="data:image/svg+xml;base64,') == 1
    assert f"<li>model: {checkpoint}</li>" in page
    # a line a number, those that are not defined too
    assert page.split('<div id="all">')[1].count("<tr>") == 1 + len(rows)


def test_named_arguments_change_the_rule(run, checkpoint, data, tmp_path):
    words = ("--reduction", "batch", "--metric-batch-size", "4", "--average", "macro", "--authentic", "one")
    words += ("--polarity", "permute", "--threshold", "0.4", "--border-ignore", "5,3", "--resamples", "0")
    assert run(checkpoint, "--data", data, *words, "--json", tmp_path / "rows.json")[0] == 0
    (row,) = (
        row
        for row in json.loads((tmp_path / "rows.json").read_text())
        if row["source"] == "noise" and row["metric"] == "pixel_f1"
    )
    assert (row["reduction"], row["classes"], row["empty_rule"], row["threshold"]) == ("batch", "macro", "one", 0.4)
    assert (row["polarity"], row["border_ignore"], row["n"]) == ("permute", [5, 3], 12)


def test_calibration_is_written_into_the_checkpoint(run, checkpoint, data, tmp_path):
    copy = shutil.copytree(checkpoint, tmp_path / "copy")
    status, out, _ = run(copy, "--data", data, "--calibrate", "0.25", "--save", "--resamples", "0")
    assert status == 0
    before, after = (json.loads((folder / "config.json").read_text()) for folder in (checkpoint, copy))
    assert (after["false_alarm_rate"], after["calibration_images"]) == (0.25, 4)
    assert 0 < after["authentic_threshold"] <= after["forged_threshold"] < 1
    assert f"forged from a score of {after['forged_threshold']:.4f} (at most 0.25 of 4 authentic images" in out
    changed = {"false_alarm_rate", "calibration_images", "authentic_threshold", "forged_threshold"}
    assert {name: value for name, value in after.items() if name not in changed} == {
        name: value for name, value in before.items() if name not in changed
    }
    again = run(copy, "--data", data, "--json", tmp_path / "rows.json", "--resamples", "0")
    assert again[0] == 0
    (alarms,) = (
        row["value"]
        for row in json.loads((tmp_path / "rows.json").read_text())
        if row["metric"] == "image_false_alarm_rate" and row["source"] == "noise"
    )
    assert alarms <= 0.25


def test_bad_files_are_named_and_the_rest_is_scored(run, checkpoint, data, tmp_path):
    copy = shutil.copytree(data, tmp_path / "data")
    (copy / "images" / "00.png").write_bytes(b"")
    (copy / "masks" / "01.png").write_text("no mask")
    Image.new("L", (5, 5)).save(copy / "masks" / "03.png")
    values = np.full((70, 90), 9, np.uint8)
    values[0] = 0
    Image.fromarray(values).save(copy / "masks" / "04.png")
    status, _, err = run(checkpoint, "--data", copy, "--json", tmp_path / "rows.json", "--resamples", "0")
    assert status == 1
    named = [line for line in err.splitlines() if line.startswith("skipped ")]
    assert [next(name for name in ("00", "01", "03", "04") if name in line) for line in named] == [
        "00",
        "01",
        "03",
        "04",
    ]
    assert "the mask must be (height, width) = (70, 90) like its image, got (5, 5)" in named[2]
    assert "the mask must hold 0 and 1, or 0 and 255, got [0, 9]" in named[3]
    (row,) = (
        row
        for row in json.loads((tmp_path / "rows.json").read_text())
        if row["metric"] == "image_accuracy" and row["source"] == "noise"
    )
    assert row["n"] == 8


def test_a_folder_pair_without_metadata(run, checkpoint, data, tmp_path):
    shutil.copytree(
        data / "images", tmp_path / "set" / "Tp", ignore=shutil.ignore_patterns("02*", "05*", "08*", "11*")
    )
    shutil.copytree(data / "masks", tmp_path / "set" / "Gt")
    (tmp_path / "set" / "Au").mkdir()
    shutil.copy(data / "images" / "02.png", tmp_path / "set" / "Au")
    assert run(checkpoint, "--data", tmp_path / "set", "--json", tmp_path / "rows.json", "--resamples", "0")[0] == 0
    found = {row["metric"]: row["n"] for row in json.loads((tmp_path / "rows.json").read_text())}
    assert (found["pixel_f1"], found["image_accuracy"]) == (8, 9)
    (tmp_path / "set" / "Gt" / "00.png").unlink()
    status, _, err = run(checkpoint, "--data", tmp_path / "set")
    assert (status, "00.png has no mask in" in err) == (2, True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--preset", "benco"], "preset must be one of iclnet, imdlbenco"),
        (["--reduction", "median"], "reduction must be one of image, batch, pooled"),
        (["--threshold", "half"], "--threshold must be a number from 0 to 1, or best"),
        (["--border-ignore", "15"], "--border-ignore must be two odd widths such as 15,11"),
        (["--perturb", "blur:2"], "blur must have an odd kernel of at least 1 pixel, got 2"),
        (["--save"], "--save needs --calibrate RATE"),
        (["--calibrate", "0.5", "--perturb", "jpeg:80"], "--calibrate needs untouched images"),
        (["--calibrate", "0.01"], "needs at least 100 authentic images, got 4"),
        (["--by", "colour"], "expected --by source or task"),
        (["--split", "holdout"], "unknown split 'holdout'"),
    ],
)
def test_wrong_usage_is_one_line(run, checkpoint, data, words, message):
    status, _, err = run(checkpoint, "--data", data, "--resamples", "0", *words)
    assert status == 2
    assert message in err


def test_missing_data_and_unknown_checkpoint(run, checkpoint, data, tmp_path):
    status, _, err = run(checkpoint, "--data", tmp_path / "absent")
    assert (status, "is not a folder" in err) == (2, True)
    status, _, err = run(tmp_path / "absent", "--data", data)
    assert status == 2
    assert str(tmp_path / "absent") in err
