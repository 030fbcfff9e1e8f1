"""Which parts of FakeReasoning are trained, and that saved adapters are the model that was trained."""

import json
import re
from dataclasses import replace

import pytest
import torch
from fakereasoning_runs import TINY_FAKEREASONING, save_base, save_llava, tiny_recipe
from peft import PeftModel
from transformers import AutoModel, AutoModelForImageTextToText, Dinov2Config, Dinov2Model

from forgescope.modeling.configuration_fakereasoning import FakeReasoningConfig
from forgescope.modeling.modeling_fakereasoning import FakeReasoningForConditionalGeneration
from forgescope.processing.processing_fakereasoning import FakeReasoningProcessor
from forgescope.trainers.adapters_fakereasoning import (
    LANGUAGE_MODEL_LINEARS,
    TuningConfig,
    add_adapters,
    load_adapters,
    projector_parameters,
    trainable_parameters,
)
from forgescope.trainers.answer_folder import load_answer_folder
from forgescope.trainers.base_fakereasoning import build_model, build_processor
from forgescope.trainers.train_fakereasoning import build_trainer, fakereasoning_recipe

PROJECTION, LANGUAGE_MODEL = 31_467_520, 500_695_040
DINO = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 42,
    "patch_size": 14,
}
LATER = {"dino_config": DINO, "fusion_num_attention_heads": 2, "contrastive_loss_weight": 0.0}


def full_size(**settings):
    with torch.device("meta"):
        return FakeReasoningForConditionalGeneration(FakeReasoningConfig(**settings))


@pytest.mark.parametrize(
    ("ablation", "millions", "counts"),
    [
        ("table6-projection", 31, (PROJECTION, 0)),
        ("table6-llm", 501, (0, LANGUAGE_MODEL)),
        ("table6-both", 532, (PROJECTION, LANGUAGE_MODEL)),
    ],
)
def test_trained_parameters_at_full_size_are_those_of_table_6(ablation, millions, counts):
    with torch.device("meta"):
        model = add_adapters(full_size(), fakereasoning_recipe(ablation=ablation).tuning)
    found = trainable_parameters(model)
    assert (found["projection"], found["language_model"]) == counts
    assert found["temperatures"] == 2
    assert round((found["projection"] + found["language_model"]) / 1e6) == millions
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert trained == sum(counts) + 2


def test_the_later_design_trains_both_projectors_and_the_fusion():
    recipe = fakereasoning_recipe("fakereasoning-published")
    with torch.device("meta"):
        model = add_adapters(full_size(**recipe.model), recipe.tuning)
    fusion = sum(parameter.numel() for name, parameter in model.named_parameters() if ".fusion.modules_to" in name)
    counts = trainable_parameters(model)
    assert counts == {"projection": 2 * PROJECTION + fusion, "language_model": LANGUAGE_MODEL, "temperatures": 0}
    assert round(fusion / 1e6, 1) == 314.6
    with torch.device("meta"):
        llm = add_adapters(full_size(**recipe.model), replace(recipe.tuning, projector=False))
    assert trainable_parameters(llm) == {"projection": 0, "language_model": LANGUAGE_MODEL, "temperatures": 0}
    assert sum(parameter.numel() for parameter in projector_parameters(model)) == 2 * PROJECTION


def test_the_pattern_hits_the_language_model_alone():
    recipe = fakereasoning_recipe("fakereasoning-published")
    names = [name for name, _ in full_size(**recipe.model).named_modules()]
    hit = [name for name in names if re.fullmatch(LANGUAGE_MODEL_LINEARS, name)]
    assert len(hit) == 40 * 7
    assert all(name.startswith("model.language_model.layers.") for name in hit)
    # the last names alone would hit CLIP and DINOv2 too
    assert sum(name.endswith(".q_proj") for name in names) == 40 + 24 + 24


def test_lora_sits_nowhere_else():
    with torch.device("meta"):
        model = add_adapters(full_size(), TuningConfig())
    owners = {name.split(".lora_A")[0] for name, _ in model.named_modules() if name.endswith(".lora_A")}
    assert len(owners) == 280
    assert all(".language_model.layers." in name for name in owners)


@pytest.mark.parametrize("tuning", [{}, {"lora_rank": None}, {"projector": False}])
def test_frozen_parts_get_no_gradient_and_trained_ones_do(answer_folder, fakereasoning_tokenizer, tmp_path, tuning):
    recipe = tiny_recipe(fakereasoning_tokenizer, tuning=tuning, model={"classification_search": "labels"})
    trainer = build_trainer(load_answer_folder(answer_folder), recipe, str(tmp_path))
    trainer.model.train()
    trainer.model(**trainer.data_collator([trainer.train_dataset[index] for index in range(4)])).loss.backward()
    parts = {"multi_modal_projector": tuning.get("projector", True), "lora_B": tuning.get("lora_rank", 8) is not None}
    for name, parameter in trainer.model.named_parameters():
        wanted = ("modules_to_save" in name) or ("lora_" in name)
        assert parameter.requires_grad == wanted, name
        assert (parameter.grad is not None) == wanted, name
        if "lora_A" not in name and wanted:  # lora_B is zero at first, so lora_A has none
            assert parameter.grad.abs().sum() > 0, name
    for part, wanted in parts.items():
        assert any(part in name and p.requires_grad for name, p in trainer.model.named_parameters()) == wanted


