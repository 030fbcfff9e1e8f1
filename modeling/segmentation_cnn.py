"""The two CNN baselines of DiffSeg30k: FCN-8s on VGG-16 and DeepLabv3+ on a ResNet, backbones from timm.

FCN-8s: Long, Shelhamer and Darrell, "Fully Convolutional Networks for Semantic Segmentation", CVPR 2015.
DeepLabv3+: Chen et al., "Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation",
ECCV 2018;
with plain 3x3 convolutions, as its ResNet variants in public use have, instead of separable ones.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HTTPError, LocalEntryNotFoundError
from torch import nn
from transformers import initialization as init
from transformers.utils import is_timm_available, requires_backends

if is_timm_available():  # SegFormer, which is loaded with the same code, needs no timm
    import timm

# Strides of the maps that each head reads, finest first.
FCN8S_STRIDES = (4, 8, 32)
LOW_LEVEL_STRIDE = 4
HUB_WEIGHTS = "model.safetensors"


def timm_features(name: str, strides: Sequence[int], output_stride: int = 32, **settings: Any) -> nn.Module:
    """Build a timm backbone that gives the last map of each stride.

    Args:
        name: timm model, such as `resnet50`.
        strides: of the maps, finest first; the last one may be the backbone's `output_stride`.
        output_stride: total stride; less than 32 dilates the last stages.
        **settings: of `timm.create_model`, such as `pretrained`.

    Raises:
        ImportError: If timm is not installed.
        ValueError: If timm has no such model, or the model has no map of a stride.
    """
    requires_backends(timm_features, "timm")
    dilated: dict[str, Any] = {} if output_stride == 32 else {"output_stride": output_stride}
    try:
        with torch.device("meta"):
            probe = timm.create_model(name, features_only=True, **dilated)
    except (RuntimeError, AttributeError, TypeError, AssertionError) as error:
        wanted = "expected a timm model with features, such as resnet50 or vgg16"
        wanted += f", that can have the stride {output_stride}" if dilated else ""
        raise ValueError(f"{wanted}, got {name!r}: {str(error) or 'it cannot'}") from error
    reductions = probe.feature_info.reduction()
    missing = [stride for stride in strides if stride not in reductions]
    if missing:
        raise ValueError(f"{name} has maps of the strides {reductions}, needed are {tuple(strides)}")
    last = {stride: index for index, stride in enumerate(reductions)}
    chosen = tuple(last[stride] for stride in strides)
    return timm.create_model(name, features_only=True, out_indices=chosen, **dilated, **settings)


def timm_source(backbone: str, name_or_path: str | None) -> tuple[str, dict[str, Any]]:
    """Where timm gets pre-trained weights from: name of a model, and arguments of `timm.create_model`.

    Args:
        backbone: timm name of the network.
        name_or_path: timm name with a tag, such as `resnet50.a1_in1k`; a file of weights; None for timm's own choice.
    """
    if name_or_path is not None and Path(name_or_path).is_file():
        return backbone, {"pretrained": True, "pretrained_cfg_overlay": {"file": str(name_or_path)}}
    return name_or_path or backbone, {"pretrained": True}


def check_hub(name: str, settings: dict[str, Any]) -> None:
    """Ask once for the weights of a timm model: without network, timm's own request is repeated for a minute.

    Args:
        name: timm model.
        settings: arguments of `timm.create_model`.

    Raises:
        OSError: If the Hub cannot be reached and the weights are not in its cache, or it has no such repository.
        RuntimeError: If the model has no weights of the given tag.
    """
    published = timm.get_pretrained_cfg(name)
    if published is None or not published.hf_hub_id or "file" in settings.get("pretrained_cfg_overlay", {}):
        return
    repository = published.hf_hub_id
    try:
        hf_hub_download(repository, HUB_WEIGHTS, cache_dir=settings.get("cache_dir"), local_files_only=True)
    except LocalEntryNotFoundError:
        try:
            get_hf_file_metadata(hf_hub_url(repository, HUB_WEIGHTS))
        except EntryNotFoundError:
            return  # timm knows other names of files
        except HfHubHTTPError:
            raise
        except (HTTPError, ConnectionError) as error:
            raise ConnectionError(f"the Hub cannot be reached, nor is {repository} in its cache ({error})") from error


def load_backbone(
    network: nn.Module, name: str, strides: Sequence[int], output_stride: int, settings: dict[str, Any]
) -> dict[str, torch.Tensor]:
    """Copy the weights of a pre-trained timm model into `network.backbone`.

    Args:
        network: FCN-8s or DeepLabv3+.
        name: timm model.
        strides: as in `timm_features`.
        output_stride: as in `timm_features`.
        settings: arguments of `timm.create_model` that make it load weights.

    Returns:
        All weights of that model, its classifier included.

    Raises:
        RuntimeError: If the weights are another network's.
    """
    check_hub(name, settings)
    with init.no_init_weights():
        # reading the features alone, timm passes over whatever does not fit; the whole model it reads strictly
        whole = timm.create_model(name, **settings)
        features = timm_features(name, strides, output_stride, **settings)
    network.backbone.load_state_dict(features.state_dict())
    return whole.state_dict()


def bilinear_weight(channels: int, factor: int) -> torch.Tensor:
    """Weight of a transposed convolution that upsamples every channel bilinearly: (C, C, 2 f, 2 f)."""
    ramp = 1 - (torch.arange(2 * factor) - (factor - 0.5)).abs() / factor
    weight = torch.zeros(channels, channels, 2 * factor, 2 * factor)
    weight[range(channels), range(channels)] = ramp[:, None] * ramp[None, :]
    return weight


class BilinearUpsampling(nn.ConvTranspose2d):
    """Transposed convolution that starts as bilinear interpolation and is learned, as in FCN.

    Args:
        channels: of input and output.
        factor: of the resolution.
    """

    def __init__(self, channels: int, factor: int):
        super().__init__(channels, channels, 2 * factor, stride=factor, padding=factor // 2, bias=False)
        self.factor = factor

    def initial_weight(self) -> torch.Tensor:
        """The bilinear kernel; `_init_weights` of the model copies it in."""
        return bilinear_weight(self.in_channels, self.factor)


class ScoreLayer(nn.Conv2d):
    """1x1 convolution that gives the logits of the classes; `_init_weights` starts it small, as a classifier."""

    def __init__(self, in_channels: int, num_labels: int):
        super().__init__(in_channels, num_labels, kernel_size=1)


class FCN8s(nn.Module):
    """VGG with its fully connected layers as convolutions, and scores of three strides added up.

    Args:
        backbone: timm name of a VGG.
        num_labels: classes.
        hidden_size: channels of the former fully connected layers.
        dropout: behind each of them.
    """

    def __init__(self, backbone: str, num_labels: int, hidden_size: int, dropout: float):
        super().__init__()
        # stride 4 and 8 are the maps before the third and fourth pooling
        self.backbone = timm_features(backbone, FCN8S_STRIDES)
        third, fourth, fifth = self.backbone.feature_info.channels()
        self.fc6 = nn.Conv2d(fifth, hidden_size, kernel_size=7, padding=3)
        self.fc7 = nn.Conv2d(hidden_size, hidden_size, kernel_size=1)
        self.dropout = nn.Dropout2d(dropout)
        self.score_fc7 = ScoreLayer(hidden_size, num_labels)
        self.score_pool4 = ScoreLayer(fourth, num_labels)
        self.score_pool3 = ScoreLayer(third, num_labels)
        self.upsample_fc7 = BilinearUpsampling(num_labels, 2)
        self.upsample_pool4 = BilinearUpsampling(num_labels, 2)
        self.upsample_pool3 = BilinearUpsampling(num_labels, 8)

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) to logits (B, num_labels, H, W); H and W multiples of 32."""
        third, fourth, pool5 = self.backbone(pixel_values)
        hidden = self.dropout(F.relu(self.fc6(pool5)))
        hidden = self.dropout(F.relu(self.fc7(hidden)))
        scores = self.upsample_fc7(self.score_fc7(hidden))
        scores = self.upsample_pool4(scores + self.score_pool4(F.max_pool2d(fourth, 2)))
        return self.upsample_pool3(scores + self.score_pool3(F.max_pool2d(third, 2)))

    def fill_backbone(self, name: str, settings: dict[str, Any]) -> None:
        """Copy pre-trained weights into the backbone, and VGG's fully connected layers where their sizes agree.

        Args:
            name: timm model.
            settings: arguments of `timm.create_model` that make it load weights.

        Raises:
            RuntimeError: If the weights are another network's.
        """
        weights = load_backbone(self, name, FCN8S_STRIDES, FCN8S_STRIDES[-1], settings)
        for layer, timm_name in ((self.fc6, "pre_logits.fc1"), (self.fc7, "pre_logits.fc2")):
            weight = weights.get(f"{timm_name}.weight")
            if weight is not None and weight.shape == layer.weight.shape:
                layer.load_state_dict({"weight": weight, "bias": weights[f"{timm_name}.bias"]})


