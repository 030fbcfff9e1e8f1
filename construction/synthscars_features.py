"""Features of whole images from a network of timm, a ResNet-50 by default (LEGION, section 3.2)."""

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

# ResNet-50 of torchvision's first weights (ImageNet-1k); the paper does not say which weights it took.
DEFAULT_MODEL = "resnet50.tv_in1k"

# Gives (N, D) features of N images (PIL RGB).
ExtractFeatures = Callable[[Sequence[Image.Image]], np.ndarray]


@dataclasses.dataclass(frozen=True)
class FeatureSettings:
    """Which network.

    Args:
        model: name of a model of timm, with the tag of its weights.
        weights: a file with weights of timm or torchvision (.safetensors, .pth), taken instead of the Hub's.
        batch_size: images at once.
        device: `cpu`, `cuda`, ...; None for a GPU if there is one.
    """

    model: str = DEFAULT_MODEL
    weights: str | None = None
    batch_size: int = 32
    device: str | None = None

    def __post_init__(self):
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")

    def decisive(self) -> dict[str, Any]:
        """The settings that decide about features, for a record; a file of weights counts by its content."""
        weights = None if self.weights is None else hashlib.sha256(Path(self.weights).read_bytes()).hexdigest()[:16]
        return {"model": self.model, "weights": weights, "batch_size": self.batch_size}


class TimmFeatures:
    """Pooled features of the last layer before the classifier.

    Args:
        network: called with (B, 3, H, W) normalised pixels; gives (B, D).
        transform: makes (3, H, W) of a PIL RGB image.
        device: where the network runs.
    """

    def __init__(self, network: Any, transform: Callable[[Image.Image], Any], device: str = "cpu"):
        self.network, self.transform, self.device = network.to(device).eval(), transform, device

    def __call__(self, images: Sequence[Image.Image]) -> np.ndarray:
        """(N, D) float32 features of N images."""
        import torch

        pixels = torch.stack([self.transform(image) for image in images])
        with torch.inference_mode():
            return self.network(pixels.to(self.device)).float().cpu().numpy()


def load_features(settings: FeatureSettings) -> TimmFeatures:
    """Load a network with the preprocessing of its weights.

    Raises:
        ValueError: no such model, or weights of another one.
        OSError: no such file, or the Hub cannot be reached.
    """
    import timm
    import torch

    try:
        network = timm.create_model(settings.model, pretrained=settings.weights is None, num_classes=0)
    except RuntimeError as error:
        raise ValueError(f"{settings.model} cannot be loaded: {error}; expected a model of timm") from error
    if settings.weights is not None:
        _fill(network, Path(settings.weights), settings.model)
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(network))
    return TimmFeatures(network, transform, settings.device or ("cuda" if torch.cuda.is_available() else "cpu"))


def _fill(network: Any, file: Path, name: str) -> None:
    """Load weights of a file; all of them must be the network's, but for the classifier's.

    timm itself passes over missing ones when the classifier is left out.
    """
    from timm.models import load_state_dict

    if not file.is_file():
        raise FileNotFoundError(f"{file} does not exist: expected a file with weights of {name}")
    try:
        weights = load_state_dict(str(file), weights_only=True)
        classifier = tuple(f"{part}." for part in _classifiers(network))
        weights = {key: value for key, value in weights.items() if not key.startswith(classifier)}
        network.load_state_dict(weights)
    except Exception as error:  # damaged files raise nearly any type, weights of another network RuntimeError
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(f"{file} does not hold the weights of {name}: {reason}") from error


def _classifiers(network: Any) -> Sequence[str]:
    names = network.pretrained_cfg["classifier"]
    return (names,) if isinstance(names, str) else names


__all__ = ["DEFAULT_MODEL", "ExtractFeatures", "FeatureSettings", "TimmFeatures", "load_features"]
