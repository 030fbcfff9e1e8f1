"""Which parts of LEGION are trained, and that saved adapters are the model that was trained."""

import json
import re

import pytest
import torch
from legion_runs import TINY_LEGION, load_synthscars, save_base, tiny_recipe
from tiny_models import tiny_model
from transformers import AutoModel, AutoModelForImageTextToText, PreTrainedModel, TrainingArguments

from forgescope.auto import register_auto_classes
from forgescope.modeling.configuration_legion import LegionConfig
from forgescope.modeling.modeling_legion import LegionForGroundedExplanation
from forgescope.processing.processing_legion import LegionProcessor
from forgescope.trainers.adapters import AdapterTrainer
from forgescope.trainers.adapters_legion import (
    LANGUAGE_MODEL_QUERIES_AND_VALUES,
    LegionTuningConfig,
    add_adapters,
    add_detection_adapter,
    load_adapters,
    trainable_parameters,
)
from forgescope.trainers.base_legion import build_model, build_processor
from forgescope.trainers.train_legion import build_trainer

HIDDEN, LAYERS, RANK, VOCABULARY, PROMPT, VISION = 4096, 32, 8, 32007, 256, 1024
# the published code trains 587.4 million, of which the region encoder, which nothing uses, has these
REGION_ENCODER = 299_142_912


@pytest.fixture(scope="module")
def full_size():
    with torch.device("meta"):
        return LegionForGroundedExplanation(LegionConfig())


def test_the_pattern_hits_the_language_model_alone(full_size):
    names = [name for name, _ in full_size.named_modules()]
    hit = [name for name in names if re.fullmatch(LANGUAGE_MODEL_QUERIES_AND_VALUES, name)]
    assert len(hit) == LAYERS * 2
    assert all(name.startswith("model.language_model.layers.") for name in hit)
    # the last names alone would hit CLIP and SAM's decoder too: 24 layers, and 7 attentions
    assert sum(name.endswith(".q_proj") for name in names) == LAYERS + 24 + 7


def test_trained_parameters_at_full_size_are_the_published_ones():
    with torch.device("meta"):
        model = add_adapters(LegionForGroundedExplanation(LegionConfig()), LegionTuningConfig())
    decoder = model.grounding.mask_decoder.modules_to_save["default"]
    counts = trainable_parameters(model)
    assert counts == {
        "lora": LAYERS * 2 * RANK * (HIDDEN + HIDDEN),
        "lm_head": VOCABULARY * HIDDEN,
        "embeddings": VOCABULARY * HIDDEN,
        "mask_decoder": sum(one.numel() for one in decoder.parameters()),
        "prompt_projector": (HIDDEN + 1) * HIDDEN + (HIDDEN + 1) * PROMPT,
        "detection_head": 0,
    }
    assert counts["mask_decoder"] == 4_058_340
    assert sum(counts.values()) == 288_284_132
    assert round((sum(counts.values()) + REGION_ENCODER) / 1e6, 1) == 587.4
    assert sum(one.numel() for one in model.parameters() if one.requires_grad) == sum(counts.values())
    owners = {name.split(".lora_A")[0] for name, _ in model.named_modules() if name.endswith(".lora_A")}
    assert len(owners) == LAYERS * 2
    assert all(".language_model.layers." in name for name in owners)


def test_stage_two_trains_the_detection_head_alone():
    with torch.device("meta"):
        model = add_detection_adapter(LegionForGroundedExplanation(LegionConfig()))
    counts = trainable_parameters(model)
    assert counts["detection_head"] == (VISION + 1) * 2048 + (2048 + 1) * 2 == 2_103_298
    assert sum(one.numel() for one in model.parameters() if one.requires_grad) == counts["detection_head"]


