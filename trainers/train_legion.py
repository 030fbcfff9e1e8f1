"""Train LEGION's stage 1 from a recipe: images with explained masks in, adapters or a merged checkpoint out."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import datasets
import torch
from transformers import set_seed

from forgescope.modeling.configuration_legion import LegionConfig

from .adapters_legion import LegionTuningConfig, add_adapters
from .base_legion import PROCESSOR_SETTINGS, LegionStartConfig, build_model, build_processor
from .data_legion import LegionCollator, LegionDataConfig, LegionDataset
from .held_out import held_out
from .recipe import Recipe, load_recipe
from .run_card import run_facts
from .trainer_legion import LegionTrainer
from .training_run import one_gpu_a_process, run_training, training_arguments

SETTINGS = {"data": LegionDataConfig, "start": LegionStartConfig, "tuning": LegionTuningConfig}


def legion_recipe(name_or_path: str = "legion", overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe for LEGION's stage 1; arguments and errors as `load_recipe`."""
    model_keys = {entry.name for entry in dataclasses.fields(LegionConfig)}
    return load_recipe(name_or_path, model_keys, PROCESSOR_SETTINGS, overrides, SETTINGS)


def build_trainer(
    splits: Mapping[str, datasets.Dataset],
    recipe: Recipe,
    output_dir: str,
    base: str | None = None,
    **training: Any,
) -> LegionTrainer:
    """Put model, adapters, data and arguments together.

    Args:
        splits: Datasets `train` and perhaps `validation`; see `LegionDataset` and `held_out`.
        recipe: The run.
        output_dir: Where checkpoints go.
        base: See `build_model`.
        **training: Fields of `TrainingArguments` that win over the recipe.

    Returns:
        A trainer, ready for `train()`.

    Raises:
        ValueError: If the data cannot be used, or the recipe's parts do not fit together or to the base.
    """
    arguments = training_arguments(recipe, output_dir, ["labels", "masks"], **training)
    one_gpu_a_process(arguments, "legion")  # masks of different sizes cannot be cut into equal parts
    data, tuning = recipe.data, recipe.tuning
    if base is None and tuning.save == "adapters":
        raise ValueError(
            "adapters do not hold what is below them, random weights: set tuning.save=merged, or give a --base"
        )
    if "validation" not in splits:
        splits = held_out(splits["train"], data.validation_rows)
    train_dataset, eval_dataset = (
        LegionDataset(splits[split], data.first_places) for split in ("train", "validation")
    )
    processor = build_processor(recipe, base)
    set_seed(arguments.seed)  # before the model draws its weights
    # what is frozen is only read: with 16-bit arithmetic it is kept in 16 bits
    dtype = torch.bfloat16 if arguments.bf16 else torch.float32
    return LegionTrainer(
        add_adapters(build_model(recipe, processor, base, dtype), tuning),
        args=arguments,
        data_collator=LegionCollator(processor, data.longest_edge),
        train_dataset=train_dataset,
        eval_dataset=eval_dataset,
        processing_class=processor,
        save=tuning.save,
    )


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
        Metrics of the last evaluation, keys `eval_mask_iou`, `eval_mask_mean_iou`, ...

    Raises:
        ValueError: As `build_trainer` and `run_training`.
    """
    facts = run_facts(recipe, base, splits, training)
    return run_training(lambda: build_trainer(splits, recipe, output_dir, base, **training), output_dir, resume, facts)
