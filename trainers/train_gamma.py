"""Train GAMMA from a recipe: images with labels and two masks in, checkpoint with image processor out."""

import dataclasses
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import datasets
from transformers import EarlyStoppingCallback, IntervalStrategy, PretrainedConfig, TrainerCallback, set_seed

from forgescope.modeling.configuration_gamma import GammaConfig
from forgescope.modeling.modeling_gamma import GammaForDetection
from forgescope.processing.image_processing_forgery import ForgeryImageProcessor

from .augmentation_cnndetection import CNNDetectionAugmentation
from .data import EpochCallback
from .data_gamma import GammaCollator, GammaDataset
from .high_pass_start import StartConfig, first_convolution, start_with_high_pass
from .recipe import Recipe, ablation_changes, load_recipe
from .rows_gamma import MASK_COLUMNS, GammaDataConfig, row_tasks
from .run_card import run_facts
from .synchronized_norm import synchronize_batch_norm
from .trainer_gamma import GammaTrainer
from .training_run import change_losses, recipe_config, run_training, training_arguments

logger = logging.getLogger(__name__)

# What a recipe may change in a checkpoint that is fine-tuned; everything else is its architecture.
LOSS_FIELDS = ("classification_loss_weight", "ai_loss_weight", "manipulation_loss_weight")


@dataclass(frozen=True)
class EarlyStopping:
    """When to stop (section 5.1), by the metric that `training.metric_for_best_model` names.

    Args:
        patience: Evaluations in a row without progress after which training stops; None never stops.
        delta: An evaluation makes progress when it is better than the best one so far by more than this.
    """

    patience: int | None = 5
    delta: float = 0.01

    def __post_init__(self) -> None:
        if (self.patience is not None and self.patience < 1) or self.delta < 0:
            raise ValueError(
                f"early_stopping needs a patience of at least 1 (or null) and a delta of at least 0, got "
                f"{self.patience} and {self.delta}"
            )


SETTINGS = {
    "augmentation": CNNDetectionAugmentation,
    "data": GammaDataConfig,
    "early_stopping": EarlyStopping,
    "start": StartConfig,
}


def gamma_recipe(name_or_path: str = "gamma", overrides: Iterable[str] = (), ablation: str | None = None) -> Recipe:
    """Read a recipe for GAMMA.

    Args:
        name_or_path: See `load_recipe`.
        overrides: See `load_recipe`.
        ablation: One of the paper's ablations, such as `table8-none`, laid over the recipe.

    Returns:
        The recipe.

    Raises:
        ValueError: For an unknown ablation, and as `load_recipe`.
    """
    changes = ablation_changes("gamma", ablation)
    model_keys = {entry.name for entry in dataclasses.fields(GammaConfig)}
    processor_keys = set(ForgeryImageProcessor().to_dict()) - {"image_processor_type"}
    return load_recipe(name_or_path, model_keys, processor_keys, overrides, SETTINGS, changes)


def build_model(recipe: Recipe, base: str | None = None) -> GammaForDetection:
    """Make the model to train.

    Args:
        recipe: Its `model` section configures the network.
        base: Where the weights come from: a SegFormer checkpoint (fills the encoder), a GAMMA checkpoint (fine-tuned
            as it is; the recipe's model section changes loss weights only), or None (random).

    Returns:
        The model.

    Raises:
        ValueError: If `base` is a checkpoint of another kind, or the recipe asks for another network.
        OSError: If `base` is neither a folder nor a reachable Hub id.
    """
    if base is None:
        logger.warning("training from random weights; --base nvidia/mit-b2 starts where the paper starts")
        model = GammaForDetection(recipe_config(GammaConfig, recipe))
        start_with_high_pass(first_convolution(model.base_model.encoder), recipe.start)
        return model
    model_type = PretrainedConfig.get_config_dict(base)[0].get("model_type")
    if model_type == "segformer":
        return GammaForDetection.from_segformer(base, recipe_config(GammaConfig, recipe), dtype="float32")
    if model_type == "gamma":
        config = GammaConfig.from_pretrained(base)
        change_losses(config, recipe, LOSS_FIELDS)
        return GammaForDetection.from_pretrained(base, config=config, dtype="float32")
    raise ValueError(f"{base} is a checkpoint of type {model_type!r}; expected segformer or gamma")


