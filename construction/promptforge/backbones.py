"""Backbones turn aligned pairs into similarity maps: `classical`, or any feature model of timm or Transformers.

Weights stand under their own licences: DINOv3's (timm's `vit_large_patch16_dinov3.lvd1689m` too) under Meta's DINOv3
licence.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from .descriptors import ClassicalConfig, classical_similarity
from .semantic import SimilarityModel

# DINOv3 ViT-L/16 (section 3.2); the copy on timm's side of the Hub can be had without asking.
DEFAULT_BACKBONE = "timm/vit_large_patch16_dinov3.lvd1689m"
CLASSICAL = "classical"
TIMM_PREFIX = "timm/"
SMALLEST_NORM = 1e-8  # product of two norms below which a cell counts as unlike


class FeatureSimilarity:
    """Cosine similarity of a network's dense features (section 3.2).

    Args:
        network: called with (B, 3, H, W) normalised pixels; gives (B, C, h, w) features.
        mean: what is subtracted from each colour (0..1).
        std: what it is divided by.
        size: side of the square input in pixels; not given in the paper.
        device: where the network runs.
        dtype: precision; bfloat16 or float16 on a GPU.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
        size: int,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ):
        self.network = network.to(device=device, dtype=dtype).eval()
        self.size, self.device, self.dtype = size, device, dtype
        self.mean = torch.tensor(mean).view(1, 3, 1, 1)
        self.std = torch.tensor(std).view(1, 3, 1, 1)

    @torch.inference_mode()
    def __call__(self, originals: Sequence[np.ndarray], edited: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Similarity of each pair: (h, w) float32 in [-1, 1]; h and w are the network's cells."""
        pixels = torch.cat([self._pixels(image) for image in (*originals, *edited)])
        features = self.network(pixels.to(device=self.device, dtype=self.dtype)).float()
        first, second = features.chunk(2)
        return list(cell_cosine(first, second).cpu().numpy())

    def _pixels(self, image: np.ndarray) -> torch.Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float() / 255
        tensor = F.interpolate(tensor, size=(self.size, self.size), mode="bilinear", antialias=True)
        return (tensor - self.mean) / self.std


def cell_cosine(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Cosine similarity at every cell: (B, C, h, w) twice to (B, h, w); three times as fast as PyTorch's on a CPU."""
    norms = (first.square().sum(dim=1) * second.square().sum(dim=1)).sqrt()
    return (first * second).sum(dim=1) / norms.clamp_min(SMALLEST_NORM)


class TokensToMap(torch.nn.Module):
    """A Transformers vision model as a network that gives (B, C, h, w).

    Args:
        model: its output has `last_hidden_state`: a map, or tokens of which the last h x w are the patches (class and
            register tokens stand before them).
    """

    def __init__(self, model: torch.nn.Module):
        super().__init__()
        self.model = model

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) to (B, C, h, w)."""
        hidden = self.model(pixel_values=pixel_values).last_hidden_state
        if hidden.ndim == 4:
            return hidden
        side = _patch_side(self.model.config, pixel_values.shape[-1])
        patches = hidden[:, -side * side :]
        return patches.transpose(1, 2).reshape(len(hidden), -1, side, side)


class LastStage(torch.nn.Module):
    """The last map of a timm model made with `features_only=True`.

    Args:
        model: gives a list of (B, C, h, w).
    """

    def __init__(self, model: torch.nn.Module):
        super().__init__()
        self.model = model

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) to (B, C, h, w)."""
        return self.model(pixel_values)[-1]


def default_device(name: str) -> str:
    """Where a backbone runs unless told otherwise: a network on a GPU if there is one, `classical` on the CPU."""
    return "cuda" if name != CLASSICAL and torch.cuda.is_available() else "cpu"


def load_backbone(
    name: str = DEFAULT_BACKBONE,
    size: int = 1024,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    pretrained: bool = True,
    classical: ClassicalConfig | None = None,
) -> SimilarityModel:
    """Make a backbone.

    Args:
        name: `classical`; `timm/MODEL` for a model of timm; else a Hub id or folder for Transformers' `AutoModel`.
        size: side of the square input of a network, in pixels.
        device: where a network runs.
        dtype: precision of a network.
        pretrained: False leaves a timm model's weights random, for tests.
        classical: settings of `classical`.

    Raises:
        ValueError: no such model, or one without dense features.
    """
    if name == CLASSICAL:
        return _classical(classical)
    network, mean, std = _timm(name, size, pretrained) if name.startswith(TIMM_PREFIX) else _transformers(name)
    return FeatureSimilarity(network, mean, std, size, device, dtype)


def _classical(config: ClassicalConfig | None) -> SimilarityModel:
    def similarity(originals: Sequence[np.ndarray], edited: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [classical_similarity(*pair, config) for pair in zip(originals, edited, strict=True)]

    return similarity


def _timm(name: str, size: int, pretrained: bool) -> tuple[torch.nn.Module, Sequence[float], Sequence[float]]:
    import timm

    model_name = name.removeprefix(TIMM_PREFIX)
    options: dict[str, Any] = {"pretrained": pretrained, "features_only": True}
    if "vit" in model_name:
        options["img_size"] = size
    try:
        model = timm.create_model(model_name, **options)
    except (RuntimeError, AttributeError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"{name} cannot be loaded: {reason}; expected classical, timm/MODEL or an AutoModel id"
        ) from error
    settings = timm.data.resolve_model_data_config(model)
    return LastStage(model), settings["mean"], settings["std"]


def _transformers(name: str) -> tuple[torch.nn.Module, Sequence[float], Sequence[float]]:
    from transformers import AutoImageProcessor, AutoModel

    try:
        model, processor = AutoModel.from_pretrained(name), AutoImageProcessor.from_pretrained(name)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"{name} cannot be loaded: {reason}; expected classical, timm/MODEL or an AutoModel id"
        ) from error
    return TokensToMap(model), processor.image_mean, processor.image_std


def _patch_side(config: Any, image_side: int) -> int:
    """Patches along a side of the square input."""
    patch = getattr(config, "patch_size", None)
    if not isinstance(patch, int):
        raise ValueError(f"{config.model_type} has no patch_size: give a model with dense features, such as DINOv2")
    return image_side // patch


__all__ = [
    "CLASSICAL",
    "DEFAULT_BACKBONE",
    "FeatureSimilarity",
    "LastStage",
    "TokensToMap",
    "cell_cosine",
    "default_device",
    "load_backbone",
]
