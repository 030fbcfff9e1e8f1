"""What the training of every model does: arguments, fine-tuning of a checkpoint, resume, and what is saved."""

import json
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import datasets
import torch
from huggingface_hub.errors import StrictDataclassError
from peft import PeftModel
from transformers import PretrainedConfig, Trainer, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint
from transformers.utils import is_torch_bf16_gpu_available

from forgescope.datasets_scripts.features import load_forgery_folder

from .model_card import CARD_FILE
from .recipe import Recipe
from .run_card import RunFacts, write_run_card

# How torch begins the text of an error that a worker raised, and the last line of a traceback up to the error's text.
WORKER_ERROR = "Caught "
ERROR_NAME = re.compile(r"^[\w.]+: ", re.MULTILINE)


def load_splits(data_dir: str | Path) -> dict[str, datasets.Dataset]:
    """The splits `train` and `validation` of a folder that `load_forgery_folder` reads."""
    return {split: load_forgery_folder(data_dir, split) for split in ("train", "validation")}


def training_arguments(recipe: Recipe, output_dir: str, label_names: list[str], **training: Any) -> TrainingArguments:
    """Arguments of a run.

    Args:
        recipe: Its `training` section.
        output_dir: Where checkpoints go.
        label_names: Inputs of the model that are labels.
        **training: Fields of `TrainingArguments` that win over the recipe.

    Raises:
        ValueError: For workers that persist, which would draw the first epoch's crops again and again; for bfloat16
            without a GPU that has it.
    """
    settings = {"dataloader_pin_memory": torch.accelerator.is_available()} | recipe.training | training
    if settings.get("dataloader_persistent_workers"):
        raise ValueError("training.dataloader_persistent_workers must be off: workers learn the epoch when they start")
    if settings.get("bf16") and not settings.get("use_cpu") and not is_torch_bf16_gpu_available():
        raise ValueError(
            f"recipe {recipe.name} computes in bfloat16, and there is no GPU that does: training.bf16=false computes "
            "in float32, training.use_cpu=true in bfloat16 on the processor"
        )
    return TrainingArguments(output_dir=output_dir, remove_unused_columns=False, label_names=label_names, **settings)


def one_gpu_a_process(arguments: TrainingArguments, model_type: str) -> None:
    """Refuse several GPUs in one process, where each gets a copy of the model in every step, whose buffers are lost.

    Raises:
        ValueError: So.
    """
    if arguments.n_gpu > 1:
        raise ValueError(
            f"one process sees {arguments.n_gpu} GPUs: start one a GPU, torchrun --nproc_per_node {arguments.n_gpu} "
            f"-m forgescope train {model_type} ..., or show it one by CUDA_VISIBLE_DEVICES"
        )


def recipe_config(kind: type[PretrainedConfig], recipe: Recipe) -> Any:
    """The configuration of a model that a recipe describes.

    Args:
        kind: Class of the configuration.
        recipe: Its `model` section.

    Raises:
        ValueError: If the configuration refuses a value.
    """
    try:
        return kind(**recipe.model)
    except StrictDataclassError as error:
        raise ValueError(f"recipe {recipe.name}: section model: {error.__cause__ or error}") from error


def change_losses(config: PretrainedConfig, recipe: Recipe, loss_fields: Collection[str]) -> None:
    """Let a recipe change the losses of a checkpoint that is fine-tuned.

    Args:
        config: The checkpoint's; changed in place.
        recipe: Its `model` section.
        loss_fields: Fields that it may change; everything else is the checkpoint's architecture.

    Raises:
        ValueError: If the recipe asks for another network.
    """
    settings = json.loads(config.to_json_string(use_diff=False))
    for key, wanted in json.loads(json.dumps(recipe.model)).items():
        if key in loss_fields:
            setattr(config, key, wanted)
        elif not _agrees(wanted, settings[key]):
            raise ValueError(
                f"recipe {recipe.name} asks for another network than the checkpoint's: model.{key} differs; leave it "
                "out, or start from weights of its encoder alone"
            )


def run_training(
    build: Callable[[], Trainer], output_dir: str, resume: bool = False, facts: RunFacts | None = None
) -> dict[str, float]:
    """Train, keep the best weights, and save model, image processor and model card into `output_dir`.

    A README.md that is there already stays as it is.

    Args:
        build: Makes the trainer.
        output_dir: Its output folder; gets the final checkpoint, `trainer_state.json` and `eval_results.json`.
        resume: Go on from the last checkpoint in `output_dir`.
        facts: For the model card; None: no card.

    Returns:
        Metrics of the last evaluation, with the prefix `eval_`.

    Raises:
        ValueError: If `output_dir` holds checkpoints and `resume` is off, or holds none and it is on; or if an image
            or mask cannot be used.
    """
    last = get_last_checkpoint(output_dir) if Path(output_dir).is_dir() else None
    if last is not None and not resume:
        raise ValueError(f"{output_dir} holds checkpoints of an earlier run; go on with --resume, or choose another")
    if last is None and resume:
        raise ValueError(f"nothing to resume: {output_dir} holds no checkpoint")
    trainer = build()
    try:
        trainer.train(resume_from_checkpoint=last)
        metrics = trainer.evaluate()
    except (ValueError, OSError) as error:
        if not str(error).startswith(WORKER_ERROR):
            raise
        raise ValueError(worker_reason(str(error))) from error
    _save(trainer, Path(output_dir), metrics, facts)
    trainer.accelerator.end_training()
    return metrics


def _save(trainer: Trainer, folder: Path, metrics: dict[str, float], facts: RunFacts | None) -> None:
    """Save the final checkpoint with its state, numbers and card."""
    card = folder / CARD_FILE
    own_card = card.read_bytes() if card.is_file() else None
    trainer.save_model()
    trainer.save_state()
    if not trainer.is_world_process_zero():
        return
    (folder / "eval_results.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    if own_card is not None:
        card.write_bytes(own_card)  # PEFT adds to the card of a folder that it saves adapters in
    elif facts is not None:
        model = trainer.accelerator.unwrap_model(trainer.model)
        model = model.get_base_model() if isinstance(model, PeftModel) else model
        write_run_card(folder, trainer, model, facts, metrics)


def worker_reason(text: str) -> str:
    """What went wrong, from an error that a worker of the data loader raised: its text holds the whole traceback."""
    return ERROR_NAME.split(text)[-1].strip()


def _agrees(wanted: Any, setting: Any) -> bool:
    """Whether a setting is the wanted one; of a section, only the keys that are wanted count."""
    if isinstance(wanted, dict):
        return all(_agrees(value, setting.get(key)) for key, value in wanted.items())
    return wanted == setting
