"""The recipes of FakeReasoning against what the paper and the published code say."""

import pytest
from transformers import TrainingArguments

from forgescope.modeling.configuration_fakereasoning import FakeReasoningConfig
from forgescope.trainers.adapters_fakereasoning import TuningConfig
from forgescope.trainers.recipe import available_ablations, available_recipes
from forgescope.trainers.rows_fakereasoning import FakeReasoningDataConfig
from forgescope.trainers.train_fakereasoning import fakereasoning_recipe
from forgescope.trainers.trainer_fakereasoning import OptimizerConfig

RECIPES = ("fakereasoning", "fakereasoning-published", "fakereasoning-mini")
ROWS = {"table4": 3, "table5": 4, "table6": 3}


def arguments_of(recipe, tmp_path):
    # these two are refused where no GPU has them
    settings = recipe.training | {"bf16": False, "tf32": None}
    return TrainingArguments(output_dir=str(tmp_path), **settings)


def test_the_recipe_is_the_paper(tmp_path):
    recipe = fakereasoning_recipe()
    assert recipe.tuning == TuningConfig(projector=True, lora_rank=128, lora_alpha=256, lora_dropout=0.0)
    assert recipe.optimizer == OptimizerConfig(projector_learning_rate=None)
    assert recipe.data == FakeReasoningDataConfig(target="chain_of_thought")
    arguments = arguments_of(recipe, tmp_path)
    assert (arguments.optim, arguments.weight_decay) == ("adamw_torch", 0.0)
    assert (arguments.learning_rate, arguments.num_train_epochs) == (2e-4, 1)
    assert arguments.lr_scheduler_type == "cosine"
    assert arguments.get_warmup_steps(1000) == 30
    assert arguments.per_device_train_batch_size * arguments.gradient_accumulation_steps == 4
    assert recipe.training["bf16"]
    config = FakeReasoningConfig(**recipe.model)
    weights = (config.language_loss_weight, config.classification_loss_weight, config.contrastive_loss_weight)
    assert weights == (1.0, 1.0, 1.0)
    assert (config.contrastive_temperature, config.learn_classification_temperature) == (0.07, True)
    assert config.dino_config is None


def test_the_published_recipe_is_that_of_the_script(tmp_path):
    recipe = fakereasoning_recipe("fakereasoning-published")
    assert (recipe.tuning.lora_rank, recipe.tuning.lora_alpha, recipe.tuning.lora_dropout) == (128, 256, 0.05)
    assert recipe.optimizer.projector_learning_rate == 2e-5
    assert recipe.processor == {"max_length": 2048, "training_template": "vicuna_v1"}
    arguments = arguments_of(recipe, tmp_path)
    assert (arguments.learning_rate, arguments.num_train_epochs, arguments.weight_decay) == (2e-5, 3, 0.0)
    processes = 8
    images = processes * arguments.per_device_train_batch_size * arguments.gradient_accumulation_steps
    assert images == 128
    assert arguments.get_warmup_steps(1000) == 30
    assert arguments.train_sampling_strategy == "group_by_length"
    config = FakeReasoningConfig(**recipe.model)
    assert (config.contrastive_loss_weight, config.learn_classification_temperature) == (0.0, False)
    assert config.classification_temperature == 10
    assert (config.dino_config.hidden_size, config.dino_config.num_hidden_layers) == (1024, 24)
    assert (config.dino_config.image_size // config.dino_config.patch_size) ** 2 == 37**2


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("ablation", [None, *available_ablations("fakereasoning")])
def test_every_recipe_takes_every_ablation(recipe, ablation):
    run = fakereasoning_recipe(recipe, ablation=ablation)
    assert recipe in available_recipes()
    assert FakeReasoningConfig(**run.model).model_type == "fakereasoning"
    assert run.training == fakereasoning_recipe(recipe).training


def test_ablations_are_the_rows_of_the_tables():
    runs = {name: fakereasoning_recipe(ablation=name) for name in available_ablations("fakereasoning")}
    assert {table: sum(name.startswith(table) for name in runs) for table in ROWS} == ROWS
    assert len(runs) == sum(ROWS.values())
    targets = [runs[name].data.target for name in runs if name.startswith("table4")]
    assert targets == ["conclusion", "reasoning", "chain_of_thought"]
    configs = [FakeReasoningConfig(**runs[name].model) for name in runs if name.startswith("table5")]
    losses = [(config.contrastive_loss_weight, config.classification_loss_weight) for config in configs]
    assert losses == [(0, 0), (1, 0), (0, 1), (1, 1)]
    modules = [(runs[name].tuning.projector, runs[name].tuning.lora_rank) for name in runs if "table6" in name]
    assert modules == [(True, None), (False, 128), (True, 128)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tuning: {lora: 8}", "unknown key tuning.lora; did you mean tuning.lora_rank?"),
        ("tuning: {projector: false, lora_rank: null}", "tuning trains nothing: set tuning.projector=true"),
        ("tuning: {lora_rank: 0}", "tuning needs a lora_rank of at least 1"),
        ("tuning: {lora_dropout: 1}", "tuning.lora_dropout must lie in"),
        ("tuning: {save: all}", "tuning.save must be adapters or merged, got 'all'"),
        ("data: {target: text}", "data.target must be one of"),
        ("optimizer: {projector_learning_rate: 0}", "optimizer.projector_learning_rate must be above 0"),
        ("processor: {size: 3}", "unknown key processor.size"),
        ("start: {tokeniser: a}", "did you mean start.tokenizer?"),
    ],
)
def test_wrong_recipes_are_refused(tmp_path, text, message):
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        fakereasoning_recipe(str(path))


def test_unknown_ablations_are_refused():
    with pytest.raises(ValueError, match="no ablation 'table9': expected one of table4-without-reasoning"):
        fakereasoning_recipe(ablation="table9")
