import json
import sys

import pytest
from typer.testing import CliRunner

from forgescope import cli
from forgescope.cli.construct import app

runner = CliRunner()


@pytest.fixture
def call(photo_folder, tiny_pipeline_folder, tmp_path):
    def run(*arguments, photos=(photo_folder,), out=tmp_path / "out"):
        fixed = ["--out", out, "--model", tiny_pipeline_folder, "--max-side", 64, "--device", "cpu", "--steps", 1]
        return runner.invoke(app, ["inpainting", *map(str, (*photos, *fixed, *arguments))])

    return run


def rows_of(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]


def test_one_region_a_photograph(call, tmp_path):
    result = call("--batch-size", 4)
    assert result.exit_code == 0, result.output
    assert f"15 images in {tmp_path / 'out'} (15 made now)" in result.output
    rows = rows_of(tmp_path / "out")
    # of a folder the name alone, so that no place on this machine gets into the corpus
    assert {row["model"] for row in rows} == {None, "tiny-inpainting"}
    assert {row["source"] for row in rows} == {"inpainting"}
    assert "(0 made now)" in call("--batch-size", 4).output


def test_every_option(call, tmp_path):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a red car\na tree\n")
    result = call("--count", 8, "--seed", 5, "--prompts", prompts, "--unguided-fraction", 0.5, "--guidance-scale", 2,
                  "--mask-kinds", "brush, border", "--format", "jpeg", "--quality", 96, "--feather", 1.5,
                  "--no-authentic", "--dtype", "float32")  # fmt: skip
    assert result.exit_code == 0, result.output
    rows = rows_of(tmp_path / "out")
    drawn = [json.loads(row["parameters"]) for row in rows]
    assert len(rows) == 16
    assert {row["task"] for row in rows} == {"inpainting", "inpainting_blended"}
    assert {row["mask_type"] for row in rows} <= {"brush", "border", "ellipse"}
    assert {item["prompt"] for item in drawn} == {"", "a red car", "a tree"}
    assert {(item["format"], item["quality"], item["feather"]) for item in drawn} == {("jpeg", 96, 1.5)}
    settings = json.loads((tmp_path / "out" / "settings.json").read_text())
    assert settings["arguments"] == {"num_inference_steps": "1", "guidance_scale": "2.0"}


def test_bad_photographs_are_named_and_the_status_is_one(call, photo_folder, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_text("no photograph")
    result = call(photos=(photo_folder / "photo0.jpg", bad))
    assert result.exit_code == 1
    assert "3 images in" in result.output
    assert f"skipped {bad}: not an image" in result.output
    assert "not made: 3 images" in result.output


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (("--prompt", "a", "--prompts", "b"), ValueError, "give --prompt or --prompts, not both"),
        (("--prompts", "nowhere.txt"), FileNotFoundError, "nowhere.txt"),
        (("--mask-kinds", "star"), ValueError, "unknown entries ['star']"),
        (("--quality", 101), ValueError, "jpeg_quality must lie in 1..100"),
        (("--format", "gif"), ValueError, "image_format must be one of"),
        (("--max-side", 20), ValueError, "max_side must be at least 64"),
        (("--dtype", "float8"), ValueError, "unknown dtype 'float8'"),
        (("--count", 0), ValueError, "a count and a batch_size of at least 1"),
    ],
)
def test_wrong_usage(call, tmp_path, change, error, message):
    result = call(*change)
    assert isinstance(result.exception, error)
    assert message in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_the_program_prints_one_line_and_exits_with_two(photo_folder, tmp_path, monkeypatch, capsys):
    line = f"forgescope construct inpainting {photo_folder} --out {tmp_path / 'out'} --model {tmp_path / 'nowhere'}"
    monkeypatch.setattr(sys, "argv", line.split())
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("error: ")
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    assert capsys.readouterr().err == 'error: inpainting needs diffusers: pip install "forgescope[refine]"\n'
