"""The recipes of LEGION against what the paper and the published code say."""

import pytest
import torch
from legion_runs import tiny_recipe
from transformers import TrainingArguments, get_scheduler

from forgescope.modeling.configuration_legion import LegionConfig
from forgescope.trainers.adapters_legion import LegionTuningConfig
from forgescope.trainers.base_legion import build_processor
from forgescope.trainers.data_legion import LegionDataConfig
from forgescope.trainers.data_legion_detection import DetectionDataConfig
from forgescope.trainers.recipe import available_recipes
from forgescope.trainers.train_legion import legion_recipe
from forgescope.trainers.train_legion_detection import detection_recipe


def arguments_of(recipe, tmp_path):
    # refused where no GPU has it
    return TrainingArguments(output_dir=str(tmp_path), **recipe.training | {"bf16": False})


def test_the_recipe_is_the_paper(tmp_path):
    recipe = legion_recipe()
    assert recipe.tuning == LegionTuningConfig(lora_rank=8, lora_alpha=8, lora_dropout=0.05, save="adapters")
    assert recipe.data == LegionDataConfig(first_places=False, longest_edge=1024)
    config = LegionConfig(**recipe.model)
    weights = (config.language_loss_weight, config.mask_dice_loss_weight, config.mask_bce_loss_weight)
    assert weights == (1.0, 0.2, 0.4)
    arguments = arguments_of(recipe, tmp_path)
    assert (arguments.optim, arguments.adam_beta1, arguments.adam_beta2) == ("adamw_torch", 0.9, 0.95)
    assert (arguments.weight_decay, arguments.max_grad_norm) == (0.0, 1.0)
    assert (arguments.learning_rate, arguments.lr_scheduler_type, arguments.warmup_steps) == (1e-4, "linear", 100)
    assert arguments.per_device_train_batch_size * arguments.gradient_accumulation_steps == 16


def test_the_other_recipe_is_the_published_code(tmp_path):
    recipe = legion_recipe("legion-published")
    assert recipe.tuning == LegionTuningConfig(lora_rank=8, lora_alpha=16, lora_dropout=0.05, save="merged")
    assert recipe.data == LegionDataConfig(first_places=True, longest_edge=512)
    assert recipe.processor == {"max_length": 1536}
    arguments, paper = arguments_of(recipe, tmp_path), arguments_of(legion_recipe(), tmp_path)
    for name in ("optim", "adam_beta1", "adam_beta2", "weight_decay", "max_grad_norm", "learning_rate"):
        assert getattr(arguments, name) == getattr(paper, name), name
    assert arguments.per_device_train_batch_size * arguments.gradient_accumulation_steps == 16
    assert arguments.max_steps == 703


def test_the_published_schedule_is_a_decay_over_three_epochs_of_which_one_is_run(tmp_path):
    arguments = arguments_of(legion_recipe("legion-published"), tmp_path)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=arguments.learning_rate)
    schedule = get_scheduler(
        arguments.lr_scheduler_type,
        optimizer,
        arguments.warmup_steps,
        arguments.max_steps,
        scheduler_specific_kwargs=arguments.lr_scheduler_kwargs,
    )
    steps, warmup = 3 * 703, 100
    for step in range(703):
        expected = step / warmup if step < warmup else (steps - step) / (steps - warmup)
        assert schedule.get_last_lr()[0] == pytest.approx(1e-4 * expected, rel=1e-4, abs=1e-9), step
        optimizer.step()
        schedule.step()


def test_the_recipe_of_the_head_is_the_paper(tmp_path):
    recipe = detection_recipe()
    assert recipe.data == DetectionDataConfig()
    arguments = arguments_of(recipe, tmp_path)
    assert (arguments.learning_rate, arguments.lr_scheduler_type, arguments.warmup_steps) == (1e-3, "cosine", 0)
    assert (arguments.per_device_train_batch_size, arguments.num_train_epochs) == (64, 3)
    assert (arguments.weight_decay, arguments.load_best_model_at_end) == (0.0, True)
    assert (arguments.metric_for_best_model, arguments.greater_is_better) == ("accuracy", True)


def test_all_recipes_come_with_the_package():
    assert {"legion", "legion-published", "legion-mini", "legion-detection"} <= set(available_recipes())
    LegionConfig(**{name: part for name, part in legion_recipe("legion-mini").model.items() if name != "text_config"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tuning: {lora: 8}", "unknown key tuning.lora; did you mean tuning.lora_rank?"),
        ("tuning: {lora_rank: 0}", "tuning needs a lora_rank of at least 1"),
        ("tuning: {lora_dropout: 1}", "tuning.lora_dropout must lie in"),
        ("tuning: {save: all}", "tuning.save must be adapters or merged, got 'all'"),
        ("data: {longest_edge: 0}", "data.longest_edge must be at least 1"),
        ("processor: {size: 3}", "unknown key processor.size"),
        ("start: {tokeniser: a}", "did you mean start.tokenizer?"),
        ("optimizer: {a: 1}", "unknown key optimizer"),
    ],
)
def test_wrong_recipes_are_refused(tmp_path, text, message):
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        legion_recipe(str(path))


def test_wrong_recipes_of_the_head_are_refused():
    with pytest.raises(ValueError, match="unknown key model.detection_hidden_size"):
        detection_recipe(overrides=["model.detection_hidden_size=3"])
    with pytest.raises(ValueError, match="data.batch_size and data.validation_rows must be at least 1, got 0 and 500"):
        detection_recipe(overrides=["data.batch_size=0"])


def test_a_recipe_that_changes_the_conversation_changes_the_chat_template_too(legion_tokenizer, legion_base):
    for base in (None, str(legion_base)):
        recipe = tiny_recipe(legion_tokenizer, network=base is None, processor={"template": "vicuna_v1"})
        processor = build_processor(recipe, base)
        assert processor.template == "vicuna_v1"
        assert "between a curious user and" in processor.chat_template
