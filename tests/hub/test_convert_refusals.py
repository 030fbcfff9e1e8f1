"""`forgescope convert fakereasoning` with what it cannot use: one sentence on standard error, nothing written."""

import json
import sys

import pytest
import torch
from fakereasoning_folders import CLIP, DINO, FUSION, write_clip, write_folder, write_llava, write_lora_run

from forgescope import cli

PAPER = (DINO, *FUSION)


@pytest.fixture
def refused(monkeypatch, capsys, tmp_path):
    """Run the command on a source; returns its one line on standard error, after a look that nothing was written."""

    def run(*arguments, out=tmp_path / "out"):
        before = sorted(tmp_path.rglob("*"))
        words = ["forgescope", "convert", "fakereasoning", *map(str, arguments), "--out", str(out)]
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 2
        assert sorted(tmp_path.rglob("*")) == before
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert error.count("\n") == 1
        return error

    return run


@pytest.fixture(scope="module")
def clip(fakereasoning_parity, tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clip") / "sizes", fakereasoning_parity, weights=False)


@pytest.fixture(scope="module")
def source(fakereasoning_parity, tmp_path_factory):
    return write_llava(tmp_path_factory.mktemp("llava") / "source", fakereasoning_parity, without=PAPER)


def changed(fixture, folder, without=(), **weights):
    """The paper's network with other weights, in one file where there is room."""
    new = {name: torch.ones(shape) for name, shape in weights.items()}
    return write_llava(folder, fixture | {"state_dict": fixture["state_dict"] | new}, without=(*PAPER, *without))


def test_missing_tensors(refused, clip, fakereasoning_parity, tmp_path):
    source = changed(fakereasoning_parity, tmp_path / "source", without=("model.mm_projector.2", "model.norm"))
    error = refused(source, "--clip", clip)
    projector = "model.multi_modal_projector.linear_2"
    assert error.endswith(f"3 missing: {projector}.weight, {projector}.bias, model.language_model.norm.weight\n")


def test_an_unexpected_tensor_and_a_wrong_shape(refused, clip, fakereasoning_parity, tmp_path):
    hidden = fakereasoning_parity["config"]["hidden_size"]
    weights = {"model.resampler.query": (3, 3), "model.mm_projector.0.bias": (hidden + 1,)}
    error = refused(changed(fakereasoning_parity, tmp_path / "source", **weights), "--clip", clip)
    assert "1 unexpected: model.resampler.query (SRC)" in error
    shapes = f"(expected ({hidden},), got ({hidden + 1},))"
    assert f"1 of another shape: model.multi_modal_projector.linear_1.bias {shapes}" in error


def test_more_layers_than_the_configuration_has(refused, clip, fakereasoning_parity, tmp_path):
    layers = fakereasoning_parity["config"]["num_hidden_layers"]
    extra = {f"model.layers.{layers}.input_layernorm.weight": (fakereasoning_parity["config"]["hidden_size"],)}
    error = refused(changed(fakereasoning_parity, tmp_path / "source", **extra), "--clip", clip)
    assert f"1 unexpected: model.layers.{layers}.input_layernorm.weight" in error


@pytest.mark.parametrize("form", ["safetensors", "bin"])
def test_a_truncated_file(refused, clip, fakereasoning_parity, tmp_path, form):
    source = write_llava(tmp_path / "source", fakereasoning_parity, without=PAPER, form=form)
    file = sorted(source.glob(f"*.{form}"))[-1]
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    error = refused(source, "--clip", clip)
    assert f"{file} is damaged" in error
    assert "get it again" in error


def test_a_shard_that_is_not_there(refused, clip, fakereasoning_parity, tmp_path):
    source = write_llava(tmp_path / "source", fakereasoning_parity, without=PAPER)
    shards = sorted(source.glob("*.safetensors"))
    shards[0].unlink()
    error = refused(source, "--clip", clip)
    assert f"1 of {len(shards)} files" in error
    assert f"such as {shards[0].name}" in error


def test_a_file_of_more_than_tensors(refused, clip, fakereasoning_parity, tmp_path):
    source = write_folder(tmp_path / "source", {}, fakereasoning_parity["config"], "bin")
    torch.save({"model": {"weight": torch.ones(1)}}, source / "pytorch_model.bin")
    assert "expected tensors by name" in refused(source, "--clip", clip)
    torch.save({"weight": print}, source / "pytorch_model.bin")
    assert "holds more than tensors" in refused(source, "--clip", clip)


def test_sources_that_are_no_checkpoints(refused, clip, source, fakereasoning_parity, tmp_path):
    assert f"no folder {tmp_path / 'nowhere'}" in refused(tmp_path / "nowhere")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "no config.json in" in refused(empty)
    (empty / "config.json").write_text(json.dumps(fakereasoning_parity["config"]))
    assert "no weights in" in refused(empty, "--clip", clip)
    (empty / "config.json").write_text("[]")
    assert "expected a JSON object" in refused(empty)
    (empty / "config.json").write_text('{"model_type": "llama", "vocab_size": 3, "hidden_size": 4}')
    assert "holds a model of type 'llama', no LLaVA-1.5" in refused(empty)
    (empty / "config.json").write_text('{"model_type": "llava", "vision_config": {}}')
    assert "load it with FakeReasoningForConditionalGeneration.from_llava" in refused(empty)


@pytest.mark.parametrize(
    ("name", "value"), [("mm_projector_type", "linear"), ("mm_vision_select_feature", "cls_patch")]
)
def test_another_kind_of_llava(refused, clip, fakereasoning_parity, tmp_path, name, value):
    source = write_llava(tmp_path / "source", fakereasoning_parity, without=PAPER, **{name: value})
    assert f"has {name} = '{value}', expected" in refused(source, "--clip", clip)


def test_where_the_result_may_go(refused, clip, source, tmp_path):
    assert f"--out is the source {source}" in refused(source, out=source)
    assert f"{clip} exists: give a new folder" in refused(source, out=clip)
    assert "unknown dtype 'int8': expected float32, bfloat16, float16" in refused(source, "--dtype", "int8")


def test_image_encoders(refused, clip, source, fakereasoning_parity, tmp_path):
    bare = write_llava(tmp_path / "bare", fakereasoning_parity, without=(CLIP, *PAPER))
    assert "the checkpoint has no CLIP in it: give --clip" in refused(bare)
    assert "no file or folder" in refused(bare, "--clip", tmp_path / "nowhere")
    width = fakereasoning_parity["config"]["tiny"]["vision_dim"]
    assert f"how many heads a CLIP of width {width} has is unknown" in refused(source)
    dual = write_llava(tmp_path / "dual", fakereasoning_parity, without=(DINO,))
    assert "the checkpoint has no DINOv2 in it: give --dino" in refused(dual, "--clip", clip)
    assert "expected DINOv2 in" in refused(
        write_llava(tmp_path / "whole", fakereasoning_parity), "--clip", clip, "--dino", clip
    )


def test_adapters(refused, source, fakereasoning_parity, tmp_path):
    run = tmp_path / "run"
    write_lora_run(run, fakereasoning_parity)
    assert "holds an adapter: give --base" in refused(run)
    assert "--base is for adapters" in refused(source, "--base", source)
    config = json.loads((run / "adapter_config.json").read_text())
    (run / "adapter_config.json").write_text(json.dumps(config | {"use_dora": True}))
    assert "use_dora = True, which cannot be merged here" in refused(run, "--base", source)
    (run / "adapter_config.json").write_text(json.dumps(config))
    other = write_llava(tmp_path / "other", fakereasoning_parity, without=("model.layers.0.mlp.up_proj",))
    error = refused(run, "--base", other)
    assert "trained on another model: the base has no model.layers.0.mlp.up_proj.weight" in error
    (run / "non_lora_trainables.bin").unlink()
    assert "no non_lora_trainables.bin in" in refused(run, "--base", source)