def build_trainer(
    splits: Mapping[str, datasets.Dataset],
    recipe: Recipe,
    output_dir: str,
    base: str | None = None,
    **training: Any,
) -> GammaTrainer:
    """Put model, data and arguments together.

    Args:
        splits: Datasets `train` and `validation`; see `GammaDataset`.
        recipe: The run.
        output_dir: Where checkpoints go.
        base: See `build_model`.
        **training: Fields of `TrainingArguments` that win over the recipe.

    Returns:
        A trainer, ready for `train()`.

    Raises:
        ValueError: If the data cannot be used, lack a kind that the recipe names, or early stopping has no evaluation.
    """
    # without it a resumed run would count the evaluations without progress from 0 again
    training = {"restore_callback_states_from_checkpoint": True} | training
    arguments = training_arguments(recipe, output_dir, ["labels", *MASK_COLUMNS], **training)
    set_seed(arguments.seed)  # before the model draws its weights
    data: GammaDataConfig = recipe.data
    _check_kinds(splits["train"], data)
    train_dataset = GammaDataset(splits["train"], data, recipe.augmentation, seed=arguments.seed)
    model = build_model(recipe, base)
    if arguments.world_size > 1:
        model = synchronize_batch_norm(model, arguments.device)
    processor = crop_processor(recipe)
    return GammaTrainer(
        model=model,
        args=arguments,
        data_collator=GammaCollator(processor),
        train_dataset=train_dataset,
        eval_dataset=GammaDataset(splits["validation"], data),
        processing_class=processor,
        callbacks=[EpochCallback(train_dataset), *_early_stopping(recipe.early_stopping, arguments.eval_strategy)],
        epoch_fraction=data.epoch_fraction,
    )


def crop_processor(recipe: Recipe) -> ForgeryImageProcessor:
    """The image processor of a model that learns from crops: images below their size are enlarged, others are not."""
    size = recipe.data.crop_size
    settings = {"do_resize": False, "size": {"height": size, "width": size}, "smallest_edge": size}
    return ForgeryImageProcessor(**(settings | recipe.processor))


def train(
    splits: Mapping[str, datasets.Dataset],
    recipe: Recipe,
    output_dir: str,
    base: str | None = None,
    resume: bool = False,
    **training: Any,
) -> dict[str, float]:
    """Train, keep the best weights, and save model and image processor into `output_dir`.

    Args:
        splits: See `build_trainer`.
        recipe: See `build_trainer`.
        output_dir: See `run_training`.
        base: See `build_model`.
        resume: See `run_training`.
        **training: See `build_trainer`.

    Returns:
        Metrics of the last evaluation, keys `eval_accuracy`, `eval_ai_iou`, ...

    Raises:
        ValueError: As `build_trainer` and `run_training`.
    """
    facts = run_facts(recipe, base, splits, training)
    return run_training(lambda: build_trainer(splits, recipe, output_dir, base, **training), output_dir, resume, facts)


def _check_kinds(rows: datasets.Dataset, data: GammaDataConfig) -> None:
    """Refuse to train without a kind that the recipe names: it would be another ablation."""
    wanted = {*(data.tasks or ()), *data.labels}
    missing = wanted - set(row_tasks(rows)) if wanted else set()
    if missing:
        raise ValueError(
            f"the training data have no image of the kind {', '.join(sorted(missing))}, which the recipe names: add "
            "such images, or change data.tasks and data.labels"
        )


def _early_stopping(settings: EarlyStopping, strategy: IntervalStrategy) -> list[TrainerCallback]:
    if settings.patience is None:
        return []
    if strategy == IntervalStrategy.NO:
        raise ValueError(
            "early stopping needs evaluations: set training.eval_strategy=epoch, or early_stopping.patience=null"
        )
    return [EarlyStoppingCallback(settings.patience, settings.delta)]
