"""Which parts of FakeReasoning are trained: LoRA on the language model, the projector in full (section 5.1, Table 6).

A folder of adapters holds what was trained, the configuration and the processor, and names the checkpoint that it was
trained on; `load_adapters` puts both together. Everything goes through PEFT, also where no LoRA is trained.
"""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils.constants import DUMMY_TARGET_MODULES
from transformers import PretrainedConfig

from forgescope.modeling.configuration_fakereasoning import FakeReasoningConfig
from forgescope.modeling.modeling_fakereasoning import FakeReasoningForConditionalGeneration

logger = logging.getLogger(__name__)

# Linear layers of the language model. A list of their last names would also hit CLIP's and DINOv2's.
LANGUAGE_MODEL_LINEARS = r"model\.language_model\.layers\.\d+\.(self_attn\.(q|k|v|o)_proj|mlp\.(gate|up|down)_proj)"
PROJECTOR_MODULES = ("multi_modal_projector", "dino_projector", "fusion")
TEMPERATURE_MODULES = ("forgery_contrast", "probability_mapper")
ADAPTER_CONFIG = "adapter_config.json"


@dataclass(frozen=True)
class TuningConfig:
    """Which parts are trained, and what of them is saved.

    Args:
        projector: Whether the projector is trained, with the later design also the second one and the fusion. The
            temperatures of both losses always are, as far as the model's configuration has them trained.
        lora_rank: Rank of the language model's LoRA (128 in section 5.1); None leaves the language model as it is.
        lora_alpha: Scaling factor (256 in section 5.1).
        lora_dropout: Share of a LoRA's inputs that are dropped; not given in the paper, 0.05 in the published code.
        save: `adapters` saves what was trained and names the checkpoint below it, `merged` a whole model.
    """

    projector: bool = True
    lora_rank: int | None = 128
    lora_alpha: float = 256
    lora_dropout: float = 0.0
    save: Literal["adapters", "merged"] = "adapters"

    def __post_init__(self) -> None:
        if not self.projector and self.lora_rank is None:
            raise ValueError("tuning trains nothing: set tuning.projector=true, or tuning.lora_rank")
        if self.lora_rank is not None and (self.lora_rank < 1 or self.lora_alpha <= 0):
            raise ValueError(
                f"tuning needs a lora_rank of at least 1 (or null) and a lora_alpha above 0, got {self.lora_rank} and "
                f"{self.lora_alpha}"
            )
        if not 0 <= self.lora_dropout < 1:
            raise ValueError(f"tuning.lora_dropout must lie in [0, 1), got {self.lora_dropout}")
        if self.save not in ("adapters", "merged"):
            raise ValueError(f"tuning.save must be adapters or merged, got {self.save!r}")


def add_adapters(model: FakeReasoningForConditionalGeneration, settings: TuningConfig) -> PeftModel:
    """Freeze a model but for the parts that are trained.

    Args:
        model: Changed in place; its weights may be in 16 bits.
        settings: Which parts.

    Returns:
        The wrapped model, its trained weights in float32.
    """
    rank = settings.lora_rank
    config = LoraConfig(
        # with these targets PEFT puts no LoRA anywhere, and trains whole modules alone
        target_modules=DUMMY_TARGET_MODULES if rank is None else LANGUAGE_MODEL_LINEARS,
        r=rank or 1,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        bias="none",
        modules_to_save=_whole_modules(model, settings.projector),
    )
    wrapped = get_peft_model(model, config)
    for parameter in wrapped.parameters():
        if parameter.requires_grad and parameter.dtype.itemsize < torch.float32.itemsize:
            parameter.data = parameter.data.float()
    counts = ", ".join(f"{part} {count:,}" for part, count in trainable_parameters(wrapped).items() if count)
    logger.info("trained parameters: %s", counts)
    return wrapped


def _whole_modules(model: FakeReasoningForConditionalGeneration, projector: bool) -> list[str]:
    """Modules that are trained in full, those that have no trained parameter left out."""
    owners = {name: model.model if name in PROJECTOR_MODULES else model for name in PROJECTOR_MODULES}
    owners |= dict.fromkeys(TEMPERATURE_MODULES, model)
    wanted = (*PROJECTOR_MODULES, *TEMPERATURE_MODULES) if projector else TEMPERATURE_MODULES
    modules = {name: getattr(owners[name], name, None) for name in wanted}
    return [name for name, module in modules.items() if module is not None and any(True for _ in module.parameters())]


def trainable_parameters(model: torch.nn.Module) -> dict[str, int]:
    """Number of trained parameters by part: `projection`, `language_model` (Table 6) and `temperatures`.

    Of the later design the second projector and the fusion count as projection.
    """
    counts = {"projection": 0, "language_model": 0, "temperatures": 0}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            counts[_part_of(name)] += parameter.numel()
    return counts


def projector_parameters(model: torch.nn.Module) -> list[torch.nn.Parameter]:
    """Trained parameters of the projectors; the published code trains the fusion at the main learning rate."""
    projectors = ("multi_modal_projector.", "dino_projector.")
    return [
        parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and any(projector in name for projector in projectors)
    ]


def _part_of(name: str) -> str:
    """Part that a trained parameter belongs to."""
    if ".language_model." in name:
        return "language_model"
    return "temperatures" if any(f"{module}." in name for module in TEMPERATURE_MODULES) else "projection"


def load_adapters(folder: str | Path, **kwargs: Any) -> FakeReasoningForConditionalGeneration:
    """Load the checkpoint that adapters were trained on, and merge them into it.

    Args:
        folder: As the trainer saves it with `tuning.save=adapters`.
        **kwargs: Passed on to `from_pretrained` of the checkpoint (`dtype`, `device_map`, ...).

    Returns:
        The model in evaluation mode.

    Raises:
        ValueError: If the folder holds no adapters, or their checkpoint is of another kind.
        OSError: If their checkpoint is neither a folder nor a reachable Hub id.
    """
    path = Path(folder) / ADAPTER_CONFIG
    if not path.is_file():
        raise ValueError(f"{folder} holds no adapters: expected a file {ADAPTER_CONFIG}")
    base = json.loads(path.read_text(encoding="utf-8"))["base_model_name_or_path"]
    config = FakeReasoningConfig.from_pretrained(folder)
    if PretrainedConfig.get_config_dict(base)[0].get("model_type") == "llava":
        model = FakeReasoningForConditionalGeneration.from_llava(base, config, **kwargs)
    else:
        model = FakeReasoningForConditionalGeneration.from_pretrained(base, config=config, **kwargs)
    return PeftModel.from_pretrained(model, str(folder)).merge_and_unload().eval()