@pytest.mark.parametrize("tuning", [{}, {"lora_rank": None}])
def test_frozen_parts_get_no_gradient_and_trained_ones_do(legion_folder, legion_tokenizer, tmp_path, tuning):
    rows = load_synthscars(legion_folder)
    trainer = build_trainer({"train": rows}, tiny_recipe(legion_tokenizer, tuning=tuning), str(tmp_path))
    trainer.model.train()
    trainer.model(**trainer.data_collator([trainer.train_dataset[index] for index in range(4)])).loss.backward()
    untaught = "iou_prediction_head"  # the mask decoder's score of its own masks has no target
    for name, parameter in trainer.model.named_parameters():
        wanted = "modules_to_save" in name or "lora_" in name
        assert parameter.requires_grad == wanted, name
        assert (parameter.grad is not None) == (wanted and untaught not in name), name
    trained = ("lm_head", "embed_tokens", "mask_decoder", "prompt_projector")
    gradients = {name: one.grad for name, one in trainer.model.named_parameters() if one.grad is not None}
    for part in (*trained, *(("lora_B",) if tuning == {} else ())):
        assert any(part in name and gradient.abs().sum() > 0 for name, gradient in gradients.items()), part


def outputs_of(model: PreTrainedModel, batch):
    with torch.no_grad():
        outputs = model.eval()(**batch)
    return [outputs.logits, outputs.loss, *outputs.mask_logits]


def batch_of(trainer):
    return trainer.data_collator([trainer.eval_dataset[index] for index in range(2)])


@pytest.mark.parametrize("tuning", [{}, {"lora_rank": None}])
def test_saved_adapters_are_the_trained_model(legion_folder, legion_tokenizer, tmp_path, tuning):
    save_base(tmp_path / "base", legion_tokenizer)
    recipe = tiny_recipe(legion_tokenizer, tuning=tuning | {"save": "adapters"}, network=False)
    splits = {"train": load_synthscars(legion_folder)}
    trainer = build_trainer(splits, recipe, str(tmp_path / "out"), base=str(tmp_path / "base"), max_steps=2)
    trainer.train()
    trainer.save_model()
    assert not (tmp_path / "out" / "model.safetensors").exists()
    settings = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == str(tmp_path / "base")
    loaded = load_adapters(tmp_path / "out")
    assert type(loaded) is LegionForGroundedExplanation
    batch = batch_of(trainer)
    for first, second in zip(outputs_of(trainer.model, batch), outputs_of(loaded, batch), strict=True):
        torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-4)
    LegionProcessor.from_pretrained(tmp_path / "out").check_token_ids(loaded.config)


def test_a_merged_model_loads_by_the_auto_classes(legion_folder, legion_tokenizer, tmp_path):
    splits = {"train": load_synthscars(legion_folder)}
    trainer = build_trainer(splits, tiny_recipe(legion_tokenizer), str(tmp_path), max_steps=2)
    trainer.train()
    batch = batch_of(trainer)
    expected = outputs_of(trainer.model, batch)
    trainer.save_model()
    register_auto_classes()
    for auto_class in (AutoModel, AutoModelForImageTextToText, LegionForGroundedExplanation):
        model = auto_class.from_pretrained(tmp_path)
        assert type(model) is LegionForGroundedExplanation
        for first, second in zip(expected, outputs_of(model, batch), strict=True):
            torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-4)
    again = LegionProcessor.from_pretrained(tmp_path)
    rows = [trainer.eval_dataset[index] for index in range(2)]
    ids = again.training_inputs([row["image"] for row in rows], [row["text"] for row in rows])["input_ids"]
    assert torch.equal(ids, batch["input_ids"])


