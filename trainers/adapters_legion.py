"""Which parts of LEGION are trained in stage 1 (section 5.1): LoRA on the language model, and four modules in full."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from peft import PeftModel

from forgescope.modeling.configuration_legion import LegionConfig
from forgescope.modeling.modeling_legion import LegionForGroundedExplanation

from .adapters import AdapterConfig, checkpoint_below, merge, wrap

# Queries and values of the language model. Their last names alone would also hit CLIP's and SAM's.
LANGUAGE_MODEL_QUERIES_AND_VALUES = r"model\.language_model\.layers\.\d+\.self_attn\.(q|v)_proj"
# Part -> end of the name of its module. The published code trains these; the vision-language projector stays frozen.
WHOLE_MODULES = {
    "lm_head": "lm_head",
    "embeddings": "language_model.embed_tokens",
    "mask_decoder": "grounding.mask_decoder",
    "prompt_projector": "prompt_projector",
}
DETECTION_HEAD = "detection_head"


@dataclass(frozen=True)
class LegionTuningConfig(AdapterConfig):
    """LoRA of the language model's queries and values, and what is saved.

    Args:
        lora_rank: Rank; not given in the paper, 8 in the published code. None trains the four modules alone.
        lora_alpha: Scaling factor (8 in section 5.1, 16 in the published code).
        lora_dropout: Share of a LoRA's inputs that are dropped; not given in the paper, 0.05 in the published code.
        save: See `AdapterConfig`.
    """

    lora_rank: int | None = 8
    lora_alpha: float = 8
    lora_dropout: float = 0.05
    save: Literal["adapters", "merged"] = "adapters"


def add_adapters(model: LegionForGroundedExplanation, settings: LegionTuningConfig) -> PeftModel:
    """Freeze a model but for what stage 1 trains; see `wrap`."""
    return wrap(model, settings, LANGUAGE_MODEL_QUERIES_AND_VALUES, list(WHOLE_MODULES.values()))


def add_detection_adapter(model: LegionForGroundedExplanation) -> PeftModel:
    """Freeze a model but for the detection head, which stage 2 trains; see `wrap`."""
    settings = LegionTuningConfig(lora_rank=None, save="merged")
    return wrap(model, settings, LANGUAGE_MODEL_QUERIES_AND_VALUES, [DETECTION_HEAD])


def trainable_parameters(model: torch.nn.Module) -> dict[str, int]:
    """Number of trained parameters by part: `lora`, those of `WHOLE_MODULES`, and `detection_head`."""
    fragments = {"lora": ".lora_", **{part: f"{name}." for part, name in WHOLE_MODULES.items()}}
    fragments[DETECTION_HEAD] = f"{DETECTION_HEAD}."
    trained = [(name, one.numel()) for name, one in model.named_parameters() if one.requires_grad]
    return {part: sum(count for name, count in trained if fragment in name) for part, fragment in fragments.items()}


def load_adapters(folder: str | Path, **kwargs: Any) -> LegionForGroundedExplanation:
    """Load the checkpoint that adapters were trained on, and merge them into it.

    Args:
        folder: As the trainer saves it with `tuning.save=adapters`.
        **kwargs: Passed on to `from_pretrained` of the checkpoint (`dtype`, `device_map`, ...).

    Returns:
        The model in evaluation mode.

    Raises:
        ValueError: If the folder holds no adapters.
        OSError: If their checkpoint is neither a folder nor a reachable Hub id.
    """
    base, config = checkpoint_below(folder), LegionConfig.from_pretrained(folder)
    return merge(LegionForGroundedExplanation.from_pretrained(base, config=config, **kwargs), folder)
