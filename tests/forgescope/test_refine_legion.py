"""Refinement guided by LEGION: a real image in, artifacts found anew in every round, by tiny diffusers pipelines."""

import csv
import json

import numpy as np
import pytest
from answering_fakereasoning import plain_photo
from answering_legion import save_answering_legion
from chat_server import ChatServer
from PIL import Image
from tiny_diffusion import tiny_inpainting_pipeline, tiny_text_to_image_pipeline
from typer.testing import CliRunner

from forgescope import cli
from forgescope.explain import Explainer
from forgescope.refine import artifacts_of, load_explainer
from forgescope.refinement.artifacts import check_artifacts, union_of
from forgescope.refinement.inpaint import InpaintingSettings, dilate

runner = CliRunner()


@pytest.fixture(scope="module")
def checkpoint(photo, tmp_path_factory):
    return save_answering_legion(tmp_path_factory.mktemp("legion") / "answering", as_red=[Image.open(photo)])


@pytest.fixture(scope="module")
def explainer(checkpoint):
    return Explainer(checkpoint)


@pytest.fixture(scope="module")
def explained(explainer, photo):
    return explainer.explain(photo)


@pytest.fixture(scope="module")
def photo(data_dir, tmp_path_factory):
    """A real generated image that is not square, reduced."""
    with (data_dir / "generated" / "manifest.csv").open() as file:
        row = next(row for row in csv.DictReader(file) if row["width"] != row["height"])
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    image = Image.open(data_dir / "generated" / row["file"]).convert("RGB")
    image.thumbnail((160, 160))
    image.save(path)
    return path


def refine(photo, checkpoint, out, *arguments):
    given = [photo, "--model", checkpoint, "--out", out, "--steps", 2, "--device", "cpu", *arguments]
    return runner.invoke(cli.app, ["refine", *map(str, given)])


def steps_of(out):
    return [json.loads(file.read_text()) for file in sorted((out / "steps").glob("*.json"))]


def test_artifacts_keep_texts_masks_and_scores(explainer, checkpoint):
    image = plain_photo("red")
    found = load_explainer(str(checkpoint), "cpu")(image)
    assert [(one.phrase, one.explanation) for one in found] == [
        ("The left hand", "The fingers are fused."),
        ("The sign", "Its letters are wrong."),
    ]
    explained = explainer.explain(image)
    for one, expected in zip(check_artifacts(image, found), artifacts_of(explained), strict=True):
        np.testing.assert_array_equal(one.mask, expected.mask)
        assert one.score == pytest.approx(expected.score, abs=1e-5)


def test_another_model_is_refused(answering_checkpoint):
    with pytest.raises(ValueError, match="has model type 'fakereasoning', which cannot be used here; expected legion"):
        load_explainer(str(answering_checkpoint))


def test_inpainting(photo, checkpoint, explained, tmp_path):
    tiny_inpainting_pipeline().save_pretrained(tmp_path / "pipeline")
    out = tmp_path / "out"
    result = refine(photo, checkpoint, out, "--pipeline", tmp_path / "pipeline", "--rounds", 2)
    assert result.exit_code == 0, result.output
    image = Image.open(photo)
    steps = steps_of(out)
    assert len(steps) == 3
    assert [one["phrase"] for one in steps[0]["artifacts"]] == ["The left hand", "The sign"]
    assert len(steps[1]["edits"]) == 2
    for edit in steps[1]["edits"]:
        assert edit["error"] is None
        assert explained.phrases[edit["artifact"]].explanation in edit["prompt"]
    # every image is examined anew, the last one too
    assert all(step["artifacts"] is not None for step in steps)
    before, after = np.asarray(image), np.asarray(Image.open(out / "steps" / "001.png"))
    mask = dilate(union_of(artifacts_of(explained), before.shape[:2]), InpaintingSettings())
    assert (before != after).any()
    np.testing.assert_array_equal(after[mask == 0], before[mask == 0])
    assert json.loads((out / "settings.json").read_text())["explainer"] == checkpoint.name


def test_regeneration(photo, checkpoint, tmp_path, monkeypatch):
    tiny_text_to_image_pipeline().save_pretrained(tmp_path / "pipeline")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    asked = []

    def answer(request):
        asked.append(request.prompt)
        return "<prompt>a hand with five fingers</prompt>"

    with ChatServer(answer) as server:
        reviser = ("--reviser", "tiny", "--reviser-url", server.url, "--prompt", "a hand", "--rounds", 1)
        options = ("--mode", "regenerate", "--pipeline", tmp_path / "pipeline", *reviser)
        result = refine(photo, checkpoint, tmp_path / "out", *options)
    assert result.exit_code == 0, result.output
    first, last = steps_of(tmp_path / "out")
    assert (first["prompt"], last["prompt"]) == ("a hand", "a hand with five fingers")
    assert first["artifacts"][0]["explanation"] in asked[0]
    assert last["artifacts"] is not None
    assert Image.open(tmp_path / "out" / "refined.png").size == (64, 64)


def test_what_explain_wrote_is_refined(photo, checkpoint, tmp_path):
    tiny_inpainting_pipeline().save_pretrained(tmp_path / "pipeline")
    arguments = ["explain", photo, "--model", checkpoint, "--out", tmp_path / "explained", "--device", "cpu"]
    assert runner.invoke(cli.app, [*map(str, arguments)]).exit_code == 0
    row = json.loads((tmp_path / "explained" / "explanations.jsonl").read_text())
    given = [photo, "--artifacts", tmp_path / "explained" / row["artifacts"], "--out", tmp_path / "out"]
    given += ["--pipeline", tmp_path / "pipeline", "--steps", 2, "--device", "cpu"]
    result = runner.invoke(cli.app, ["refine", *map(str, given)])
    assert result.exit_code == 0, result.output
    assert [one["phrase"] for one in steps_of(tmp_path / "out")[0]["artifacts"]] == [
        one["phrase"] for one in row["phrases"]
    ]
