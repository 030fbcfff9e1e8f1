"""Train DiffSeg30k's baselines from a recipe: images with masks of editors in, checkpoint with image processor out."""

import dataclasses
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
from transformers import PretrainedConfig, set_seed

from forgescope.modeling.configuration_diffseg import MASK_STRIDES, DiffSegConfig
from forgescope.modeling.modeling_diffseg import DiffSegForEditSegmentation
from forgescope.processing.image_processing_forgery import ForgeryImageProcessor

from .augmentation import AugmentationConfig
from .data import EpochCallback, ForgeryCollator, ForgeryDataset
from .data_diffseg import drawn_photographs, edit_rows
from .high_pass_start import StartConfig, first_convolution, start_with_high_pass
from .recipe import Recipe, ablation_changes, available_recipes, load_recipe
from .rows_diffseg import DiffSegDataConfig
from .run_card import run_facts
from .synchronized_norm import synchronize_batch_norm
from .trainer_diffseg import DiffSegTrainer, OptimizerConfig
from .training_run import change_losses, recipe_config, run_training, training_arguments

logger = logging.getLogger(__name__)

ARCHITECTURES = tuple(MASK_STRIDES)
DEFAULT_ARCHITECTURE = "segformer"
# Weights of encoders that were trained on ImageNet, for the warning of a run that starts without any.
IMAGENET_WEIGHTS = {"segformer": "nvidia/mit-b2", "deeplabv3plus": "resnet50.a1_in1k", "fcn8s": "vgg16.tv_in1k"}
SETTINGS = {
    "augmentation": AugmentationConfig,
    "data": DiffSegDataConfig,
    "optimizer": OptimizerConfig,
    "start": StartConfig,
}


def diffseg_recipe(
    name_or_path: str = "diffseg",
    overrides: Iterable[str] = (),
    ablation: str | None = None,
    architecture: str | None = None,
    task: str | None = None,
) -> Recipe:
    """Read a recipe for a baseline.

    Args:
        name_or_path: A family of recipes with one for each architecture (`diffseg`: `diffseg-segformer`, ...), or one
            recipe, see `load_recipe`.
        overrides: See `load_recipe`.
        ablation: A row of the paper's Table 4, such as `table4-flux-hunyuan`, laid over the recipe.
        architecture: `segformer`, `deeplabv3plus` or `fcn8s`; of a family by default `segformer`, else the recipe's.
        task: `semantic` or `binary`; by default the recipe's.

    Returns:
        The recipe.

    Raises:
        ValueError: For an unknown architecture or ablation, and as `load_recipe`.
    """
    if architecture is not None and architecture not in ARCHITECTURES:
        raise ValueError(f"no architecture {architecture!r}: expected one of {', '.join(ARCHITECTURES)}")
    chosen = [] if task is None else [f"model.task={task}"]
    if f"{name_or_path}-{DEFAULT_ARCHITECTURE}" in available_recipes():
        name_or_path = f"{name_or_path}-{architecture or DEFAULT_ARCHITECTURE}"
    elif architecture is not None:
        chosen.append(f"model.architecture={architecture}")
    model_keys = {entry.name for entry in dataclasses.fields(DiffSegConfig)}
    processor_keys = set(ForgeryImageProcessor().to_dict()) - {"image_processor_type"}
    changes = ablation_changes("diffseg", ablation)
    return load_recipe(name_or_path, model_keys, processor_keys, [*chosen, *overrides], SETTINGS, changes)


def names_timm_model(base: str, architecture: str) -> bool:
    """Whether `base` is a timm model or a file of its weights, rather than a checkpoint in a folder or on the Hub."""
    if architecture == DEFAULT_ARCHITECTURE or Path(base).is_dir():
        return False
    return Path(base).is_file() or "/" not in base


def model_config(recipe: Recipe, base: str | None = None) -> DiffSegConfig:
    """Configuration of the model that `build_model` makes: that of a baseline's checkpoint, else the recipe's.

    Raises:
        ValueError: If `base` is a checkpoint of another kind or of another network than the recipe's.
        OSError: If `base` is neither a folder nor a reachable Hub id.
    """
    config = recipe_config(DiffSegConfig, recipe)
    if base is None or names_timm_model(base, config.architecture):
        return config
    model_type = PretrainedConfig.get_config_dict(base)[0].get("model_type")
    if model_type == "diffseg":
        config = DiffSegConfig.from_pretrained(base)
        change_losses(config, recipe, ())
        return config
    if model_type == "segformer" and config.architecture == "segformer":
        return config
    expected = "segformer" if config.architecture == "segformer" else f"a timm model ({config.backbone})"
    raise ValueError(
        f"{base} is a checkpoint of type {model_type!r}; {config.architecture} needs diffseg or {expected}"
    )


