"""Which parts of FakeReasoning are trained: LoRA on the language model, the projector in full (section 5.1, Table 6).

See `adapters.py` on what is saved.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from peft import PeftModel

from forgescope.modeling.configuration_fakereasoning import FakeReasoningConfig
from forgescope.modeling.modeling_fakereasoning import FakeReasoningForConditionalGeneration

from .adapters import AdapterConfig, checkpoint_below, checkpoint_type, merge, wrap

# Linear layers of the language model. A list of their last names would also hit CLIP's and DINOv2's.
LANGUAGE_MODEL_LINEARS = r"model\.language_model\.layers\.\d+\.(self_attn\.(q|k|v|o)_proj|mlp\.(gate|up|down)_proj)"
PROJECTOR_MODULES = ("multi_modal_projector", "dino_projector", "fusion")
# Model types of checkpoints that are trained on.
BASES = ("llava", "fakereasoning")
TEMPERATURE_MODULES = ("forgery_contrast", "probability_mapper")


@dataclass(frozen=True)
class TuningConfig(AdapterConfig):
    """Which parts are trained, and what of them is saved.

    Args:
        lora_rank: Rank of the language model's LoRA (128 in section 5.1); None leaves the language model as it is.
        lora_alpha: Scaling factor (256 in section 5.1).
        lora_dropout: Share of a LoRA's inputs that are dropped; not given in the paper, 0.05 in the published code.
        save: See `AdapterConfig`.
        projector: Whether the projector is trained, with the later design also the second one and the fusion. The
            temperatures of both losses always are, as far as the model's configuration has them trained.
    """

    lora_rank: int | None = 128
    lora_alpha: float = 256
    lora_dropout: float = 0.0
    save: Literal["adapters", "merged"] = "adapters"
    projector: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.projector and self.lora_rank is None:
            raise ValueError("tuning trains nothing: set tuning.projector=true, or tuning.lora_rank")


def add_adapters(model: FakeReasoningForConditionalGeneration, settings: TuningConfig) -> PeftModel:
    """Freeze a model but for the parts that are trained.

    Args:
        model: Changed in place; its weights may be in 16 bits.
        settings: Which parts.

    Returns:
        The wrapped model, its trained weights in float32.
    """
    return wrap(model, settings, LANGUAGE_MODEL_LINEARS, _whole_modules(model, settings.projector))


def _whole_modules(model: FakeReasoningForConditionalGeneration, projector: bool) -> list[str]:
    """Modules that are trained in full, those that have no trained parameter left out."""
    modules = {name: getattr(model.model, name, None) for name in (PROJECTOR_MODULES if projector else ())}
    modules |= {name: getattr(model, name, None) for name in TEMPERATURE_MODULES}
    return [name for name, module in modules.items() if module is not None and list(module.parameters())]


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
    base, config = checkpoint_below(folder), FakeReasoningConfig.from_pretrained(folder)
    if checkpoint_type(base, BASES) == "llava":
        model = FakeReasoningForConditionalGeneration.from_llava(base, config, **kwargs)
    else:
        model = FakeReasoningForConditionalGeneration.from_pretrained(base, config=config, **kwargs)
    return merge(model, folder)
