import csv
import json
import re
import sys

import numpy as np
import pytest
from bright_regions import bright_regions, noisy_photo
from chat_server import ChatServer, Status
from PIL import Image
from typer.testing import CliRunner

from forgescope import cli

runner = CliRunner()


@pytest.fixture(scope="session")
def pipelines(inpainting_pipeline, text_to_image_pipeline, tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("pipelines")
    inpainting_pipeline.save_pretrained(folder / "inpaint")
    text_to_image_pipeline.save_pretrained(folder / "generate")
    return {"inpaint": folder / "inpaint", "regenerate": folder / "generate"}


def write_inputs(folder, image: Image.Image):
    """An image and the file of its artifacts."""
    image.save(folder / "photo.png")
    entries = []
    for place, artifact in enumerate(bright_regions(image)):
        Image.fromarray(artifact.mask * np.uint8(255)).save(folder / f"{place}.png")
        texts = {"phrase": artifact.phrase, "explanation": artifact.explanation}
        entries.append({**texts, "mask": f"{place}.png", "score": artifact.score})
    (folder / "artifacts.json").write_text(json.dumps({"artifacts": entries}))


@pytest.fixture
def call(tmp_path, pipelines):
    write_inputs(tmp_path, noisy_photo(97, 61))

    def run(mode, *arguments, source=("--artifacts", "artifacts.json")):
        fixed = [tmp_path / "photo.png", "--mode", mode, "--out", tmp_path / "out", "--pipeline", pipelines[mode]]
        source = [tmp_path / part if part.endswith(".json") else part for part in source]
        given = [*fixed, *source, "--steps", 2, "--device", "cpu", *arguments]
        return runner.invoke(cli.app, ["refine", *map(str, given)])

    return run


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with ChatServer(lambda request: f"<prompt>a wall, {len(request.images)} images seen</prompt>") as server:
        yield server


def pixels(path) -> np.ndarray:
    return np.asarray(Image.open(path)).astype(int)


def test_inpaint(call, tmp_path):
    result = call("inpaint", "--prompt", "a wall", "--strength", 1)
    assert result.exit_code == 0, result.output
    out = tmp_path / "out"
    assert result.stdout.splitlines() == [
        "step 0: 2 artifacts",
        "step 1: not examined",
        "stopped: rounds",
        f"refined: {out / 'refined.png'}",
        f"steps:   {out / 'strip.png'}",
    ]
    before, after = pixels(tmp_path / "photo.png"), pixels(out / "refined.png")
    masks = sum(pixels(tmp_path / f"{place}.png") for place in (0, 1)) > 0
    assert (after != before)[masks].any()
    rows, columns = np.nonzero(masks)
    # the published dilation reaches 10 pixels farther
    far = np.ones_like(masks)
    for row, column in zip(rows, columns, strict=True):
        far[max(0, row - 10) : row + 11, max(0, column - 10) : column + 11] = False
    assert far.any()
    assert np.array_equal(after[far], before[far])
    settings = json.loads((out / "settings.json").read_text())
    expected = {"mode": "inpaint", "seed": 42, "size": 64, "context": None, "pipeline": "inpaint", "prompt": "a wall"}
    assert {key: settings[key] for key in expected} == expected
    assert settings["arguments"] == {"num_inference_steps": 2, "strength": 1.0}
    assert json.loads((out / "result.json").read_text())["artifacts"] == [2, None]
    edits = json.loads((out / "steps" / "001.json").read_text())["edits"]
    assert [edit["prompt"] for edit in edits] == [
        f"bright part in a wall, natural and realistic, without this flaw: part {place} is overexposed"
        for place in (0, 1)
    ]
    assert str(tmp_path) not in (out / "settings.json").read_text()


def test_the_same_call_again_makes_nothing(call, tmp_path):
    assert call("inpaint").exit_code == 0
    stamp = (tmp_path / "out" / "steps" / "001.png").stat().st_mtime_ns
    assert call("inpaint").exit_code == 0
    assert (tmp_path / "out" / "steps" / "001.png").stat().st_mtime_ns == stamp
    refused = call("inpaint", "--seed", 1)
    assert "was begun with other seed" in str(refused.exception)


def test_size_and_context(call, tmp_path):
    assert call("inpaint", "--size", 32, "--context", 0.5, "--guidance-scale", 2, "--offload").exit_code in (0, 1)
    settings = json.loads((tmp_path / "out" / "settings.json").read_text())
    assert (settings["size"], settings["context"], settings["arguments"]["guidance_scale"]) == (32, 0.5, 2.0)


def test_an_image_without_artifacts_comes_back_as_it_is(call, tmp_path):
    (tmp_path / "artifacts.json").write_text('{"artifacts": []}')
    result = call("inpaint")
    assert result.exit_code == 0
    assert "stopped: clean" in result.output
    assert np.array_equal(pixels(tmp_path / "out" / "refined.png"), pixels(tmp_path / "photo.png"))


def test_regenerate(call, server, tmp_path):
    result = call("regenerate", "--reviser", "tiny", "--reviser-url", server.url, "--show-images")
    assert result.exit_code == 0, result.output
    steps = [json.loads((tmp_path / "out" / "steps" / f"00{number}.json").read_text()) for number in (0, 1)]
    # the image is described first, then the prompt revised
    assert [step["prompt"] for step in steps] == ["a wall, 1 images seen"] * 2
    assert len(server.bodies) == 2
    assert Image.open(tmp_path / "out" / "refined.png").size == (64, 64)
    again = call("regenerate", "--reviser", "tiny", "--reviser-url", server.url, "--show-images")
    assert again.exit_code == 0, again.output
    assert len(server.bodies) == 2


def test_a_server_that_fails_keeps_what_was_made(call, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with ChatServer(lambda request: Status(401)) as server:
        result = call("regenerate", "--reviser", "tiny", "--reviser-url", server.url, "--prompt", "a wall")
    assert result.exit_code == 1
    assert "answers 401" in result.output
    assert f"1 steps are kept in {tmp_path / 'out'}; run again to go on from there" in result.output


@pytest.mark.parametrize(
    ("mode", "arguments", "message"),
    [
        ("inpaint", ["--model", "a"], "give --model or --artifacts: one of them"),
        ("inpaint", ["--rounds", 2], "more --rounds need --model"),
        ("inpaint", ["--reviser", "a", "--from-prompt"], "--mode inpaint takes no --reviser, --from-prompt"),
        ("inpaint", ["--dtype", "float8"], "unknown dtype 'float8'"),
        ("inpaint", ["--strength", 3], "no region could be inpainted"),
        ("regenerate", [], "--mode regenerate needs --reviser"),
        ("regenerate", ["--reviser", "a", "--strength", 0.5, "--context", 1], "takes no --strength, --context"),
        ("regenerate", ["--reviser", "a", "--reviser-url", "b"], "base_url must begin with http"),
        ("regenerate", ["--reviser", "a", "--from-prompt"], "--artifacts are those of IMAGE"),
    ],
)
def test_wrong_usage(call, mode, arguments, message):
    result = call(mode, *arguments)
    assert result.exit_code == 1
    assert message in f"{result.exception} {result.output}"


def test_bad_inputs(call, tmp_path):
    Image.new("L", (61, 97)).save(tmp_path / "0.png")
    assert "expected a mask of 97 x 61 pixels as the image, got 61 x 97" in str(call("inpaint").exception)
    (tmp_path / "photo.png").write_text("no image")
    assert "photo.png: not an image" in str(call("inpaint").exception)
    assert not (tmp_path / "out").exists()


def test_pipelines_for_something_else(call, pipelines, server):
    reviser = ["--reviser", "tiny", "--reviser-url", server.url, "--prompt", "a"]
    result = call("regenerate", *reviser, "--pipeline", pipelines["inpaint"])
    assert "the network takes 9 channels and latents have 4" in str(result.exception)
    config = pipelines["regenerate"] / "model_index.json"
    text = config.read_text()
    config.write_text(text.replace("StableDiffusionPipeline", "AudioLDMPipeline"))
    result = call("inpaint", "--pipeline", pipelines["regenerate"])
    config.write_text(text)
    assert re.search("AutoPipeline can't find a pipeline linked to AudioLDMPipeline", str(result.exception))


def test_the_program_prints_one_line_and_exits_with_two(tmp_path, monkeypatch, capsys):
    write_inputs(tmp_path, noisy_photo(40, 30))
    line = f"forgescope refine {tmp_path / 'photo.png'} --out {tmp_path / 'out'} --pipeline {tmp_path}"
    monkeypatch.setattr(sys, "argv", f"{line} --artifacts {tmp_path / 'artifacts.json'}".split())
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    assert capsys.readouterr().err == 'error: refinement needs diffusers: pip install "forgescope[refine]"\n'


def test_a_real_image(call, tmp_path, data_dir):
    with (data_dir / "generated" / "manifest.csv").open() as file:
        row = next(row for row in csv.DictReader(file) if row["width"] != row["height"])
    image = Image.open(data_dir / "generated" / row["file"]).convert("RGB")
    write_inputs(tmp_path, image)
    assert call("inpaint").exit_code == 0
    refined = pixels(tmp_path / "out" / "refined.png")
    assert refined.shape == (image.height, image.width, 3)
    same = (refined == np.asarray(image)).all(axis=-1)
    assert 0.5 < same.mean() < 1
