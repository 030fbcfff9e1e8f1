"""`forgescope convert legion` with what it cannot use: one sentence on standard error, nothing written."""

import json
import sys

import pytest
import torch
from fakereasoning_folders import write_folder, write_llava
from legion_folders import CLIP, SAM, head_weights, legion_settings, write_clip, write_head, write_legion, write_sam
from llama_tokenizer import llama_tokenizer

from forgescope import cli


@pytest.fixture
def refused(monkeypatch, capsys, tmp_path):
    """Run the command on a source; returns its one line on standard error, after a look that nothing was written."""

    def run(*arguments, out=tmp_path / "out"):
        before = sorted(tmp_path.rglob("*"))
        monkeypatch.setattr(sys, "argv", ["forgescope", "convert", "legion", *map(str, arguments), "--out", str(out)])
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
def clip(legion_parity, tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clip") / "clip", legion_parity)


@pytest.fixture(scope="module")
def places(clip, legion_parity, tmp_path_factory):
    return ("--clip", clip, "--sam", write_sam(tmp_path_factory.mktemp("sam") / "sam", legion_parity))


@pytest.fixture(scope="module")
def source(legion_parity, tmp_path_factory):
    return write_legion(tmp_path_factory.mktemp("legion") / "source", legion_parity)


def test_missing_tensors(refused, places, legion_parity, tmp_path):
    absent = ("model.text_hidden_fcs.0.2", "model.norm", f"{SAM}mask_decoder.iou_token")
    error = refused(write_legion(tmp_path / "source", legion_parity, without=(CLIP, *absent)), *places)
    assert "nothing is written; 4 missing: " in error
    for name in ("model.language_model.norm.weight", "grounding.mask_decoder.iou_token.weight"):
        assert name in error


def test_unexpected_tensors_and_wrong_shapes(refused, places, legion_parity, tmp_path):
    hidden = legion_parity["meta"]["llm"]["hidden_size"]
    more = {"model.resampler.query": torch.ones(3), f"{SAM}image_encoder.neck.4.weight": torch.ones(2)}
    more["model.mm_projector.0.bias"] = torch.ones(hidden + 1)
    error = refused(write_legion(tmp_path / "source", legion_parity, more=more), *places)
    assert "2 unexpected: " in error
    assert "model.resampler.query (SRC)" in error
    shapes = f"(expected ({hidden},), got ({hidden + 1},))"
    assert f"1 of another shape: model.multi_modal_projector.linear_1.bias {shapes}" in error


def test_sizes_that_are_not_those_of_the_checkpoint(refused, clip, source, legion_parity, tmp_path):
    # without --sam it is ViT-H
    assert "of another shape: grounding." in refused(source, "--clip", clip)
    rows = legion_parity["meta"]["vocab"]
    wider = write_legion(tmp_path / "source", legion_parity, vocab_size=rows + 1)
    sam = write_sam(tmp_path / "sam", legion_parity)
    error = refused(wider, "--clip", clip, "--sam", sam)
    assert "2 of another shape: model.language_model.embed_tokens.weight" in error


def test_image_encoders_that_are_nowhere(refused, places, source, clip, legion_parity, tmp_path):
    assert "the checkpoint has no CLIP in it: give --clip" in refused(source)
    assert f"no file or folder {tmp_path / 'nowhere'}, where CLIP" in refused(source, "--clip", tmp_path / "nowhere")
    blind = write_legion(tmp_path / "blind", legion_parity, without=(CLIP, SAM))
    assert "the checkpoint has no SAM in it: give --sam" in refused(blind, *places[:2])
    assert f"CLIP is neither in the checkpoint nor in {places[3]}" in refused(source, "--clip", places[3])
    whole = write_legion(tmp_path / "whole", legion_parity, without=())
    assert "expected CLIP in" in refused(whole, "--clip", places[3])
    assert "expected SAM in" in refused(source, "--clip", clip, "--sam", clip)


def test_folders_of_other_models(refused, places, fakereasoning_parity, legion_parity, tmp_path):
    assert f"no folder {tmp_path / 'nowhere'}" in refused(tmp_path / "nowhere", *places)
    llava = write_llava(tmp_path / "llava", fakereasoning_parity)
    assert "type 'llava_llama', no LEGION and no GLaMM" in refused(llava, *places)
    plain = write_llava(tmp_path / "plain", fakereasoning_parity, model_type="llava")
    assert "no LEGION and no GLaMM: no tensor of it is called model.text_hidden_fcs." in refused(plain, *places)
    ours = write_folder(tmp_path / "ours", {}, {"model_type": "legion"}, "bin")
    assert "is a LEGION that needs no conversion" in refused(ours, *places)
    (ours / "config.json").write_text("[]")
    assert "expected a JSON object" in refused(ours, *places)
    (ours / "config.json").write_text(json.dumps(legion_settings(legion_parity, tie_word_embeddings=True)))
    assert "tie_word_embeddings = true" in refused(ours, *places)
    (ours / "config.json").write_text(json.dumps(legion_settings(legion_parity)))
    (ours / "adapter_config.json").write_text("{}")
    assert "holds an adapter of PEFT" in refused(ours, *places)


def test_detection_heads(refused, places, source, legion_parity, tmp_path):
    head = write_head(tmp_path / "stage2.bin", legion_parity)
    assert "no file or folder" in refused(source, *places, "--head", tmp_path / "nowhere")
    assert "no detection head in" in refused(source, *places, "--head", source)
    whole = write_legion(tmp_path / "whole", legion_parity, more=head_weights(legion_parity))
    assert "has a detection head in it: leave --head out" in refused(whole, *places, "--head", head)
    half = {name: tensor for name, tensor in head_weights(legion_parity).items() if "bias" not in name}
    torch.save(half, head)
    assert "2 missing: detection_head.linear_1.bias" in refused(source, *places, "--head", head)


def test_training_runs(refused, places, legion_parity, tmp_path):
    module, hidden = "model.layers.0.self_attn.q_proj", legion_parity["meta"]["llm"]["hidden_size"]
    down = {f"{module}.lora_A.default.weight": torch.ones(2, hidden)}
    run = write_legion(tmp_path / "run", legion_parity, more=down)
    assert f"only lora_A for {module}.weight" in refused(run, *places)
    mixed = down | {f"{module}.lora_B.default.weight": torch.ones(hidden, 3)}
    assert "LoRA of ranks [2, 3]" in refused(write_legion(tmp_path / "mixed", legion_parity, more=mixed), *places)
    (run / "config.json").unlink()
    assert "no config.json in" in refused(run, *places)
    assert f"no folder {tmp_path / 'nowhere'}" in refused(run, *places, "--base", tmp_path / "nowhere")


def test_where_the_result_may_go(refused, places, source):
    assert f"--out is the source {source}" in refused(source, *places, out=source)
    assert f"{places[1]} exists: give a new folder" in refused(source, *places, out=places[1])
    assert "unknown dtype 'int8': expected float32, bfloat16, float16" in refused(source, *places, "--dtype", "int8")


def test_a_tokenizer_with_more_tokens_than_the_model(refused, places, legion_parity, tmp_path):
    source = write_legion(tmp_path / "source", legion_parity)
    llama_tokenizer().save_pretrained(source)
    rows = legion_parity["meta"]["vocab"]
    assert f"whose vocabulary of {rows} ends before <im_start>" in refused(source, *places)
