"""Tiny models, and inputs for them."""

from collections.abc import Callable
from typing import Any

import pytest
import tiny_models
import torch

from forgescope.modeling.configuration_gamma import GammaConfig
from forgescope.modeling.configuration_iclnet import ICLNetConfig
from forgescope.modeling.modeling_gamma import GammaForDetection
from forgescope.modeling.modeling_iclnet import ICLNetForForgerySegmentation


@pytest.fixture(scope="session")
def tiny_encoder() -> dict[str, Any]:
    """Settings of a tiny SegFormer."""
    return dict(tiny_models.TINY_ENCODER)


@pytest.fixture
def tiny_config() -> Callable[..., ICLNetConfig]:
    """Make a tiny configuration of ICL-Net; keyword arguments replace its settings."""
    return lambda **settings: tiny_models.tiny_config("iclnet", **settings)


@pytest.fixture
def tiny_model() -> Callable[..., ICLNetForForgerySegmentation]:
    """Make a tiny ICL-Net in evaluation mode, the same at every call; keyword arguments go to the configuration."""
    return lambda **settings: tiny_models.tiny_model("iclnet", **settings)


@pytest.fixture
def tiny_gamma_config() -> Callable[..., GammaConfig]:
    """Make a tiny configuration of GAMMA; keyword arguments replace its settings."""
    return lambda **settings: tiny_models.tiny_config("gamma", **settings)


@pytest.fixture
def tiny_gamma() -> Callable[..., GammaForDetection]:
    """Make a tiny GAMMA in evaluation mode, the same at every call; keyword arguments go to the configuration."""
    return lambda **settings: tiny_models.tiny_model("gamma", **settings)


@pytest.fixture
def pixel_values() -> torch.Tensor:
    """(2, 3, 64, 64) normalised pixels."""
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def labels() -> torch.Tensor:
    """(2, 16, 16) masks of the logits' size: a forged square in each."""
    return tiny_models.tiny_targets("iclnet")["labels"]


@pytest.fixture
def gamma_targets() -> dict[str, torch.Tensor]:
    """Label and both masks of two images."""
    return tiny_models.tiny_targets("gamma")
