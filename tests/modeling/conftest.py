"""Tiny models: one layer a stage, 8 to 32 channels."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from forgescope.modeling.configuration_iclnet import ICLNetConfig
from forgescope.modeling.modeling_iclnet import ICLNetForForgerySegmentation

TINY_ENCODER = {
    "depths": (1, 1, 1, 1),
    "hidden_sizes": (8, 16, 24, 32),
    "num_attention_heads": (1, 2, 3, 4),
    "sr_ratios": (4, 2, 1, 1),
    "drop_path_rate": 0.0,
}


@pytest.fixture(scope="session")
def tiny_encoder() -> dict[str, Any]:
    """Settings of a tiny SegFormer."""
    return dict(TINY_ENCODER)


@pytest.fixture
def tiny_config() -> Callable[..., ICLNetConfig]:
    """Make a tiny configuration; keyword arguments replace its settings."""

    def make(**settings: Any) -> ICLNetConfig:
        settings = {"encoder_config": dict(TINY_ENCODER), "head_hidden_sizes": (16, 16, 8, 8)} | settings
        return ICLNetConfig(**settings)

    return make


@pytest.fixture
def tiny_model(tiny_config: Callable[..., ICLNetConfig]) -> Callable[..., ICLNetForForgerySegmentation]:
    """Make a tiny model in evaluation mode, the same at every call; keyword arguments go to the configuration.

    Random initialisation leaves biases at zero and norms at one; they are drawn too, so that a forgotten one shows.
    """

    def make(**settings: Any) -> ICLNetForForgerySegmentation:
        generator = torch.Generator().manual_seed(0)
        torch.manual_seed(0)
        model = ICLNetForForgerySegmentation(tiny_config(**settings)).eval()
        with torch.no_grad():
            for parameter in (one for one in model.parameters() if one.requires_grad):
                parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
        return model

    return make


@pytest.fixture
def pixel_values() -> torch.Tensor:
    """(2, 3, 64, 64) normalised pixels."""
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def labels() -> torch.Tensor:
    """(2, 16, 16) masks of the logits' size: a forged square in each."""
    masks = torch.zeros(2, 16, 16, dtype=torch.long)
    masks[0, 3:9, 2:12] = 1
    masks[1, 8:, 8:] = 1
    return masks
