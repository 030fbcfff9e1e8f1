"""Train FakeReasoning from a recipe: images with answers in four stages in, adapters or a merged checkpoint out."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import datasets
import torch
from transformers import set_seed

from forgescope.modeling.configuration_fakereasoning import FakeReasoningConfig

from .adapters_fakereasoning import TuningConfig, add_adapters
from .base_fakereasoning import StartConfig, base_kind, build_model, build_processor
from .data import EpochCallback
from .data_fakereasoning import FakeReasoningCollator, FakeReasoningDataset
from .held_out import held_out
from .recipe import Recipe, ablation_changes, load_recipe
from .rows_fakereasoning import FakeReasoningDataConfig
from .run_card import run_facts
from .trainer_fakereasoning import FakeReasoningTrainer, OptimizerConfig
from .training_run import one_gpu_a_process, run_training, training_arguments

PROCESSOR_SETTINGS = ("template", "training_template", "max_length")
SETTINGS = {
    "data": FakeReasoningDataConfig,
    "optimizer": OptimizerConfig,
    "start": StartConfig,
    "tuning": TuningConfig,
}


def fakereasoning_recipe(
    name_or_path: str = "fakereasoning", overrides: Iterable[str] = (), ablation: str | None = None
) -> Recipe:
    """Read a recipe for FakeReasoning.

    Args:
        name_or_path: See `load_recipe`.
        overrides: See `load_recipe`.
        ablation: One of the paper's ablations, such as `table5-lm`, laid over the recipe.

    Returns:
        The recipe.

    Raises:
        ValueError: For an unknown ablation, and as `load_recipe`.
    """
    changes = ablation_changes("fakereasoning", ablation)
    model_keys = {entry.name for entry in dataclasses.fields(FakeReasoningConfig)}
    return load_recipe(name_or_path, model_keys, PROCESSOR_SETTINGS, overrides, SETTINGS, changes)


def build_trainer(
    splits: Mapping[str, datasets.Dataset],
    recipe: Recipe,
    output_dir: str,
    base: str | None = None,
    **training: Any,
) -> FakeReasoningTrainer:
    """Put model, adapters, data and arguments together.

    Args:
        splits: Datasets `train` and perhaps `validation`; see `FakeReasoningDataset` and `held_out`.
        recipe: The run.
        output_dir: Where checkpoints go.
        base: See `build_model`.
        **training: Fields of `TrainingArguments` that win over the recipe.

    Returns:
        A trainer, ready for `train()`.

    Raises:
        ValueError: If the data cannot be used, or the recipe's parts do not fit together or to the base.
    """
    arguments = training_arguments(recipe, output_dir, ["labels", "forgery_labels"], **training)
    one_gpu_a_process(arguments, "fakereasoning")  # the queues are buffers
    data, tuning = recipe.data, recipe.tuning
    _check_save(recipe, base)
    if "validation" not in splits:
        splits = held_out(splits["train"], data.validation_rows)
    train_dataset = FakeReasoningDataset(splits["train"], data.target)
    eval_dataset = FakeReasoningDataset(splits["validation"], data.target)
    processor = build_processor(recipe, base)
    set_seed(arguments.seed)  # before the model draws its weights
    # what is frozen is only read: with 16-bit arithmetic it is kept in 16 bits
    dtype = torch.bfloat16 if arguments.bf16 else torch.float32
    model = add_adapters(build_model(recipe, processor, base, dtype), tuning)
    return FakeReasoningTrainer(
        model,
        args=arguments,
        data_collator=FakeReasoningCollator(processor),
        train_dataset=train_dataset,
        eval_dataset=eval_dataset,
        processing_class=processor,
        callbacks=[EpochCallback(train_dataset)],
        optimizer_config=recipe.optimizer,
        save=tuning.save,
    )


def _check_save(recipe: Recipe, base: str | None) -> None:
    """Refuse to save adapters that no checkpoint could be loaded below."""
    below = {"random": "random weights", "llava": recipe.start.dino and "a LLaVA with a second image encoder"}
    lost = below.get(base_kind(base))
    if recipe.tuning.save == "adapters" and lost:
        raise ValueError(f"adapters do not hold what is below them, {lost}: set tuning.save=merged, or give a --base")


def train(
    splits: Mapping[str, datasets.Dataset],
    recipe: Recipe,
    output_dir: str,
    base: str | None = None,
    resume: bool = False,
    **training: Any,
) -> dict[str, float]:
    """Train, and save adapters or the merged model, with the processor, into `output_dir`.

    Args:
        splits: See `build_trainer`.
        recipe: See `build_trainer`.
        output_dir: See `run_training`.
        base: See `build_model`.
        resume: See `run_training`.
        **training: See `build_trainer`.

    Returns:
        Metrics of the last evaluation, keys `eval_accuracy`, `eval_conclusion_found`, ...

    Raises:
        ValueError: As `build_trainer` and `run_training`.
    """
    facts = run_facts(recipe, base, splits, training)
    return run_training(lambda: build_trainer(splits, recipe, output_dir, base, **training), output_dir, resume, facts)