def test_a_base_in_16_bits_stays_so_and_what_is_trained_is_in_32(legion_folder, legion_tokenizer, tmp_path):
    save_base(tmp_path / "base", legion_tokenizer)
    recipe = tiny_recipe(legion_tokenizer, network=False)
    splits = {"train": load_synthscars(legion_folder)}
    trainer = build_trainer(splits, recipe, str(tmp_path / "out"), base=str(tmp_path / "base"), bf16=True)
    before = {name: parameter.clone() for name, parameter in trainer.model.named_parameters()}
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses[-1] < losses[0]
    for name, parameter in trainer.model.named_parameters():
        assert parameter.dtype == (torch.float32 if parameter.requires_grad else torch.bfloat16), name
        if not parameter.requires_grad:
            assert torch.equal(parameter, before[name]), name
    assert trainer.evaluate()["eval_loss"] < 20
    trainer.save_model()
    assert LegionForGroundedExplanation.from_pretrained(tmp_path / "out").dtype == torch.bfloat16


class ShardedTrainer(AdapterTrainer):
    """As where FSDP is on, which needs a GPU."""

    def create_accelerator_and_postprocess(self):
        super().create_accelerator_and_postprocess()
        self.is_fsdp_enabled = True


def test_weights_in_shards_are_not_merged(tmp_path):
    # the process that merges would wait for the shards of the others for ever
    model = add_adapters(tiny_model("legion"), LegionTuningConfig())
    arguments = TrainingArguments(str(tmp_path), use_cpu=True, report_to="none")
    with pytest.raises(ValueError, match=r"weights in shards cannot be merged: .* set tuning.save=adapters and merge"):
        ShardedTrainer(model, arguments, save="merged")
    assert ShardedTrainer(model, arguments, save="adapters").save == "adapters"


def test_bases_that_do_not_fit_are_refused(legion_folder, legion_tokenizer, tmp_path):
    splits, base = {"train": load_synthscars(legion_folder)}, str(tmp_path / "base")
    save_base(tmp_path / "base", legion_tokenizer)
    out = str(tmp_path / "out")
    with pytest.raises(ValueError, match="adapters do not hold what is below them, random weights: set tuning.save=m"):
        build_trainer(splits, tiny_recipe(legion_tokenizer, tuning={"save": "adapters"}), out)
    other = tiny_recipe(legion_tokenizer, model={"detection_hidden_size": 8}, network=False)
    with pytest.raises(ValueError, match="another network than the checkpoint's: model.detection_hidden_size differs"):
        build_trainer(splits, other, out, base=base)
    plain = tiny_recipe(legion_tokenizer, network=False)
    with pytest.raises(ValueError, match="random weights need a tokenizer: --set start.tokenizer=DIR"):
        build_trainer(splits, plain, out)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ValueError, match="is a checkpoint of type 'bert'; expected legion"):
        build_trainer(splits, plain, out, base=str(tmp_path))
    with pytest.raises(ValueError, match="holds no adapters: expected a file adapter_config.json"):
        load_adapters(tmp_path / "base")
    (tmp_path / "base" / "adapter_config.json").write_text("{}")
    with pytest.raises(ValueError, match="holds adapters alone: merge them first, load_adapters"):
        build_trainer(splits, plain, out, base=base)


def test_a_tokenizer_with_other_ids_is_refused(legion_tokenizer, tmp_path):
    save_base(tmp_path / "base", legion_tokenizer)
    path = tmp_path / "base" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"seg_token_id": 300}))
    recipe, base = tiny_recipe(legion_tokenizer, network=False), str(tmp_path / "base")
    with pytest.raises(ValueError, match="the configuration does not fit the tokenizer: it has seg_token_id 300 inst"):
        build_model(recipe, build_processor(recipe, base), base)


def test_losses_of_a_checkpoint_may_be_changed(legion_tokenizer, tmp_path):
    save_base(tmp_path / "base", legion_tokenizer)
    recipe, base = tiny_recipe(legion_tokenizer, {"mask_bce_loss_weight": 2.0}, network=False), str(tmp_path / "base")
    model = build_model(recipe, build_processor(recipe, base), base)
    assert (model.config.mask_bce_loss_weight, model.config.mask_dice_loss_weight) == (2.0, 0.2)
    assert model.config.text_config.hidden_size == TINY_LEGION["text_config"]["hidden_size"]
