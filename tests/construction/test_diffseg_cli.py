import json
import os
import re
import shutil
import signal
import subprocess
import sys

import pytest
import yaml
from chat_server import ChatServer, Status
from diffseg_tools import answer_diffseg
from tiny_diffusion import tiny_inpainting_pipeline
from tiny_grounding import tiny_grounding_dino, tiny_sam
from typer.testing import CliRunner

from forgescope import cli
from forgescope.cli.construct import app
from forgescope.construction.diffseg.configuration import read_configuration
from forgescope.construction.diffseg.editor_table import EDITORS
from forgescope.construction.diffseg.settings import EditSettings

SIZE = 64
# answers after which the killed run ends: a few of its twelve photographs are done by then
LAST_ANSWER = 30
runner = CliRunner()


@pytest.fixture(autouse=True)
def online(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for name, parts in (("dino", tiny_grounding_dino()), ("sam", tiny_sam())):
        for part in parts:
            part.save_pretrained(folder / name)
    for seed in range(2):
        tiny_inpainting_pipeline(seed).save_pretrained(folder / f"editor{seed}")
    return folder


@pytest.fixture
def configure(models, tmp_path):
    """Write a configuration for a server; keyword arguments replace sections."""

    def write(url: str, **sections):
        steps = {"num_inference_steps": 1}
        content = {
            "vlm": {"base_url": url, "model": "tiny", "timeout": 60, "first_wait": 0},
            "grounding": {"model": str(models / "dino"), "box_threshold": 0, "device": "cpu"},
            "sam": {"model": str(models / "sam"), "device": "cpu"},
            "editors": [
                {"name": "sd2", "model": str(models / "editor0"), "arguments": steps, "device": "cpu"},
                {"name": "glide", "model": str(models / "editor1"), "size": 32, "arguments": steps, "device": "cpu"},
            ],
            "settings": {"image_size": SIZE, "min_area": 0.02, "max_area": 0.9, "seed": 4},
            **sections,
        }
        file = tmp_path / "construct.yaml"
        file.write_text(yaml.safe_dump({name: value for name, value in content.items() if value is not None}))
        return file

    return write


def arguments(photographs, config, out) -> list[str]:
    real, generated = photographs[::2], photographs[1::2]
    extra = [part for photo in generated for part in ("--ai-images", photo)]
    return [str(part) for part in ("diffseg", *real, *extra, "--settings", config, "--out", out)]


def records(folder, name) -> list[dict]:
    """Lines of a file; none where nothing was written to it yet."""
    file = folder / name
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def files_of(folder, digest) -> dict[str, str]:
    """Hashes of files, without those that a killed process had not finished."""
    return {name: value for name, value in digest(folder).items() if "/." not in f"/{name}"}


def test_a_killed_run_goes_on_and_ends_as_one_that_was_not(photographs, configure, tmp_path, digest):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    with ChatServer(answer_diffseg) as server:
        result = runner.invoke(app, arguments(photographs, configure(server.url), whole))
    assert result.exit_code == 0, result.output
    rows = records(whole, "metadata.jsonl")
    assert f"{len(rows)} edited images in {whole} (12 photographs looked at now)" in result.output
    assert "rejected: " in result.output
    calls = json.loads((whole / "statistics.json").read_text())["vision_language"]["calls"]
    assert f"vision-language model: {calls} calls, " in result.output
    assert {row["base"] for row in (*rows, *records(whole, "rejects.jsonl"))} == {"real", "ai"}

    def answer_or_kill(request):
        if len(server.bodies) == LAST_ANSWER:
            os.kill(child.pid, signal.SIGKILL)
        return answer_diffseg(request)

    environment = {**os.environ, "HF_HUB_OFFLINE": "0", "OMP_NUM_THREADS": "1"}
    with ChatServer(answer_or_kill) as server:
        command = arguments(photographs, configure(server.url), killed)
        child = subprocess.Popen(
            [sys.executable, "-m", "forgescope", "construct", *command],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        output, _ = child.communicate(timeout=300)
        assert child.returncode == -signal.SIGKILL, output.decode()[-2000:]
        done = records(killed, "metadata.jsonl") + records(killed, "rejects.jsonl")
        assert 0 < len(done) < 12
        assert not (killed / "statistics.json").exists()
        result = runner.invoke(app, command)
    assert result.exit_code == 0, result.output
    assert f"({12 - len(done)} photographs looked at now)" in result.output
    assert files_of(killed, digest) == files_of(whole, digest)


def test_failures_are_named_and_the_status_is_one(photo_folder, configure, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_text("no photograph")
    photos = [photo_folder / "photo0.jpg", bad]
    with ChatServer(lambda request: '{"objects": []}') as server:
        config = configure(server.url)
        result = runner.invoke(
            app, ["diffseg", *map(str, photos), "--settings", str(config), "--out", str(tmp_path / "a")]
        )
    assert result.exit_code == 1
    assert "rejected: 1 x no object was named" in result.output
    assert f"failed: {bad}" in result.output
    with ChatServer(lambda request: Status(401)) as server:
        config = configure(server.url)
        command = ["diffseg", str(photo_folder), "--settings", str(config), "--out", str(tmp_path / "b")]
        result = runner.invoke(app, command)
    assert result.exit_code == 1
    assert len(server.bodies) == 3
    assert f"stopped: {server.url} answers 401" in result.output
    assert "the same command goes on from here" in result.output


def test_wrong_usage_exits_with_two(photo_folder, configure, tmp_path, monkeypatch, capsys):
    config = configure("http://127.0.0.1:1/v1", settings={"image_sise": 64})
    monkeypatch.setattr(
        sys, "argv", ["forgescope", "construct", "diffseg", str(photo_folder), "--settings", str(config), "--out", "x"]
    )
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    error = f"error: {config}: unknown key settings.image_sise; did you mean settings.image_size?\n"
    assert capsys.readouterr().err == error


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"vlm": None}, "needs the sections vlm"),
        ({"editors": []}, "needs the sections editors"),
        ({"editors": [{"name": "sd2"}, {"name": "sd2"}]}, "editor sd2 stands there twice"),
        ({"editors": [{"name": "sd1"}]}, "editor sd1 is none of id2editor: sd2, kolors"),
        ({"vlm": {"modle": "x"}}, "unknown key vlm.modle; did you mean vlm.model"),
        ({"quality_examples": [{"image": "a.png", "score": 9, "reason": "x"}]}, "score must be 0 to 5, got 9"),
    ],
)
def test_configurations_that_are_refused(configure, sections, message):
    with pytest.raises(ValueError, match=message):
        read_configuration(configure("http://127.0.0.1:1/v1", **sections))


