import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from forgescope.cli.construct import app
from forgescope.construction.manipulation_config import ManipulationConfig
from forgescope.construction.manipulation_settings import read_settings


def written(tmp_path, text):
    path = tmp_path / "settings.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_fields_replace_defaults(tmp_path):
    config = read_settings(written(tmp_path, "max_side: 128\nnoise: [1.0, 2.0]\ntask_weights: {authentic: 1.0}\n"))
    assert config == ManipulationConfig(max_side=128, noise=(1.0, 2.0), task_weights={"authentic": 1.0})


@pytest.mark.parametrize("name", ["clear_traces", "two_editors"])
def test_the_packaged_examples_are_valid(name):
    config = read_settings(Path(__file__).parents[2] / "examples" / f"{name}.yaml")
    assert config.image_format == "png"
    assert sum(config.task_weights.values()) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_syde: 3", "unknown key max_syde; did you mean max_side"),
        ("max_side: 3", "max_side must be at least 64"),
        ("- 1", "must hold `field: value` lines"),
        ("{a", "is no YAML file"),
    ],
)
def test_bad_files(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read_settings(written(tmp_path, text))


def test_a_folder_is_made_again_from_its_settings(tmp_path, photo_folder):
    def construct(out, *options):
        arguments = ["manipulations", str(photo_folder), "--out", str(out), "--count", "3", *options]
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
        return [(out / json.loads(line)["file_name"]).read_bytes() for line in (out / "metadata.jsonl").open()]

    first = construct(tmp_path / "a", "--max-side", "96", "--format", "png")
    again = construct(tmp_path / "b", "--settings", str(tmp_path / "a" / "settings.json"))
    assert first == again
    smaller = construct(tmp_path / "c", "--settings", str(tmp_path / "a" / "settings.json"), "--max-side", "64")
    assert smaller != first


def test_a_missing_file_is_one_sentence(tmp_path, photo_folder):
    arguments = ["manipulations", str(photo_folder), "--out", str(tmp_path / "o"), "--count", "1"]
    result = CliRunner().invoke(app, [*arguments, "--settings", str(tmp_path / "none.yaml")])
    assert result.exit_code != 0
    assert "none.yaml does not exist" in str(result.exception or result.output)