def conv_norm_relu(in_channels: int, out_channels: int, kernel: int = 1, dilation: int = 1) -> nn.Sequential:
    """Convolution that keeps the resolution, batch normalisation and ReLU."""
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, padding=padding, dilation=dilation, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    )


class AtrousPyramid(nn.Module):
    """Atrous spatial pyramid pooling: one 1x1 branch, one 3x3 branch a rate, and the mean of the whole map."""

    def __init__(self, in_channels: int, hidden_size: int, rates: Sequence[int]):
        super().__init__()
        self.branches = nn.ModuleList(
            [conv_norm_relu(in_channels, hidden_size)]
            + [conv_norm_relu(in_channels, hidden_size, 3, rate) for rate in rates]
        )
        # no normalisation: a batch of one has a single value a channel here
        self.pooled = nn.Sequential(nn.Conv2d(in_channels, hidden_size, kernel_size=1), nn.ReLU())
        self.project = conv_norm_relu(hidden_size * (len(rates) + 2), hidden_size)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) to (B, hidden_size, h, w)."""
        mean = self.pooled(features.mean(dim=(2, 3), keepdim=True)).expand(-1, -1, *features.shape[-2:])
        return self.project(torch.cat([*(branch(features) for branch in self.branches), mean], dim=1))


class DeepLabV3Plus(nn.Module):
    """Dilated backbone, atrous pyramid, and a decoder that adds the stride-4 features.

    Args:
        backbone: timm name of a ResNet, or another network that timm can dilate.
        num_labels: classes.
        output_stride: of the backbone's last map.
        rates: dilations of the pyramid.
        hidden_size: channels of pyramid and decoder.
        low_level_hidden_size: channels that the stride-4 features are reduced to.
        dropout: before the last convolution.
    """

    def __init__(
        self,
        backbone: str,
        num_labels: int,
        output_stride: int,
        rates: Sequence[int],
        hidden_size: int,
        low_level_hidden_size: int,
        dropout: float,
    ):
        super().__init__()
        self.output_stride = output_stride
        self.backbone = timm_features(backbone, (LOW_LEVEL_STRIDE, output_stride), output_stride)
        low_level, last = self.backbone.feature_info.channels()
        self.pyramid = AtrousPyramid(last, hidden_size, rates)
        self.low_level = conv_norm_relu(low_level, low_level_hidden_size)
        self.decoder = nn.Sequential(
            conv_norm_relu(hidden_size + low_level_hidden_size, hidden_size, 3),
            conv_norm_relu(hidden_size, hidden_size, 3),
            nn.Dropout(dropout),
        )
        self.classifier = ScoreLayer(hidden_size, num_labels)

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) to logits (B, num_labels, H / 4, W / 4); H and W multiples of 32."""
        low_level, last = self.backbone(pixel_values)
        low_level = self.low_level(low_level)
        pyramid = F.interpolate(self.pyramid(last), size=low_level.shape[-2:], mode="bilinear", align_corners=False)
        return self.classifier(self.decoder(torch.cat([pyramid, low_level], dim=1)))

    def fill_backbone(self, name: str, settings: dict[str, Any]) -> None:
        """Copy pre-trained weights into the backbone; arguments and errors as in `FCN8s.fill_backbone`."""
        strides = (LOW_LEVEL_STRIDE, self.output_stride)
        load_backbone(self, name, strides, self.output_stride, settings)


__all__ = [
    "BilinearUpsampling",
    "DeepLabV3Plus",
    "FCN8s",
    "ScoreLayer",
    "bilinear_weight",
    "timm_features",
    "timm_source",
]