def trained(base, folder, output, recipe):
    """A trainer after two steps, which has saved."""
    trainer = build_trainer(load_answer_folder(folder), recipe, str(output), base=base, max_steps=2)
    trainer.train()
    trainer.save_model()
    return trainer


def logits_of(model, batch):
    with torch.no_grad():
        outputs = model.eval()(**batch)
    return outputs.logits, outputs.loss


@pytest.mark.parametrize(
    ("kind", "tuning"),
    [
        ("llava", {}),
        ("llava", {"lora_rank": None}),
        ("fakereasoning", {"projector": False}),
        ("later", {}),
    ],
)
def test_saved_adapters_are_the_trained_model(answer_folder, fakereasoning_tokenizer, tmp_path, kind, tuning):
    if kind == "llava":
        save_llava(tmp_path / "base", fakereasoning_tokenizer)
    else:
        save_base(tmp_path / "base", fakereasoning_tokenizer, **(LATER if kind == "later" else {}))
    recipe = tiny_recipe(fakereasoning_tokenizer, tuning=tuning | {"save": "adapters"}, network=False)
    trainer = trained(str(tmp_path / "base"), answer_folder, tmp_path / "out", recipe)
    assert not (tmp_path / "out" / "model.safetensors").exists()
    settings = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == str(tmp_path / "base")
    with pytest.raises(OSError, match="no file named model.safetensors"):  # rather than a model with random weights
        AutoModel.from_pretrained(tmp_path / "out")
    batch = trainer.data_collator([trainer.eval_dataset[index] for index in range(4)])
    loaded = load_adapters(tmp_path / "out")
    assert type(loaded) is FakeReasoningForConditionalGeneration
    for first, second in zip(logits_of(trainer.model, batch), logits_of(loaded, batch), strict=True):
        torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-4)
    FakeReasoningProcessor.from_pretrained(tmp_path / "out").check_verdict_ids(loaded.config)


def test_a_merged_model_loads_by_the_auto_classes(answer_folder, fakereasoning_tokenizer, tmp_path):
    recipe = tiny_recipe(fakereasoning_tokenizer)
    trainer = build_trainer(load_answer_folder(answer_folder), recipe, str(tmp_path), max_steps=2)
    trainer.train()
    batch = trainer.data_collator([trainer.eval_dataset[index] for index in range(4)])
    expected = logits_of(trainer.model, batch)
    queue = trainer.model.forgery_contrast.queue()
    trainer.save_model()
    for auto_class in (AutoModel, AutoModelForImageTextToText, FakeReasoningForConditionalGeneration):
        model = auto_class.from_pretrained(tmp_path)
        assert type(model) is FakeReasoningForConditionalGeneration
        for first, second in zip(expected, logits_of(model, batch), strict=True):
            torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-4)
        assert all(torch.equal(one, two) for one, two in zip(queue, model.forgery_contrast.queue(), strict=True))
        assert len(queue.labels) == 8
    again = FakeReasoningProcessor.from_pretrained(tmp_path)
    rows = [trainer.eval_dataset[index] for index in range(4)]
    ids = again.training_inputs([row["image"] for row in rows], [row["answer"] for row in rows])["input_ids"]
    assert torch.equal(ids, batch["input_ids"])


@pytest.mark.parametrize("design", [{}, LATER | {"contrastive_loss_weight": 1.0}], ids=["paper", "dino"])
def test_a_base_in_16_bits_stays_so_and_what_is_trained_is_in_32(
    answer_folder, fakereasoning_tokenizer, tmp_path, design
):
    save_base(tmp_path / "base", fakereasoning_tokenizer, **design)
    recipe = tiny_recipe(fakereasoning_tokenizer, tuning={"save": "merged"}, network=False)
    trainer = build_trainer(
        load_answer_folder(answer_folder), recipe, str(tmp_path / "out"), base=str(tmp_path / "base"), bf16=True
    )
    before = {name: parameter.clone() for name, parameter in trainer.model.named_parameters()}
    trainer.train()
    assert all("loss_facl" in entry for entry in trainer.state.log_history if "loss" in entry)
    for name, parameter in trainer.model.named_parameters():
        assert parameter.dtype == (
            torch.float32 if parameter.requires_grad or "temperature" in name else torch.bfloat16
        )
        if not parameter.requires_grad:
            assert torch.equal(parameter, before[name]), name
    assert trainer.evaluate()["eval_loss"] < 20
    trainer.save_model()
    loaded = FakeReasoningForConditionalGeneration.from_pretrained(tmp_path / "out")
    assert (loaded.dtype, loaded.forgery_contrast.image_queue.dtype) == (torch.bfloat16, torch.float32)