def test_the_page_agrees_with_the_code(repository, tmp_path):
    page = (repository / "docs" / "construct_diffseg.md").read_text()
    file = tmp_path / "construct.yaml"
    file.write_text(re.search(r"```yaml\n(.*?)```", page, re.DOTALL)[1])
    configuration = read_configuration(file)
    assert [editor.name for editor in configuration.editors] == ["sd2", "sdxl", "sd3.5-medium", "glide"]
    assert configuration.settings == EditSettings()
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    table = {row.split("|")[1].strip(" `"): row for row in rows}
    for editor in EDITORS:
        assert f"| {editor.pipeline or 'none'} | {editor.model or 'none'} |" in table[editor.name]


def test_what_a_configuration_says(configure, photo_folder, tmp_path, models):
    shutil.copy(photo_folder / "photo0.jpg", tmp_path / "example.jpg")
    examples = [{"image": "example.jpg", "score": 1, "reason": "torn"}]
    configuration = read_configuration(configure("http://127.0.0.1:1/v1", quality_examples=examples))
    assert configuration.settings == EditSettings(image_size=64, min_area=0.02, max_area=0.9, seed=4)
    tools = configuration.load_tools()
    assert [(image.size, score, reason) for image, score, reason in tools.examples] == [((320, 240), 1, "torn")]
    assert list(tools.editors) == ["sd2", "glide"]
    assert (tools.editors["glide"].size, tools.find_regions.box_threshold) == (32, 0)
    description = json.dumps(configuration.describe())
    # of local models the names alone, nothing of this machine
    assert str(models) not in description
    assert "127.0.0.1" not in description
    assert configuration.describe()["editors"]["sd2"]["model"] == "editor0"
