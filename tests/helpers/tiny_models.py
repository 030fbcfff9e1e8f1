"""Tiny models of every family: one layer a stage, 8 to 32 channels."""

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from forgescope.auto import MODELS

TINY_ENCODER = {
    "depths": (1, 1, 1, 1),
    "hidden_sizes": (8, 16, 24, 32),
    "num_attention_heads": (1, 2, 3, 4),
    "sr_ratios": (4, 2, 1, 1),
    "drop_path_rate": 0.0,
}
# A model that is new in the table needs an entry here; the tests of every model then run over it.
TINY_SETTINGS: dict[str, dict[str, Any]] = {
    "iclnet": {"encoder_config": TINY_ENCODER, "head_hidden_sizes": (16, 16, 8, 8)},
    "gamma": {"encoder_config": TINY_ENCODER, "decoder_hidden_size": 24, "num_attention_heads": 3},
    "diffseg": {"encoder_config": TINY_ENCODER, "decoder_hidden_size": 16},
}


def tiny_config(model_type: str, **settings: Any) -> PreTrainedConfig:
    """Make a tiny configuration; keyword arguments replace its settings."""
    return MODELS[model_type].config(**TINY_SETTINGS[model_type] | settings)


def tiny_model(model_type: str, **settings: Any) -> PreTrainedModel:
    """Make a tiny task model in evaluation mode, the same at every call; keyword arguments as in `tiny_config`."""
    torch.manual_seed(0)
    return drawn(MODELS[model_type].task_model(tiny_config(model_type, **settings)).eval())


def drawn(model: nn.Module) -> nn.Module:
    """Change every trained parameter, and the statistics of batch normalisation.

    Random initialisation leaves biases at zero and norms at one, with which a forgotten one does not show.
    """
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in (one for one in model.parameters() if one.requires_grad):
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
        for module in (one for one in model.modules() if isinstance(one, nn.BatchNorm2d)):
            module.running_mean.copy_(0.2 * torch.randn(module.num_features, generator=generator))
            module.running_var.copy_(0.5 + torch.rand(module.num_features, generator=generator))
    return model


def tiny_targets(model_type: str) -> dict[str, torch.Tensor]:
    """Targets of two images of 64 x 64 pixels, as the model's `forward` takes them: a square in each mask."""
    masks = torch.zeros(2, 16, 16, dtype=torch.long)
    masks[0, 3:9, 2:12] = 1
    masks[1, 8:, 8:] = 1
    if model_type == "gamma":
        return {"labels": torch.tensor([1, 0]), "manipulation_mask": masks, "ai_mask": masks.flip(2)}
    return {"labels": masks}
