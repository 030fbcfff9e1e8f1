"""`forgescope convert legion`: a fixture's weights in every layout, converted by the command and loaded."""

import json
import sys

import pytest
import torch
from legion_folders import (
    CLIP,
    HEAD,
    SAM,
    head_weights,
    legion_settings,
    write_clip,
    write_head,
    write_legion,
    write_sam,
)
from llama_tokenizer import llama_tokenizer
from parity import expanded, legion_weights, parity_image_tokens
from PIL import Image
from transformers import AutoModel, AutoProcessor

from forgescope import cli
from forgescope.modeling.modeling_legion import LegionForGroundedExplanation
from forgescope.processing.grounding_tokens import ADDED_TOKENS
from forgescope.processing.processing_legion import LegionProcessor

REGION = {"model.region_encoder.roi_align.updims.weight": torch.ones(2, 3)}
SENTINEL = -200
CLOSE = {"rtol": 0, "atol": 2e-5}


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command; returns its exit status, standard output and standard error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["forgescope", "convert", "legion", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code or 0, *capsys.readouterr()

    return run


@pytest.fixture(scope="module")
def places(legion_parity, tmp_path_factory):
    """CLIP, and the sizes of SAM, as options of the command."""
    folder = tmp_path_factory.mktemp("places")
    return ("--clip", write_clip(folder / "clip", legion_parity), "--sam", write_sam(folder / "sam", legion_parity))


@pytest.fixture
def convert(run, places, tmp_path):
    """Run the command with CLIP and SAM, see that it succeeds; returns the model, its report and standard error."""

    def convert(source, *arguments, out=tmp_path / "out"):
        status, _, noted = run(source, "--out", out, *places, *arguments)
        assert status == 0, noted
        return load(out), report_of(out), noted

    return convert


def load(folder):
    model, info = LegionForGroundedExplanation.from_pretrained(folder, output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    return model.eval()


def report_of(folder):
    return json.loads((folder / "conversion_report.json").read_text())


def keys(report, status, source="SRC"):
    return sorted(row["key"] for row in report["rows"] if (row["status"], row["source"]) == (status, source))


def assert_equals_fixture(model, fixture):
    """States, losses and masks of the training batch."""
    batch, expected, features = fixture["train"]["batch"], fixture["train"], parity_image_tokens(fixture)
    ids = batch["input_ids"]
    attention = torch.ones(len(ids), ids.shape[1] - 1 + features, dtype=torch.long)
    attention[:, features - 1 :] = batch["attention_masks"]
    with torch.no_grad():
        outputs = model(
            input_ids=expanded(ids, features, SENTINEL, model.config.image_token_id),
            labels=expanded(batch["labels"].where(ids != SENTINEL, SENTINEL), features, SENTINEL, -100),
            attention_mask=attention,
            pixel_values=batch["global_enc_images"],
            grounding_pixel_values=batch["grounding_enc_images"],
            grounding_sizes=torch.tensor(batch["resize_list"]),
            masks=batch["masks_list"],
        )
    real = attention.bool()
    torch.testing.assert_close(outputs.logits[real], expected["logits"][real], **CLOSE)
    torch.testing.assert_close(outputs.mask_logits[0], fixture["infer"]["pred_masks"][0], **CLOSE)
    torch.testing.assert_close(outputs.loss, expected["losses"]["loss"], rtol=0, atol=1e-6)


def assert_detects_as_fixture(model, fixture):
    with torch.no_grad():
        logits = model(pixel_values=fixture["train"]["batch"]["global_enc_images"]).detection_logits
    # the authors' order of classes is (fake, real)
    torch.testing.assert_close(logits.flip(1), fixture["cls"]["logits"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("form", ["safetensors", "bin"])
def test_a_merged_checkpoint(convert, legion_parity, tmp_path, form):
    source = write_legion(tmp_path / "source", legion_parity, form=form, more=REGION)
    head = write_head(tmp_path / "stage2.bin", legion_parity)
    model, report, noted = convert(source, "--head", head)
    assert_equals_fixture(model, legion_parity)
    assert_detects_as_fixture(model, legion_parity)
    assert isinstance(AutoModel.from_pretrained(tmp_path / "out"), LegionForGroundedExplanation)
    twin = legion_weights(legion_parity)
    assert all(torch.equal(tensor, twin[name]) for name, tensor in model.state_dict().items())
    eps = model.config.grounding_config.mask_decoder_config.layer_norm_eps
    assert eps == 1e-5
    dropped = keys(report, "dropped")
    rotary = [name for name in legion_parity["state_dict"] if name.endswith("inv_freq")]
    assert dropped == sorted([*rotary, *REGION])
    originals = [name for name in legion_parity["state_dict"] if not name.startswith(CLIP)]
    assert keys(report, "used") == sorted({*originals, *REGION} - set(dropped))
    assert keys(report, "used", "head") == sorted(head_weights(legion_parity))
    assert keys(report, "dropped", "head") == ["lm_head.weight", "model.norm.weight"]
    assert report["added"] == {}
    assert model.config.detection_head_trained
    assert "no tokenizer was found" in noted
    assert "detection head" not in (tmp_path / "out" / "README.md").read_text()


def test_the_generated_explanation(convert, legion_parity, tmp_path):
    expected, train = legion_parity["generate"], legion_parity["train"]
    changed = {"lm_head.weight": expected["lm_head_weight"]}
    model, _, _ = convert(write_legion(tmp_path / "source", legion_parity, more=changed))
    ids = expanded(expected["prompt_ids"], parity_image_tokens(legion_parity), SENTINEL, model.config.image_token_id)
    length = expected["prompt_ids"].shape[1]
    found = model.generate_grounded(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        pixel_values=train["batch"]["global_enc_images"][:1],
        grounding_pixel_values=train["batch"]["grounding_enc_images"][:1],
        grounding_sizes=torch.tensor(train["batch"]["resize_list"][:1]),
        original_sizes=torch.tensor(train["orig_sizes"][:1]),
        max_new_tokens=expected["sequences"].shape[1] - length,
    )
    assert found.generated_ids.tolist() == expected["sequences"][:, length:].tolist()
    torch.testing.assert_close(found.mask_logits[0], expected["pred_masks"][0], **CLOSE)


def test_without_a_head(convert, legion_parity, tmp_path):
    model, report, noted = convert(write_legion(tmp_path / "source", legion_parity))
    names = {f"detection_head.linear_{layer}.{kind}" for layer in (1, 2) for kind in ("weight", "bias")}
    assert set(report["added"]) == names
    statement = "means nothing until stage 2 was trained"
    assert all(statement in why for why in report["added"].values())
    assert statement in noted
    assert statement in " ".join((tmp_path / "out" / "README.md").read_text().split())
    assert model.detection_head.linear_1.weight.std() > 0
    assert not model.config.detection_head_trained
    assert model.config.detection_hidden_size == 2 * model.config.vision_config.hidden_size
    assert_equals_fixture(model, legion_parity)


def test_what_stage_2_saves(convert, legion_parity, tmp_path):
    source = write_legion(tmp_path / "source", legion_parity, without=(), more=head_weights(legion_parity))
    model, report, noted = convert(source)
    assert_equals_fixture(model, legion_parity)
    assert_detects_as_fixture(model, legion_parity)
    assert not report["added"]
    assert model.config.detection_head_trained
    assert {row["source"] for row in report["rows"]} == {"SRC"}
    assert "CLIP is in the checkpoint, so of" in noted
    head = {row["key"]: row["names"] for row in report["rows"] if row["key"].startswith(HEAD)}
    assert head["prediction_head.2.bias"] == ["detection_head.linear_2.bias"]


def test_sam_from_a_place_of_its_own(convert, legion_parity, tmp_path):
    weights = {k.removeprefix(SAM): v for k, v in legion_parity["state_dict"].items() if k.startswith(SAM)}
    source = write_legion(tmp_path / "source", legion_parity, without=(CLIP, SAM))
    sam = write_sam(tmp_path / "sam", legion_parity)
    torch.save(weights, sam / "sam.pth")
    model, report, _ = convert(source, "--sam", sam)
    assert_equals_fixture(model, legion_parity)
    assert keys(report, "used", "SAM") == sorted(weights)
    embedding = {row["key"]: row["names"] for row in report["rows"] if "gaussian" in row["key"]}
    assert [len(names) for names in embedding.values()] == [2]


@pytest.mark.parametrize("alpha", [16, 8])
def test_a_training_run(convert, legion_parity, tmp_path, alpha):
    rank, generator = 2, torch.Generator().manual_seed(0)
    lora, merged = {}, dict(legion_parity["state_dict"])
    for name in [name for name in merged if name.endswith(("q_proj.weight", "v_proj.weight")) and "layers" in name]:
        if name.startswith("model.layers."):
            down = torch.randn(rank, merged[name].shape[1], generator=generator)
            up = torch.randn(merged[name].shape[0], rank, generator=generator)
            module = name.removesuffix(".weight")
            lora |= {f"{module}.lora_A.default.weight": down, f"{module}.lora_B.default.weight": up}
            merged[name] = merged[name] + alpha / rank * up @ down
    base = write_legion(tmp_path / "base", legion_parity)
    source = write_legion(tmp_path / "run", legion_parity, without=(), more=lora, form="bin")
    (source / "config.json").unlink()
    option = () if alpha == 16 else ("--lora-alpha", alpha)
    model, report, noted = convert(source, "--base", base, *option)
    twin = legion_weights(legion_parity | {"state_dict": merged})
    for name, tensor in model.state_dict().items():
        if not name.startswith("detection_head."):
            torch.testing.assert_close(tensor, twin[name], rtol=0, atol=1e-5, msg=name)
    used = [row["key"] for row in report["rows"]]
    assert sorted(used) == sorted([*legion_parity["state_dict"], *lora])
    assert f"LoRA of rank {rank} was merged with alpha {alpha}" in noted


def test_the_type_is_that_of_the_language_model_or_the_one_asked_for(convert, legion_parity, tmp_path):
    half = {k: v.bfloat16() for k, v in legion_parity["state_dict"].items() if not k.startswith((CLIP, SAM))}
    source = write_legion(tmp_path / "source", legion_parity, more=half)
    model, _, _ = convert(source)
    assert {tensor.dtype for tensor in model.state_dict().values()} == {torch.bfloat16}
    model, _, _ = convert(source, "--dtype", "float32", out=tmp_path / "whole")
    assert {tensor.dtype for tensor in model.state_dict().values()} == {torch.float32}


def test_settings_come_from_the_checkpoint(convert, legion_parity, tmp_path):
    model, _, _ = convert(write_legion(tmp_path / "source", legion_parity))
    config, ids = model.config, legion_parity["meta"]["token_ids"]
    assert (config.seg_token_id, config.phrase_start_token_id, config.phrase_end_token_id) == (
        ids["[SEG]"],
        ids["<p>"],
        ids["</p>"],
    )
    assert config.image_token_id == legion_settings(legion_parity)["vocab_size"]
    for name, value in legion_parity["meta"]["llm"].items():
        assert getattr(config.text_config, name) == value
    assert config.text_config.pad_token_id == model.generation_config.pad_token_id == 0
    assert config.vision_feature_layer == -2


def padded(fixture, rows):
    """The fixture's language model with more rows of the vocabulary."""
    names = ("model.embed_tokens.weight", "lm_head.weight")
    more = rows - fixture["meta"]["vocab"]
    return {name: torch.nn.functional.pad(fixture["state_dict"][name], (0, 0, 0, more)) for name in names}


@pytest.mark.parametrize("known", [True, False])
def test_the_processor(convert, legion_parity, tmp_path, known):
    rows = 32_000 + len(ADDED_TOKENS)
    source = write_legion(tmp_path / "source", legion_parity, more=padded(legion_parity, rows), vocab_size=rows)
    tokenizer = llama_tokenizer()
    if known:  # as transformers 4 saves them: blanks beside them are tokens of their own
        tokenizer.add_tokens(list(ADDED_TOKENS), special_tokens=True)
    tokenizer.save_pretrained(source)
    model, _, noted = convert(source)
    assert "no tokenizer" not in noted
    processor = AutoProcessor.from_pretrained(tmp_path / "out")
    assert isinstance(processor, LegionProcessor)
    processor.check_token_ids(model.config)
    assert processor.tokenizer.convert_tokens_to_ids(list(ADDED_TOKENS)) == list(range(32_000, rows))
    assert (model.config.seg_token_id, model.config.image_token_id) == (32_004, rows)
    text = "<p> The left hand </p> [SEG]: the fingers are fused."
    # no blank before a tag: the mask is asked for with the state of the token before [SEG]
    pieces = processor.tokenizer.convert_ids_to_tokens(processor.tokenizer(text)["input_ids"])
    assert pieces[:7] == ["<s>", "<p>", "▁The", "▁left", "▁hand", "</p>", "[SEG]"]
    sizes = legion_parity["train"]["orig_sizes"][:1]
    inputs = processor.inference_inputs(Image.new("RGB", (sizes[0][1], sizes[0][0]), "red"))
    assert (inputs["input_ids"] == rows).sum() == parity_image_tokens(legion_parity)
    assert inputs["grounding_pixel_values"].shape[-1] == legion_parity["meta"]["sam"]["image_size"]
    assert model.generate_grounded(**inputs, max_new_tokens=2).generated_ids.shape == (1, 2)
