"""Train ICL-Net from a recipe: data folder in, checkpoint with image processor out."""

import dataclasses
import logging
from collections.abc import Iterable
from typing import Any

from transformers import PretrainedConfig, set_seed

from forgescope.datasets_scripts.features import load_forgery_folder
from forgescope.modeling.configuration_iclnet import ICLNetConfig
from forgescope.modeling.modeling_iclnet import ICLNetForForgerySegmentation
from forgescope.processing.image_processing_forgery import ForgeryImageProcessor

from .data import EpochCallback, ForgeryCollator, ForgeryDataset
from .recipe import Recipe, load_recipe
from .run_card import run_facts
from .trainer_iclnet import ICLNetTrainer
from .training_run import change_losses, recipe_config, run_training, training_arguments

logger = logging.getLogger(__name__)

# What a recipe may change in a checkpoint that is fine-tuned; everything else is its architecture.
LOSS_FIELDS = (
    "use_contrastive_loss",
    "contrastive_loss_weight",
    "dice_loss_weight",
    "focal_loss_weight",
    "contrastive_temperature",
    "contrastive_mode",
    "max_contrastive_vectors",
    "normalize_negatives",
    "focal_gamma",
    "focal_alpha",
    "dice_smooth",
)


def iclnet_recipe(name_or_path: str = "iclnet", overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe for ICL-Net; see `load_recipe`."""
    model_keys = {entry.name for entry in dataclasses.fields(ICLNetConfig)}
    processor_keys = set(ForgeryImageProcessor().to_dict()) - {"image_processor_type"}
    return load_recipe(name_or_path, model_keys, processor_keys, overrides)


def build_model(recipe: Recipe, base: str | None = None) -> ICLNetForForgerySegmentation:
    """Make the model to train.

    Args:
        recipe: Its `model` section configures the network.
        base: Where the weights come from: a SegFormer checkpoint (fills the streams), an ICL-Net checkpoint
            (fine-tuned as it is; the recipe's model section changes losses only), or None (random).

    Returns:
        The model.

    Raises:
        ValueError: If `base` is a checkpoint of another kind.
        OSError: If `base` is neither a folder nor a reachable Hub id.
    """
    if base is None:
        logger.warning("training from random weights; --base nvidia/mit-b4 starts where the paper starts")
        return ICLNetForForgerySegmentation(recipe_config(ICLNetConfig, recipe))
    model_type = PretrainedConfig.get_config_dict(base)[0].get("model_type")
    if model_type == "segformer":
        return ICLNetForForgerySegmentation.from_segformer(base, recipe_config(ICLNetConfig, recipe))
    if model_type == "iclnet":
        config = ICLNetConfig.from_pretrained(base)
        change_losses(config, recipe, LOSS_FIELDS)
        return ICLNetForForgerySegmentation.from_pretrained(base, config=config, dtype="float32")
    raise ValueError(f"{base} is a checkpoint of type {model_type!r}; expected segformer or iclnet")


def build_trainer(
    data_dir: str, recipe: Recipe, output_dir: str, base: str | None = None, **training: Any
) -> ICLNetTrainer:
    """Put model, data and arguments together.

    Args:
        data_dir: Folder that `load_forgery_folder` reads; its `validation` split is evaluated on.
        recipe: The run.
        output_dir: Where checkpoints go.
        base: See `build_model`.
        **training: Fields of `TrainingArguments` that win over the recipe.

    Returns:
        A trainer, ready for `train()`.
    """
    arguments = training_arguments(recipe, output_dir, ["labels"], **training)
    set_seed(arguments.seed)  # before the model draws its weights
    processor = ForgeryImageProcessor(**recipe.processor)
    augmentation = recipe.augmentation
    train_dataset = ForgeryDataset(load_forgery_folder(data_dir, "train"), augmentation, seed=arguments.seed)
    return ICLNetTrainer(
        model=build_model(recipe, base),
        args=arguments,
        data_collator=ForgeryCollator(processor),
        train_dataset=train_dataset,
        eval_dataset=ForgeryDataset(
            load_forgery_folder(data_dir, "validation"), eval_crop_size=augmentation.crop_size
        ),
        processing_class=processor,
        callbacks=[EpochCallback(train_dataset)],
    )


def train(
    data_dir: str, recipe: Recipe, output_dir: str, base: str | None = None, resume: bool = False, **training: Any
) -> dict[str, float]:
    """Train, keep the best weights, and save model and image processor into `output_dir`.

    Args:
        data_dir: See `build_trainer`.
        recipe: See `build_trainer`.
        output_dir: Gets the final checkpoint, `trainer_state.json` and `eval_results.json`.
        base: See `build_model`.
        resume: Go on from the last checkpoint in `output_dir`.
        **training: See `build_trainer`.

    Returns:
        Metrics of the last evaluation, keys `eval_f1`, `eval_iou`, ...

    Raises:
        ValueError: If `output_dir` holds checkpoints and `resume` is off, or holds none and it is on.
    """
    facts = run_facts(recipe, base, data_dir, training)
    return run_training(
        lambda: build_trainer(data_dir, recipe, output_dir, base, **training), output_dir, resume, facts
    )
