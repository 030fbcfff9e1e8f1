import json

import pytest
from typer.testing import CliRunner

from forgescope.cli.construct import app

runner = CliRunner()


def call(*arguments):
    return runner.invoke(app, ["manipulations", *map(str, arguments)])


def test_makes_only_the_wanted_kinds(photo_folder, tmp_path):
    result = call(photo_folder, "--out", tmp_path, "--count", 6, "--kinds", "copy_move, splicing", "--max-side", 128,
                  "--format", "png")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert f"6 images in {tmp_path} (6 made now)" in result.output
    rows = [json.loads(line) for line in (tmp_path / "metadata.jsonl").read_text().splitlines()]
    assert {row["task"] for row in rows} <= {"copy_move", "splicing"}
    assert all(row["file_name"].endswith(".png") for row in rows)
    again = call(photo_folder, "--out", tmp_path, "--count", 6, "--kinds", "copy_move, splicing", "--max-side", 128,
                 "--format", "png")  # fmt: skip
    assert "(0 made now)" in again.output


def test_authentic_fraction_one_makes_no_forgery(photo_folder, tmp_path):
    result = call(photo_folder, "--out", tmp_path, "--count", 3, "--authentic-fraction", 1, "--max-side", 128)
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in (tmp_path / "metadata.jsonl").read_text().splitlines()]
    assert [row["task"] for row in rows] == ["authentic"] * 3


def test_a_bad_photograph_is_named_and_the_status_is_one(photo_folder, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_text("no photograph")
    result = call(photo_folder, bad, "--out", tmp_path / "out", "--count", 6, "--max-side", 128)
    assert result.exit_code == 1
    assert "6 images in" in result.output
    assert f"skipped {bad}: not an image" in result.output


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (("--count", 0), ValueError, "count and num_proc must be at least 1"),
        (("--count", 2, "--kinds", "collage"), ValueError, "unknown kinds ['collage']"),
        (("--count", 2, "--format", "gif"), ValueError, "image_format must be one of"),
        (("--count", 2, "--authentic-fraction", 2), ValueError, "authentic_fraction must be 0..1"),
        (("--count", 2, "--kinds", "authentic", "--authentic-fraction", 0.5), ValueError, "needs a forged kind"),
    ],
)
def test_wrong_usage(photo_folder, tmp_path, change, error, message):
    result = call(photo_folder, "--out", tmp_path, *change)
    assert isinstance(result.exception, error)
    assert message in str(result.exception)
    assert not (tmp_path / "metadata.jsonl").exists()


def test_missing_and_empty_folders(tmp_path):
    missing = call(tmp_path / "nowhere", "--out", tmp_path / "out", "--count", 1)
    assert isinstance(missing.exception, FileNotFoundError)
    empty = call(tmp_path, "--out", tmp_path / "out", "--count", 1)
    assert "no photographs in" in str(empty.exception)
