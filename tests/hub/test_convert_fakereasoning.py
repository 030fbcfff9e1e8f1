"""`forgescope convert fakereasoning`: a fixture's weights in every layout, converted by the command and loaded."""

import json
import sys

import pytest
import torch
from fakereasoning_folders import (
    CLIP,
    DINO,
    FUSION,
    TRAINED,
    dino_weights,
    write_clip,
    write_llava,
    write_lora_run,
)
from llama_tokenizer import llama_tokenizer
from parity import expanded, fakereasoning_from_parity
from PIL import Image
from transformers import AutoModel, AutoProcessor, Dinov2Config, Dinov2Model

from forgescope import cli
from forgescope.modeling.modeling_fakereasoning import FakeReasoningForConditionalGeneration

NO_TOWERS = (CLIP, DINO)


@pytest.fixture
def convert(monkeypatch, capsys):
    """Run the command; returns its exit status, standard output and standard error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["forgescope", "convert", "fakereasoning", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code or 0, *capsys.readouterr()

    return run


@pytest.fixture
def clip(fakereasoning_parity, tmp_path):
    """Folder with the sizes of CLIP alone."""
    return write_clip(tmp_path / "sizes of clip", fakereasoning_parity, weights=False)


def load(folder):
    model, info = FakeReasoningForConditionalGeneration.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert not info["mismatched_keys"]
    return model.eval()


def report_of(folder):
    return json.loads((folder / "conversion_report.json").read_text())


def keys(folder, status, source="SRC"):
    return [row["key"] for row in report_of(folder)["rows"] if (row["status"], row["source"]) == (status, source)]


def assert_equals_fixture(model, fixture, design, tolerance):
    expected, given = fixture[design], fixture["inputs"]
    features = fixture["config"]["tiny"]["clip_grid"] ** 2
    ids = expanded(given["input_ids"], features, fixture["data"]["image_sentinel"], model.config.image_token_id)
    with torch.no_grad():
        outputs = model(
            input_ids=ids,
            pixel_values=given["images"],
            attention_mask=expected["merged_attention_mask"].long(),
            labels=expected["merged_labels"],
            forgery_labels=given["forgery_labels"],
        )
    real = expected["merged_attention_mask"]
    close = {"rtol": 0, "atol": tolerance}
    logits = outputs.logits[:, :, expected["logits_columns"]][real]
    torch.testing.assert_close(logits, expected["logits_at_columns"][real], **close)
    for ours, theirs in (("loss_lm", "loss_lm"), ("loss_cpm", "loss_cpm"), ("loss", "loss_total")):
        torch.testing.assert_close(outputs[ours], expected[theirs], **close)


@pytest.mark.parametrize("form", ["safetensors", "bin"])
def test_the_published_checkpoint(convert, clip, fakereasoning_parity, tmp_path, form):
    source = write_llava(tmp_path / "source", fakereasoning_parity, form=form)
    status, printed, noted = convert(source, "--out", tmp_path / "out", "--clip", clip)
    assert status == 0, noted
    model = load(tmp_path / "out")
    assert_equals_fixture(model, fakereasoning_parity, "dual", 1e-5)
    assert isinstance(AutoModel.from_pretrained(tmp_path / "out"), FakeReasoningForConditionalGeneration)
    twin = fakereasoning_from_parity(fakereasoning_parity, "dual").state_dict()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, twin[name]), name
    assert model.config.contrastive_loss_weight == 0
    assert not model.config.learn_classification_temperature
    dropped = keys(tmp_path / "out", "dropped")
    original = fakereasoning_parity["state_dict"]
    assert sorted(dropped) == sorted(name for name in original if name.startswith(f"{DINO}clip_vision_tower."))
    assert sorted(keys(tmp_path / "out", "used") + dropped) == sorted(original)
    assert "second CLIP" in printed
    assert "no tokenizer was found" in noted


def test_llava_without_its_towers_becomes_the_design_of_the_paper(convert, fakereasoning_parity, tmp_path):
    rotary = "model.layers.0.self_attn.rotary_emb.inv_freq"
    fixture = fakereasoning_parity | {"state_dict": fakereasoning_parity["state_dict"] | {rotary: torch.ones(8)}}
    source = write_llava(tmp_path / "source", fixture, without=(*NO_TOWERS, *FUSION))
    status, printed, noted = convert(
        source, "--out", tmp_path / "out", "--clip", write_clip(tmp_path / "clip", fixture)
    )
    assert status == 0, noted
    model = load(tmp_path / "out")
    assert model.config.dino_config is None
    assert model.config.contrastive_loss_weight == 1
    assert model.config.learn_classification_temperature
    assert_equals_fixture(model, fixture, "clip_only", 1e-5)
    assert model.probability_mapper.log_temperature.exp().item() == pytest.approx(10)
    assert model.forgery_contrast.log_temperature.exp().item() == pytest.approx(0.07)
    report = report_of(tmp_path / "out")
    assert model.forgery_contrast.queue_filled == 0
    assert {name.split(".")[0] for name in report["added"]} == {"forgery_contrast", "probability_mapper"}
    assert keys(tmp_path / "out", "dropped") == [rotary]
    reasons = {row["key"]: row["why"] for row in report["rows"] if row["status"] == "dropped"}
    assert reasons[rotary] == "computed, not stored by transformers 5"
    assert "LLaVA has no use for" in reasons["logit_scale"]
    assert reasons.keys() == {
        rotary,
        "vision_model.embeddings.position_ids",
        "text_model.embeddings.position_ids",
        "text_model.final_layer_norm.weight",
        "visual_projection.weight",
        "logit_scale",
    }
    assert "temperature or queue of a loss" in printed


@pytest.mark.parametrize("layout", ["original", "transformers"])
def test_towers_from_places_of_their_own(convert, fakereasoning_parity, tmp_path, layout):
    source = write_llava(tmp_path / "source", fakereasoning_parity, without=NO_TOWERS)
    dino = tmp_path / "dinov2.pth"
    if layout == "original":
        torch.save(dino_weights(fakereasoning_parity), dino)
    else:
        twin = fakereasoning_from_parity(fakereasoning_parity, "dual")
        tower = Dinov2Model(Dinov2Config(**twin.config.dino_config.to_dict()))
        tower.load_state_dict(twin.model.dino_tower.state_dict())
        dino = tmp_path / "dinov2"
        tower.save_pretrained(dino)
    clip = write_clip(tmp_path / "clip", fakereasoning_parity)
    status, _, noted = convert(source, "--out", tmp_path / "out", "--clip", clip, "--dino", dino)
    assert status == 0, noted
    assert_equals_fixture(load(tmp_path / "out"), fakereasoning_parity, "dual", 1e-5)
    assert {row["source"] for row in report_of(tmp_path / "out")["rows"]} == {"SRC", "CLIP", "DINOv2"}


def test_a_base_model_gets_a_new_fusion_when_asked(convert, clip, fakereasoning_parity, tmp_path):
    dino_heads = fakereasoning_parity["config"]["tiny"]["dino_heads"]
    twin = fakereasoning_from_parity(fakereasoning_parity, "dual")
    dino = tmp_path / "dinov2"
    dino.mkdir()
    twin.config.dino_config.save_pretrained(dino)
    source = write_llava(tmp_path / "source", fakereasoning_parity, without=("model.crossattention.",))
    arguments = (source, "--out", tmp_path / "out", "--clip", clip, "--dino", dino)
    status, _, error = convert(*arguments)
    assert status == 2
    assert "20 missing: model.fusion." in error
    assert "--new-fusion initialises it" in error
    assert not (tmp_path / "out").exists()
    assert convert(*arguments, "--new-fusion")[0] == 0
    model = load(tmp_path / "out")
    assert model.config.dino_config.num_attention_heads == dino_heads
    added = report_of(tmp_path / "out")["added"]
    assert len(added) == 20
    assert set(added.values()) == {"initialised afresh: train it"}
    assert model.model.fusion.query.weight.std() > 0
    assert torch.equal(model.model.fusion.norm_1.weight, torch.ones_like(model.model.fusion.norm_1.weight))


@pytest.mark.parametrize("rank_stabilised", [False, True])
def test_a_lora_run(convert, clip, fakereasoning_parity, tmp_path, rank_stabilised):
    base = write_llava(tmp_path / "base", fakereasoning_parity)
    merged = write_lora_run(tmp_path / "run", fakereasoning_parity, use_rslora=rank_stabilised)
    status, _, noted = convert(tmp_path / "run", "--base", base, "--out", tmp_path / "out", "--clip", clip)
    assert status == 0, noted
    model = load(tmp_path / "out")
    twin = fakereasoning_from_parity(fakereasoning_parity | {"state_dict": merged}, "dual").state_dict()
    start = fakereasoning_from_parity(fakereasoning_parity, "dual").state_dict()
    changed = 0
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, twin[name], rtol=0, atol=1e-6)
        changed += not torch.allclose(tensor, start[name], rtol=0, atol=1e-4)
    layers = fakereasoning_parity["config"]["num_hidden_layers"]
    trained = [name for name in fakereasoning_parity["state_dict"] if name.startswith(TRAINED)]
    assert changed == 7 * layers + len(trained)
    adapter = keys(tmp_path / "out", "used", "adapter")
    assert len(adapter) == len(set(adapter)) == 14 * layers
    assert len(keys(tmp_path / "out", "used", "non_lora_trainables.bin")) == len(trained)
    replaced = [row["key"] for row in report_of(tmp_path / "out")["rows"] if "replaced by" in row["why"]]
    assert sorted(replaced) == sorted(trained)


def test_a_tower_inside_is_preferred_to_one_given(convert, fakereasoning_parity, tmp_path):
    source = write_llava(tmp_path / "source", fakereasoning_parity)
    other = {name: tensor + 1 for name, tensor in fakereasoning_parity["state_dict"].items()}
    clip = write_clip(tmp_path / "clip", fakereasoning_parity | {"state_dict": other})
    assert convert(source, "--out", tmp_path / "out", "--clip", clip)[0] == 0
    assert_equals_fixture(load(tmp_path / "out"), fakereasoning_parity, "dual", 1e-5)
    assert any("CLIP is in the checkpoint" in note for note in report_of(tmp_path / "out")["notes"])


def test_the_type_is_that_of_the_checkpoint_or_the_one_asked_for(convert, clip, fakereasoning_parity, tmp_path):
    half = {name: tensor.half() for name, tensor in fakereasoning_parity["state_dict"].items()}
    source = write_llava(tmp_path / "source", fakereasoning_parity | {"state_dict": half}, without=(DINO, *FUSION))
    for asked, expected in ((None, torch.float16), ("bfloat16", torch.bfloat16)):
        out = tmp_path / str(asked)
        assert convert(source, "--out", out, "--clip", clip, *(("--dtype", asked) if asked else ()))[0] == 0
        model = load(out)
        assert model.dtype == model.lm_head.weight.dtype == expected
        assert model.model.vision_tower.dtype == expected
        assert model.probability_mapper.log_temperature.dtype == torch.float32


def test_more_rows_of_the_vocabulary_than_tokens(convert, clip, fakereasoning_parity, tmp_path):
    names = ("model.embed_tokens.weight", "lm_head.weight")
    rows = fakereasoning_parity["config"]["vocab_size"] + 64
    padded = {name: torch.nn.functional.pad(fakereasoning_parity["state_dict"][name], (0, 0, 0, 64)) for name in names}
    fixture = fakereasoning_parity | {"state_dict": fakereasoning_parity["state_dict"] | padded}
    source = write_llava(tmp_path / "source", fixture, vocab_size=rows)
    assert convert(source, "--out", tmp_path / "out", "--clip", clip)[0] == 0
    model = load(tmp_path / "out")
    assert model.lm_head.weight.shape[0] == model.config.text_config.vocab_size == rows
    source = write_llava(tmp_path / "wrong", fixture)
    status, _, error = convert(source, "--out", tmp_path / "never", "--clip", clip)
    assert status == 2
    assert "2 of another shape: model.language_model.embed_tokens.weight (expected (32000, " in error.replace(
        str(rows - 64), "32000"
    )


@pytest.mark.parametrize("inside", [True, False])
def test_the_processor(convert, clip, fakereasoning_parity, tmp_path, inside):
    source = write_llava(tmp_path / "source", fakereasoning_parity, without=(DINO, *FUSION))
    place = source if inside else tmp_path / "tokenizer"
    llama_tokenizer().save_pretrained(place)
    option = () if inside else ("--tokenizer", place)
    status, _, noted = convert(source, "--out", tmp_path / "out", "--clip", clip, *option)
    assert (status, "no tokenizer" in noted) == (0, False)
    model, processor = load(tmp_path / "out"), AutoProcessor.from_pretrained(tmp_path / "out")
    processor.check_verdict_ids(model.config)
    data, tiny = fakereasoning_parity["data"], fakereasoning_parity["config"]["tiny"]
    image = Image.fromarray(data["images_uint8"][0].numpy())
    inputs = processor.inference_inputs(image)
    assert inputs["pixel_values"].shape[-1] == tiny["clip_grid"] * tiny["patch"]
    ids = data["infer_ids_llava_v1"]
    expected = expanded(ids[None], tiny["clip_grid"] ** 2, data["image_sentinel"], model.config.image_token_id)
    assert inputs["input_ids"].tolist() == expected.tolist()
    generated = model.generate_verdict(**inputs, max_new_tokens=2)
    assert generated.generated_ids.shape == (1, 2)
