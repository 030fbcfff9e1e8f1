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
from synthscars_tools import TINY_NETWORK, answer_curation, save_tiny_weights
from typer.testing import CliRunner

from forgescope import cli
from forgescope.cli.construct import app
from forgescope.construction.synthscars_configuration import read_configuration
from forgescope.construction.synthscars_features import FeatureSettings
from forgescope.construction.synthscars_settings import CurationSettings

SETTINGS = {"samples": 10, "clusters": 3}
# answers after which the killed run ends: a few of its images are judged by then
LAST_ANSWER = 9
runner = CliRunner()


@pytest.fixture(autouse=True)
def online(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


@pytest.fixture
def sources(photographs, tmp_path):
    """Two folders of six images."""
    for name, photos in (("RichHF", photographs[:6]), ("Chameleon", photographs[6:])):
        (tmp_path / name).mkdir()
        for photo in photos:
            shutil.copy(photo, tmp_path / name)
    return [tmp_path / "RichHF", tmp_path / "Chameleon"]


@pytest.fixture
def configure(tmp_path):
    """Write a configuration for a server; keyword arguments replace sections."""
    save_tiny_weights(tmp_path / "tiny.pth")

    def write(url: str, **sections):
        content = {
            "vlm": {"base_url": url, "model": "tiny", "timeout": 60, "first_wait": 0},
            "features": {"model": TINY_NETWORK, "weights": "tiny.pth", "batch_size": 4, "device": "cpu"},
            "settings": SETTINGS,
            **sections,
        }
        file = tmp_path / "curate.yaml"
        file.write_text(yaml.safe_dump({name: value for name, value in content.items() if value is not None}))
        return file

    return write


def command(sources, config, out, *more) -> list[str]:
    return ["synthscars", *map(str, sources), "--settings", str(config), "--out", str(out), *more]


def test_a_killed_run_goes_on_and_ends_as_one_that_was_not(sources, configure, tmp_path, digest):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    with ChatServer(answer_curation) as server:
        result = runner.invoke(app, command(sources, configure(server.url), whole, "--plots"))
    assert result.exit_code == 0, result.output
    counts = json.loads((whole / "statistics.json").read_text())
    assert f"{counts['kept']} images in {whole}, of 10 drawn and 12 given\n" in result.output
    assert "3 clusters, 10 images judged now\n" in result.output
    for label, count in counts["labels"].items():
        assert f"{label}: {count}\n" in result.output
    assert f"vision-language model: {counts['vision_language']['calls']} calls, " in result.output
    assert counts["sources"]["RichHF"]["images"] == counts["sources"]["Chameleon"]["images"] == 6
    assert "features:" not in result.output  # no bars where nobody watches

    def answer_or_kill(request):
        if len(server.bodies) == LAST_ANSWER:
            os.kill(child.pid, signal.SIGKILL)
        return answer_curation(request)

    with ChatServer(answer_or_kill) as server:
        arguments = command(sources, configure(server.url), killed, "--plots")
        child = subprocess.Popen(
            [sys.executable, "-m", "forgescope", "construct", *arguments, "--workers", "1"],
            env={**os.environ, "HF_HUB_OFFLINE": "0", "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        output, _ = child.communicate(timeout=300)
        assert child.returncode == -signal.SIGKILL, output.decode()[-2000:]
        logs = [file.read_text() for file in (killed / "metadata.jsonl", killed / "rejects.jsonl") if file.exists()]
        done = len("".join(logs).splitlines())
        assert 0 < done < 10
        assert not (killed / "statistics.json").exists()
        result = runner.invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert f"{10 - done} images judged now" in result.output
    left = {name: value for name, value in digest(killed).items() if "/." not in f"/{name}"}
    assert left == digest(whole)


def test_failures_are_named_and_the_status_is_one(photo_folder, configure, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_text("no photograph")
    photos = [photo_folder / "photo0.jpg", photo_folder / "photo1.jpg", bad]
    settings = {"samples": 2, "clusters": 1}
    with ChatServer(
        lambda request: '{"clarity": true, "safety": false, "realism": true, "reason": "blood"}'
    ) as server:
        config = configure(server.url, settings=settings)
        result = runner.invoke(app, command(photos, config, tmp_path / "a"))
    assert result.exit_code == 1
    assert "Rejected[Safety]: 2\nRejected[Realism]: 0\nimage cannot be read: 1\n" in result.output
    assert f"failed: {bad}: bad.jpg: not an image" in result.output
    with ChatServer(lambda request: Status(401)) as server:
        config = configure(server.url, settings={"samples": 5, "clusters": 1})
        result = runner.invoke(app, command([photo_folder], config, tmp_path / "b", "--workers", "1"))
    assert result.exit_code == 1
    assert len(server.bodies) == 3
    assert f"stopped: {server.url} answers 401" in result.output
    assert "the same command goes on from here" in result.output


@pytest.mark.parametrize(
    ("sections", "options", "message"),
    [
        ({"vlm": None}, [], "{config} needs the sections vlm"),
        ({"settings": None}, [], "{config} needs the sections settings"),
        ({"settings": {"clusters": 3}}, [], "{config}: section settings needs samples"),
        ({"settings": {**SETTINGS, "seeds": 1}}, [], "{config}: unknown key settings.seeds; did you mean "
                                                       "settings.seed?"),
        ({"features": {"weights": "no.pth"}}, [], "{config}: features.weights: {folder}/no.pth does not exist"),
        ({"settings": {"samples": 2, "clusters": 6}}, [], "clusters must be at most the 5 images, got 6"),
        ({"vlm": {"model": "tiny"}}, ["--workers", "2"], "2 workers need a server (base_url): "
                                                         "a model on this machine answers one by one"),
    ],
)  # fmt: skip
def test_wrong_usage_exits_with_two(
    sections, options, message, photo_folder, configure, tmp_path, monkeypatch, capsys
):
    config = configure("http://127.0.0.1:1/v1", **sections)
    monkeypatch.setattr(
        sys, "argv", ["forgescope", "construct", *command([photo_folder], config, tmp_path / "x", *options)]
    )
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    assert capsys.readouterr().err == f"error: {message.format(config=config, folder=tmp_path)}\n"
    assert not (tmp_path / "x").exists()


def test_the_page_agrees_with_the_code(repository, tmp_path):
    page = (repository / "docs" / "construct_synthscars.md").read_text()
    file = tmp_path / "curate.yaml"
    file.write_text(re.search(r"```yaml\n(.*?)```", page, re.DOTALL)[1])
    configuration = read_configuration(file)
    assert configuration.features == FeatureSettings()
    assert configuration.settings == CurationSettings(samples=20000)
    assert configuration.vlm.workers() == 8
    assert configuration.describe()["vlm"]["model"] == "Qwen/Qwen2-VL-72B-Instruct"


def test_the_extra_is_declared(repository):
    assert re.search(r'^curate = \["scikit-learn>=', (repository / "pyproject.toml").read_text(), re.MULTILINE)
