"""Adapters of a large model: LoRA on layers of its language model, some modules in full, everything else frozen.

A folder of adapters holds what was trained, the configuration and the processor, and names the checkpoint that it was
trained on. Everything goes through PEFT, also where no LoRA is trained.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils.constants import DUMMY_TARGET_MODULES
from transformers import PretrainedConfig, PreTrainedModel
from transformers.integrations import is_deepspeed_zero3_enabled

from .trainer_loss_parts import LossPartsTrainer

logger = logging.getLogger(__name__)

ADAPTER_CONFIG = "adapter_config.json"


@dataclass(frozen=True)
class AdapterConfig:
    """LoRA, and what is saved.

    Args:
        lora_rank: Rank; None trains no LoRA.
        lora_alpha: Scaling factor: a LoRA's output counts lora_alpha / lora_rank times.
        lora_dropout: Share of a LoRA's inputs that are dropped.
        save: `adapters` saves what was trained and names the checkpoint below it, `merged` a whole model.
    """

    lora_rank: int | None
    lora_alpha: float
    lora_dropout: float
    save: Literal["adapters", "merged"]

    def __post_init__(self) -> None:
        if self.lora_rank is not None and (self.lora_rank < 1 or self.lora_alpha <= 0):
            raise ValueError(
                f"tuning needs a lora_rank of at least 1 (or null) and a lora_alpha above 0, got {self.lora_rank} and "
                f"{self.lora_alpha}"
            )
        if not 0 <= self.lora_dropout < 1:
            raise ValueError(f"tuning.lora_dropout must lie in [0, 1), got {self.lora_dropout}")
        if self.save not in ("adapters", "merged"):
            raise ValueError(f"tuning.save must be adapters or merged, got {self.save!r}")


def adapters_of(model_type: str) -> ModuleType:
    """The module that loads the adapters of a model type.

    Raises:
        ValueError: Models of this type are trained without adapters.
    """
    name = f".adapters_{model_type}"
    if find_spec(name, __package__) is None:
        raise ValueError(
            f"a model of type '{model_type}' cannot be loaded from adapters ({ADAPTER_CONFIG}): merge them into their "
            "checkpoint (merge_and_unload of PEFT), and save that"
        )
    return import_module(name, __package__)


def wrap(model: PreTrainedModel, settings: AdapterConfig, lora_layers: str, whole_modules: Sequence[str]) -> PeftModel:
    """Freeze a model but for the parts that are trained.

    Args:
        model: Changed in place; its weights may be in 16 bits.
        settings: Of the LoRA.
        lora_layers: Regular expression of the linear layers that get one. A list of their last names would also hit
            those of image encoders.
        whole_modules: Ends of the names of modules that are trained in full.

    Returns:
        The wrapped model, its trained weights in float32.
    """
    rank = settings.lora_rank
    config = LoraConfig(
        # with these targets PEFT puts no LoRA anywhere, and trains whole modules alone
        target_modules=DUMMY_TARGET_MODULES if rank is None else lora_layers,
        r=rank or 1,
        lora_alpha=settings.lora_alpha,  # type: ignore[arg-type]  # fractions too
        lora_dropout=settings.lora_dropout,
        bias="none",
        modules_to_save=list(whole_modules),
    )
    wrapped = get_peft_model(model, config)
    for parameter in wrapped.parameters():
        if parameter.requires_grad and parameter.dtype.itemsize < torch.float32.itemsize:
            parameter.data = parameter.data.float()
    trained = sum(parameter.numel() for parameter in wrapped.parameters() if parameter.requires_grad)
    logger.info("trained parameters: %s", f"{trained:,}")
    return wrapped


def checkpoint_type(base: str, expected: Sequence[str]) -> str:
    """Model type of a whole checkpoint.

    Args:
        base: Folder or Hub id.
        expected: Model types that can be trained on.

    Raises:
        ValueError: If it is a checkpoint of another type, or a folder of adapters.
        OSError: If it is neither a folder nor a reachable Hub id.
    """
    model_type = PretrainedConfig.get_config_dict(base)[0].get("model_type")
    if model_type not in expected:
        raise ValueError(f"{base} is a checkpoint of type {model_type!r}; expected {' or '.join(expected)}")
    if (Path(base) / ADAPTER_CONFIG).is_file():
        raise ValueError(
            f"{base} holds adapters alone: merge them first, load_adapters({base!r}).save_pretrained(...)"
        )
    return str(model_type)


def checkpoint_below(folder: str | Path) -> str:
    """Folder or Hub id of the checkpoint that adapters were trained on.

    Raises:
        ValueError: If the folder holds no adapters.
    """
    path = Path(folder) / ADAPTER_CONFIG
    if not path.is_file():
        raise ValueError(f"{folder} holds no adapters: expected a file {ADAPTER_CONFIG}")
    return str(json.loads(path.read_text(encoding="utf-8"))["base_model_name_or_path"])


def merge(model: PreTrainedModel, folder: str | Path) -> Any:
    """Merge the adapters of a folder into the checkpoint that they were trained on; in evaluation mode."""
    return PeftModel.from_pretrained(model, str(folder)).merge_and_unload().eval()


class AdapterTrainer(LossPartsTrainer):
    """A `LossPartsTrainer` of a model that `wrap` made; checkpoints of the run are adapters.

    Args:
        model: What `wrap` gives.
        *args: As `Trainer`.
        save: `adapters` or `merged`: what `save_model` writes at the end.
        **kwargs: As `Trainer`.

    Raises:
        ValueError: If a model is to be merged whose weights lie in shards (FSDP, ZeRO-3): no process has all of them.
    """

    def __init__(self, model: PeftModel, *args: Any, save: Literal["adapters", "merged"] = "adapters", **kwargs: Any):
        super().__init__(model, *args, **kwargs)
        if save == "merged" and (self.is_fsdp_enabled or is_deepspeed_zero3_enabled()):
            raise ValueError(
                "weights in shards cannot be merged: train with DDP, or set tuning.save=adapters and merge them "
                "afterwards, load_adapters(...).save_pretrained(...)"
            )
        self.save = save

    def _save(self, output_dir: str | None = None, state_dict: dict[str, torch.Tensor] | None = None) -> None:
        super()._save(output_dir, state_dict)
        # adapters alone do not say what the network above them is
        model = self.accelerator.unwrap_model(self.model).get_base_model()
        model.config.architectures = [type(model).__name__]
        model.config.save_pretrained(output_dir or self.args.output_dir)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save adapters, or at the end of training a whole model, with the processor.

        Merging ends the training: the adapters are part of the weights afterwards.
        """
        if _internal_call or self.save == "adapters":
            super().save_model(output_dir, _internal_call)
        elif self.args.should_save:
            folder = Path(output_dir or self.args.output_dir)
            folder.mkdir(parents=True, exist_ok=True)
            self.accelerator.unwrap_model(self.model).merge_and_unload().save_pretrained(folder)
            self.processing_class.save_pretrained(folder)