def test_dinov2_comes_from_its_own_checkpoint(fakereasoning_tokenizer, tmp_path):
    save_llava(tmp_path / "llava", fakereasoning_tokenizer)
    dino = Dinov2Model(Dinov2Config(**DINO))
    dino.save_pretrained(tmp_path / "dino")
    recipe = tiny_recipe(fakereasoning_tokenizer, model=LATER, start={"dino": str(tmp_path / "dino")}, network=False)
    processor = build_processor(recipe, str(tmp_path / "llava"))
    model = build_model(recipe, processor, str(tmp_path / "llava"))
    tower = model.model.dino_tower.state_dict()
    assert all(torch.equal(weight, tower[name]) for name, weight in dino.state_dict().items())
    llava = build_model(tiny_recipe(fakereasoning_tokenizer, network=False), processor, str(tmp_path / "llava"))
    assert torch.equal(llava.lm_head.weight, model.lm_head.weight)
    without = tiny_recipe(fakereasoning_tokenizer, model=LATER, network=False)
    with pytest.raises(ValueError, match="model.dino_config and start.dino go together"):
        build_model(without, processor, str(tmp_path / "llava"))


def test_bases_that_do_not_fit_are_refused(answer_folder, fakereasoning_tokenizer, tmp_path):
    splits, base = load_answer_folder(answer_folder), str(tmp_path / "base")
    save_base(tmp_path / "base", fakereasoning_tokenizer)
    adapters = tiny_recipe(fakereasoning_tokenizer, tuning={"save": "adapters"})
    with pytest.raises(ValueError, match="adapters do not hold what is below them, random weights: set tuning.save=m"):
        build_trainer(splits, adapters, str(tmp_path / "out"))
    with pytest.raises(ValueError, match="asks for another network than the checkpoint's: model.text_config differs"):
        build_trainer(
            splits,
            tiny_recipe(fakereasoning_tokenizer, model={"text_config": {"hidden_size": 16}}, network=False),
            str(tmp_path / "out"),
            base=base,
        )
    save_llava(tmp_path / "llava", fakereasoning_tokenizer)
    with pytest.raises(ValueError, match=r"recipe tiny: model.text_config comes with .*llava, leave it out"):
        build_trainer(splits, tiny_recipe(fakereasoning_tokenizer), str(tmp_path / "out"), str(tmp_path / "llava"))
    with pytest.raises(ValueError, match="random weights need a tokenizer: --set start.tokenizer=DIR"):
        build_trainer(splits, tiny_recipe(fakereasoning_tokenizer, start={"tokenizer": None}), str(tmp_path / "out"))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ValueError, match="is a checkpoint of type 'bert'; expected llava or fakereasoning"):
        build_trainer(splits, tiny_recipe(fakereasoning_tokenizer), str(tmp_path / "out"), base=str(tmp_path))
    (tmp_path / "base" / "adapter_config.json").write_text("{}")
    with pytest.raises(ValueError, match="holds adapters alone: merge them first, load_adapters"):
        build_trainer(splits, tiny_recipe(fakereasoning_tokenizer), str(tmp_path / "out"), base=base)
    with pytest.raises(ValueError, match="holds no adapters: expected a file adapter_config.json"):
        load_adapters(tmp_path / "llava")


def test_a_tokenizer_with_other_ids_is_refused(fakereasoning_tokenizer, tmp_path):
    save_base(tmp_path / "base", fakereasoning_tokenizer)
    config = json.loads((tmp_path / "base" / "config.json").read_text()) | {"fake_token_id": 300}
    (tmp_path / "base" / "config.json").write_text(json.dumps(config))
    recipe = tiny_recipe(fakereasoning_tokenizer, network=False)
    base = str(tmp_path / "base")
    with pytest.raises(
        ValueError, match="the configuration does not fit the tokenizer: it has fake_token_id 300 inst"
    ):
        build_model(recipe, build_processor(recipe, base), base)


def test_losses_of_a_checkpoint_may_be_changed(fakereasoning_tokenizer, tmp_path):
    save_base(tmp_path / "base", fakereasoning_tokenizer)
    base = str(tmp_path / "base")
    changes = {"contrastive_loss_weight": 0.0, "classification_search": "labels"}
    recipe = tiny_recipe(fakereasoning_tokenizer, model=changes, network=False)
    model = build_model(recipe, build_processor(recipe, base), base)
    assert not hasattr(model, "forgery_contrast")
    assert model.probability_mapper.search == "labels"
    assert model.config.text_config.hidden_size == TINY_FAKEREASONING["text_config"]["hidden_size"]
    assert isinstance(add_adapters(model, recipe.tuning), PeftModel)
