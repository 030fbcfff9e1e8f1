"""Train LEGION's stage 2 from a recipe: labelled images in, the checkpoint with a trained detection head out."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import datasets
from transformers import set_seed

from forgescope.modeling.modeling_legion import LegionForGroundedExplanation
from forgescope.processing.processing_legion import LegionProcessor

from .adapters import checkpoint_type
from .adapters_legion import add_detection_adapter
from .class_tokens import ClassTokenCache
from .data_legion_detection import ClassTokenDataset, DetectionDataConfig
from .held_out import held_out
from .recipe import Recipe, load_recipe
from .run_card import run_facts
from .trainer_legion_detection import DetectionHeadTrainer
from .training_run import one_gpu_a_process, run_training, training_arguments

CACHE_FOLDER = "class_tokens"


def detection_recipe(name_or_path: str = "legion-detection", overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe for LEGION's stage 2; arguments and errors as `load_recipe`."""
    return load_recipe(name_or_path, (), (), overrides, {"data": DetectionDataConfig})


def build_trainer(
    splits: Mapping[str, datasets.Dataset],
    recipe: Recipe,
    output_dir: str,
    base: str,
    cache: str | Path | None = None,
    **training: Any,
) -> DetectionHeadTrainer:
    """Compute class tokens where they are missing, and put model, data and arguments together.

    Args:
        splits: Datasets `train` and perhaps `validation`; see `ClassTokenDataset` and `held_out`.
        recipe: The run.
        output_dir: Where checkpoints go; those of the run hold the head alone.
        base: A LEGION checkpoint, whose head is trained on.
        cache: Folder of class tokens, which other runs may share; None: one in `output_dir`.
        **training: Fields of `TrainingArguments` that win over the recipe.

    Returns:
        A trainer, ready for `train()`.

    Raises:
        ValueError: If the data cannot be used, or the base is no LEGION.
        OSError: If the base is neither a folder nor a reachable Hub id.
    """
    arguments = training_arguments(recipe, output_dir, ["forgery_labels"], **training)
    one_gpu_a_process(arguments, "legion-detection")  # or the whole model would be copied to each GPU in every step
    data = recipe.data
    checkpoint_type(base, ("legion",))
    if "validation" not in splits:
        splits = held_out(splits["train"], data.validation_rows)
    processor = LegionProcessor.from_pretrained(base)
    set_seed(arguments.seed)
    model = LegionForGroundedExplanation.from_pretrained(base)
    model.config.detection_head_trained = True  # in what is saved
    model.model.vision_tower.to(arguments.device)
    tokens = ClassTokenCache(cache or Path(output_dir) / CACHE_FOLDER, model, processor)
    train_dataset, eval_dataset = (
        ClassTokenDataset(splits[split], tokens, data.batch_size, arguments.dataloader_num_workers)
        for split in ("train", "validation")
    )
    return DetectionHeadTrainer(
        add_detection_adapter(model),
        args=arguments,
        train_dataset=train_dataset,
        eval_dataset=eval_dataset,
        processing_class=processor,
        save="merged",
    )


def train(
    splits: Mapping[str, datasets.Dataset],
    recipe: Recipe,
    output_dir: str,
    base: str,
    resume: bool = False,
    cache: str | Path | None = None,
    **training: Any,
) -> dict[str, float]:
    """Train the head, keep the best one, and save the whole model with its processor into `output_dir`.

    Args:
        splits: See `build_trainer`.
        recipe: See `build_trainer`.
        output_dir: See `run_training`.
        base: See `build_trainer`.
        resume: See `run_training`.
        cache: See `build_trainer`.
        **training: See `build_trainer`.

    Returns:
        Metrics of the last evaluation, keys `eval_accuracy`, `eval_auc`, ...

    Raises:
        ValueError: As `build_trainer` and `run_training`.
    """
    facts = run_facts(recipe, base, splits, training)
    return run_training(
        lambda: build_trainer(splits, recipe, output_dir, base, cache, **training), output_dir, resume, facts
    )