def build_model(recipe: Recipe, base: str | None = None) -> DiffSegForEditSegmentation:
    """Make the model to train.

    Args:
        recipe: Its `model` section configures the network.
        base: Where the weights come from: weights of the encoder (a SegFormer checkpoint; for the CNNs a timm model
            such as `resnet50.a1_in1k`, or a file of its weights), a baseline's checkpoint (fine-tuned as it is), or
            None (random).

    Returns:
        The model.

    Raises:
        ValueError: If `base` is a checkpoint of another kind, or the recipe asks for another network.
        OSError: If `base` is neither a folder nor a reachable Hub id.
    """
    config = model_config(recipe, base)
    if base is None:
        weights = IMAGENET_WEIGHTS[config.architecture]
        logger.warning("training from random weights; --base %s starts from ImageNet, as is usual", weights)
        model = DiffSegForEditSegmentation(config)
        start_with_high_pass(first_convolution(model.segmenter), recipe.start)
        return model
    if names_timm_model(base, config.architecture):
        return DiffSegForEditSegmentation.from_pretrained_backbone(config, base)
    if PretrainedConfig.get_config_dict(base)[0]["model_type"] == "segformer":
        return DiffSegForEditSegmentation.from_pretrained_backbone(config, base, dtype="float32")
    return DiffSegForEditSegmentation.from_pretrained(base, config=config, dtype="float32")


def build_trainer(
    splits: Mapping[str, datasets.Dataset],
    recipe: Recipe,
    output_dir: str,
    base: str | None = None,
    photographs: Sequence[Path] = (),
    **training: Any,
) -> DiffSegTrainer:
    """Put model, data and arguments together.

    Args:
        splits: Datasets `train` and `validation` with the columns `image` and `mask`; see `edit_rows`.
        recipe: The run.
        output_dir: Where checkpoints go.
        base: See `build_model`.
        photographs: Untouched ones, of which the recipe's number is added to the training set.
        **training: Fields of `TrainingArguments` that win over the recipe.

    Returns:
        A trainer, ready for `train()`.

    Raises:
        ValueError: If the data cannot be used, or the recipe's parts do not fit together.
    """
    arguments = training_arguments(recipe, output_dir, ["labels"], **training)
    set_seed(arguments.seed)  # before the model draws its weights
    data: DiffSegDataConfig = recipe.data
    config = model_config(recipe, base)
    processor = edit_processor(recipe, config)
    if data.held_out_editors and config.task != "binary":
        raise ValueError(
            "data.held_out_editors needs model.task=binary: no class could be learnt for an editor that is held out"
        )
    editors = tuple(config.id2editor)
    negatives = drawn_photographs(photographs, data.negatives, arguments.seed)
    train_rows = edit_rows(splits["train"], data, editors, is_training=True, negatives=negatives)
    eval_rows = edit_rows(splits["validation"], data, editors, is_training=False)
    augmentation = recipe.augmentation
    train_dataset = ForgeryDataset(train_rows, augmentation, seed=arguments.seed)
    model = build_model(recipe, base)
    if arguments.world_size > 1:
        model = synchronize_batch_norm(model, arguments.device)
    return DiffSegTrainer(
        model=model,
        args=arguments,
        # public implementations compare at the resolution of the input, whatever that of the logits is
        data_collator=ForgeryCollator(processor, mask_stride=1),
        train_dataset=train_dataset,
        eval_dataset=ForgeryDataset(eval_rows, eval_crop_size=augmentation.crop_size),
        processing_class=processor,
        callbacks=[EpochCallback(train_dataset)],
        optimizer_config=recipe.optimizer,
    )


def edit_processor(recipe: Recipe, config: DiffSegConfig) -> ForgeryImageProcessor:
    """The image processor of a model: resizes, or keeps the pixels of a model that learns from crops.

    Raises:
        ValueError: If the recipe sets what follows from the model.
    """
    given = sorted(set(recipe.processor) & set(config.processor_settings))
    if given:
        raise ValueError(f"recipe {recipe.name}: processor.{given[0]} follows from the model, leave it out")
    size = recipe.augmentation.crop_size
    settings = {} if size is None else {"do_resize": False, "size": {"height": size, "width": size}}
    return ForgeryImageProcessor(**(settings | recipe.processor | config.processor_settings))


def train(
    splits: Mapping[str, datasets.Dataset],
    recipe: Recipe,
    output_dir: str,
    base: str | None = None,
    resume: bool = False,
    photographs: Sequence[Path] = (),
    **training: Any,
) -> dict[str, float]:
    """Train, keep the best weights, and save model and image processor into `output_dir`.

    Args:
        splits: See `build_trainer`.
        recipe: See `build_trainer`.
        output_dir: See `run_training`.
        base: See `build_model`.
        resume: See `run_training`.
        photographs: See `build_trainer`.
        **training: See `build_trainer`.

    Returns:
        Metrics of the last evaluation, keys `eval_pixel_accuracy`, `eval_mean_iou`, ...

    Raises:
        ValueError: As `build_trainer` and `run_training`.
    """
    facts = run_facts(recipe, base, splits, training)
    return run_training(
        lambda: build_trainer(splits, recipe, output_dir, base, photographs, **training), output_dir, resume, facts
    )
