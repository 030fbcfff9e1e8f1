import json
import os
import re
import signal
import subprocess
import sys

import pytest
from chat_server import ChatServer, Status
from mmfr_answers import answer_mmfr, lines, mmfr_image_folder, reply_to
from tiny_vision_language import tiny_llava
from typer.testing import CliRunner

from forgescope import cli
from forgescope.cli.construct import app
from forgescope.construction.mmfr_configuration import read_mmfr_configuration
from forgescope.construction.mmfr_interpretation import MMFRSettings
from forgescope.construction.vision_language import SERVER_WORKERS

# answers after which the killed run ends: some of its thirty images are done by then
LAST_ANSWER = 40
runner = CliRunner()


@pytest.fixture(autouse=True)
def online(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


@pytest.fixture(scope="module")
def pets(tmp_path_factory):
    return mmfr_image_folder(tmp_path_factory.mktemp("images"), 15, 15)


def arguments(server, images, out, *more) -> list[str]:
    parts = ("mmfr", images, "--out", out, "--model", "tiny", "--base-url", server.url, *more)
    return [str(part) for part in parts]


def test_a_killed_run_goes_on_and_ends_as_one_that_was_not(pets, tmp_path, digest):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    waits = tmp_path / "waits.yaml"
    waits.write_text("vlm: {model: tiny, first_wait: 0.01}")
    more = ("--settings", waits, "--plots")
    with ChatServer(answer_mmfr) as server:
        result = runner.invoke(app, arguments(server, pets, whole, *more, "--price-in", "2", "--price-out", "1000000"))
    assert result.exit_code == 0, result.output
    rows = lines(whole / "metadata.jsonl")
    statistics = json.loads((whole / "statistics.json").read_text())
    counts = statistics["images"]
    assert (
        f"{len(rows)} images in {whole} ({counts['real']} real, {counts['fake']} fake; 30 asked about now), "
        f"{sum(len(row['attributes']) for row in rows)} descriptions\n"
    ) in result.output
    for reason, count in statistics["rejected"].items():
        assert f"rejected: {count} x {reason} (see {whole / 'rejects.jsonl'})\n" in result.output
    assert f"dropped: {statistics['dropped_attributes']['Mood']} descriptions" in result.output
    used = statistics["vision_language"]
    cost = used["prompt_tokens"] * 2e-6 + used["completion_tokens"]
    assert (
        f"vision-language model: {used['calls']} calls, {used['prompt_tokens']} tokens asked, "
        f"{used['completion_tokens']} answered, cost {cost:.4f}\n"
    ) in result.output

    def answer_or_kill(request):
        if len(server.bodies) == LAST_ANSWER:
            os.kill(child.pid, signal.SIGKILL)
        return answer_mmfr(request)

    environment = {**os.environ, "HF_HUB_OFFLINE": "0", "OMP_NUM_THREADS": "1"}
    with ChatServer(answer_or_kill) as server:
        command = arguments(server, pets, killed, *more, "--workers", "3")
        child = subprocess.Popen(
            [sys.executable, "-m", "forgescope", "construct", *command],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        output, _ = child.communicate(timeout=120)
        assert child.returncode == -signal.SIGKILL, output.decode()[-2000:]
        assert b"%|" not in output, "a progress bar although the output is no terminal"
        done = (killed / "metadata.jsonl").read_text() + (killed / "rejects.jsonl").read_text()
        assert 0 < done.count("\n") < 30
        assert not (killed / "statistics.json").exists()
        result = runner.invoke(app, command)
    assert result.exit_code == 0, result.output
    assert f"; {30 - done.count(chr(10))} asked about now)" in result.output
    left = {name: value for name, value in digest(killed).items() if "/." not in f"/{name}"}
    assert left == digest(whole)


def test_failures_are_named_and_the_status_is_one(tmp_path):
    pets = mmfr_image_folder(tmp_path, 1, 1)
    bad = pets / "1_fake" / "bad.jpg"
    bad.write_text("no image")
    with ChatServer(lambda request: reply_to(request.prompt, 4)) as server:
        result = runner.invoke(app, arguments(server, pets, tmp_path / "a"))
    assert result.exit_code == 1
    assert f"failed: {bad}: not an image" in result.output
    assert "2 images in" in result.output
    (pets / "1_fake" / "bad.jpg").unlink()
    with ChatServer(lambda request: Status(401)) as server:
        result = runner.invoke(app, arguments(server, pets, tmp_path / "b", "--workers", "1"))
    assert result.exit_code == 1
    assert result.output.count("answers 401") == 2  # two images, so the run was not stopped early


def test_a_server_that_is_not_there(pets, tmp_path):
    with ChatServer(answer_mmfr) as server:
        pass
    config = tmp_path / "c.yaml"
    config.write_text("vlm: {model: tiny, retries: 0}")
    result = runner.invoke(app, arguments(server, pets, tmp_path / "out", "--settings", config, "--workers", "2"))
    assert result.exit_code == 1
    assert f"stopped: {server.url} does not answer as a chat server" in result.output
    assert "the same command goes on from here" in result.output
    assert (tmp_path / "out" / "metadata.jsonl").read_text() == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["EMPTY", "--model", "m"], "no photographs in .*empty: expected files"),
        (["nowhere", "--model", "m"], "nowhere does not exist"),
        (
            ["PLAIN", "--model", "m"],
            "1 of 1 images in .*plain have no label, the first is .*one.png: put them below 0_real and 1_fake",
        ),
        (["PETS"], "no vision-language model: name one by --model, or in the section vlm of --settings"),
        (["PETS", "--model", "m", "--workers", "2"], r"2 workers need a server \(base_url\)"),
        (["PETS", "--model", "m", "--settings", "CONFIG"], "unknown key settings.trise; did you mean settings.tries"),
        (["PETS", "--model", "m", "--base-url", "localhost"], "base_url must begin with http"),
        (["PETS", "--model", "m", "--base-url", "http://x", "--api-key-env", "NO_KEY"], "NO_KEY holds no key"),
    ],
)
def test_wrong_usage_exits_with_two(options, message, pets, tmp_path, monkeypatch, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "one.png").write_bytes((pets / "0_real" / "image0.png").read_bytes())
    (tmp_path / "c.yaml").write_text("settings: {trise: 1}")
    places = {"EMPTY": tmp_path / "empty", "PLAIN": tmp_path / "plain", "PETS": pets, "CONFIG": tmp_path / "c.yaml"}
    words = [str(places.get(option, option)) for option in options]
    monkeypatch.setattr(sys, "argv", ["forgescope", "construct", "mmfr", *words, "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert re.match(f"error: .*{message}", error), error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_table_one_label_links_and_the_papers_conclusion(pets, tmp_path):
    table = tmp_path / "images.csv"
    table.write_text(f"path,label,source\n{pets}/0_real/image0.png,real,cam\n{pets}/1_fake/image0.png,1,gan\n")
    with ChatServer(lambda request: reply_to(request.prompt, 4)) as server:
        words = arguments(server, table, tmp_path / "a", "--link", "--conclusion", "based_on_analysis")
        result = runner.invoke(app, words)
        assert result.exit_code == 0, result.output
        # the wording alone may change: texts are compiled anew, and nothing is asked
        first = (tmp_path / "a" / "forgery_reasoning_cot.json").read_text()
        asked = len(server.bodies)
        assert runner.invoke(app, words[:-2]).exit_code == 0
        assert len(server.bodies) == asked
        plain = tmp_path / "plain"
        plain.mkdir()
        (plain / "one.png").write_bytes((pets / "0_real" / "image0.png").read_bytes())
        assert runner.invoke(app, arguments(server, plain, tmp_path / "b", "--label", "fake")).exit_code == 0
    assert "<CONCLUSION> Based on the analysis above, this image is real. </CONCLUSION>" in first
    assert (
        first.replace("Based on the analysis above, this", "This")
        == (tmp_path / "a" / "forgery_reasoning_cot.json").read_text()
    )
    assert (tmp_path / "a" / "gan" / "1_fake" / "00000001.png").is_symlink()
    assert lines(tmp_path / "b" / "metadata.jsonl")[0]["file_name"] == "plain/1_fake/00000000.png"


def test_a_model_on_this_machine(pets, tmp_path):
    for part in tiny_llava():
        part.save_pretrained(tmp_path / "tiny")
    config = tmp_path / "c.yaml"
    config.write_text(f"vlm: {{model: {tmp_path / 'tiny'}, max_new_tokens: 3}}\nsettings: {{tries: 1}}")
    images = [str(pets / "0_real" / f"image{number}.png") for number in range(2)]
    result = runner.invoke(
        app, ["mmfr", *images, "--out", str(tmp_path / "out"), "--settings", str(config), "--device", "cpu"]
    )
    assert result.exit_code == 0, result.output
    assert "0 images in" in result.output
    assert "rejected: 2 x reply could not be used" in result.output
    assert "vision-language model: 2 calls, " in result.output
    # of local models the name alone, nothing of this machine
    settings = json.loads((tmp_path / "out" / "settings.json").read_text())
    assert settings["model"]["model"] == "tiny"


def test_options_change_the_file(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("vlm: {model: a, base_url: 'http://x/v1', temperature: 0.5}\nsettings: {tries: 2}")
    read = read_mmfr_configuration(file, {"model": "b"}, {"max_side": 99})
    assert (read.vlm.model, read.vlm.base_url, read.vlm.temperature) == ("b", "http://x/v1", 0.5)
    assert read.settings == MMFRSettings(tries=2, max_side=99)
    assert read.describe() == {
        "model": "b",
        "dtype": "auto",
        "temperature": 0.5,
        "seed": 0,
        "max_new_tokens": 512,
        "server": True,
    }
    assert (read.vlm.workers(), read.vlm.workers(3)) == (SERVER_WORKERS, 3)
    local = read_mmfr_configuration(None, {"model": "b"}, {})
    assert (local.vlm.workers(), local.vlm.workers(1)) == (1, 1)


def test_the_page_agrees_with_the_code(repository, tmp_path):
    page = (repository / "docs" / "construct_mmfr.md").read_text()
    file = tmp_path / "construct.yaml"
    file.write_text(re.search(r"```yaml\n(.*?)```", page, re.DOTALL)[1])
    assert read_mmfr_configuration(file, {}, {}).settings == MMFRSettings(max_side=1024)
