"""DiffSeg30k's baselines: which pixels of a photograph were edited, and by which editor?

Paper: "DiffSeg30k: A Multi-Turn Diffusion Editing Benchmark for Localized AIGC Detection", section 4.1, Table 2.

Differences from the authors' code: none can be listed, no training code has been published. The paper names FCN-8s,
DeepLabv3+ with ResNet-50 and SegFormer-B2, trained "using default hyperparameters from open-source implementations".
Our reading, each item a field of `DiffSegConfig`:
  * FCN-8s on VGG-16, DeepLabv3+ at output stride 16 with rates 6, 12, 18, SegFormer with its own decoder;
  * cross-entropy over the classes, at the resolution of the mask; binary segmentation is the case of two classes;
  * which id means which editor is unknown: `id2editor`.

Weights: backbones can be filled from timm and from SegFormer checkpoints. Those of NVIDIA (nvidia/mit-b2) stand under
NVIDIA's own licence, which allows research and evaluation only; timm's stand under the licence of each model's card.
"""

import pickle
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import nn
from transformers import SegformerModel
from transformers import initialization as init
from transformers.modeling_outputs import SemanticSegmenterOutput
from transformers.models.auto.modeling_auto import MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES

from .configuration_diffseg import DiffSegConfig
from .mlp_decoder import MLPDecoder
from .modeling_forgescope import ForgescopePreTrainedModel
from .segformer_encoder import check_input_size, encoder_settings, load_segformer
from .segmentation_cnn import BilinearUpsampling, DeepLabV3Plus, FCN8s, ScoreLayer, timm_source

# What reading weights raises: for foreign weights, unknown names and no network, and for files of something else.
UNFIT = (RuntimeError, OSError, ValueError)
UNREADABLE = (SafetensorError, pickle.UnpicklingError, EOFError, LookupError, AttributeError, TypeError)
# Characters of a reason that are shown; torch lists every weight that does not fit.
LONGEST_REASON = 200


class SegformerSegmenter(nn.Module):
    """SegFormer: encoder and MLP decoder."""

    def __init__(self, config: DiffSegConfig):
        super().__init__()
        self.encoder = SegformerModel(config.encoder_config)
        self.decoder = MLPDecoder(
            config.encoder_config, config.decoder_hidden_size, config.decoder_dropout, config.num_labels
        )

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) to logits (B, num_labels, H / 4, W / 4)."""
        maps = self.encoder(pixel_values, output_hidden_states=True).hidden_states
        return self.decoder(tuple(maps), return_features=False)[1]


def build_network(config: DiffSegConfig) -> nn.Module:
    """The network of `config.architecture`, with random weights."""
    if config.architecture == "segformer":
        return SegformerSegmenter(config)
    backbone = str(config.backbone)
    if config.architecture == "fcn8s":
        return FCN8s(backbone, config.num_labels, config.fully_connected_size, config.fully_connected_dropout)
    return DeepLabV3Plus(
        backbone,
        config.num_labels,
        config.backbone_output_stride,
        config.atrous_rates,
        config.pyramid_hidden_size,
        config.low_level_hidden_size,
        config.decoder_dropout,
    )


class DiffSegForEditSegmentation(ForgescopePreTrainedModel):
    """One of the three baselines: class 0 is authentic, the others are editors (or, binary, "edited").

    Example:
        ```python
        >>> model = DiffSegForEditSegmentation.from_pretrained_backbone(DiffSegConfig(architecture="deeplabv3plus"))
        >>> outputs = model(pixel_values, labels=mask)  # (B, 3, 512, 512) and (B, 512, 512)
        >>> outputs.logits.shape
        torch.Size([2, 9, 128, 128])
        ```
    """

    config: DiffSegConfig
    config_class = DiffSegConfig
    base_model_prefix = "diffseg"
    main_input_name = "pixel_values"
    input_modalities = ("image",)
    supports_gradient_checkpointing = True  # of SegFormer; the others say that they have none
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True
    _no_split_modules = ["SegformerStage"]  # noqa: RUF012 (transformers reads this form)

    def __init__(self, config: DiffSegConfig):
        super().__init__(config)
        # post_init draws the weights; drawing those of VGG's classifier, which is not used, would take seconds
        with init.no_init_weights():
            self.segmenter = build_network(config)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, BilinearUpsampling):
            init.copy_(module.weight, module.initial_weight())
        elif (
            isinstance(module, nn.Conv2d)
            and not isinstance(module, ScoreLayer)
            and self.config.architecture != "segformer"
        ):
            init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @classmethod
    def from_pretrained_backbone(
        cls, config: DiffSegConfig | None = None, name_or_path: str | None = None, **kwargs: Any
    ) -> "DiffSegForEditSegmentation":
        """Build a baseline and fill its backbone with weights that were trained on ImageNet.

        Args:
            config: The network; default: SegFormer-B2 with eight editors.
            name_or_path: For `segformer`, Hub id or folder of a SegFormer checkpoint (default `nvidia/mit-b2`); its
                encoder replaces `config.encoder_config`. For the others, a timm model of the configured backbone, such
                as `resnet50.a1_in1k`, or a file of its weights; default: timm's own choice for `config.backbone`.
            **kwargs: Passed on to `SegformerModel.from_pretrained` or `timm.create_model`.

        Returns:
            The model in evaluation mode. What lies behind the backbone is initialised afresh, but for the former
            fully connected layers of VGG in `fcn8s`, which are filled where the sizes agree.

        Raises:
            ValueError: If there are no such weights, the Hub cannot be reached, or they belong to another network.
        """
        config = config or DiffSegConfig()
        if config.architecture == "segformer":
            encoder = load_segformer(name_or_path or "nvidia/mit-b2", **kwargs)
            settings = config.to_dict() | {"encoder_config": encoder_settings(encoder)}
            model = cls(DiffSegConfig.from_dict(settings)).to(encoder.dtype)
            model.segmenter.encoder.load_state_dict(encoder.state_dict())
            return model.eval()
        model = cls(config)
        name, settings = timm_source(str(config.backbone), name_or_path)
        try:
            model.segmenter.fill_backbone(name, settings | kwargs)
        except (*UNFIT, *UNREADABLE) as error:
            reason = " ".join(str(error).split())
            reason = reason if len(reason) <= LONGEST_REASON else f"{reason[:LONGEST_REASON]}..."
            if isinstance(error, UNREADABLE):
                reason = f"no weights could be read ({reason})"
            raise ValueError(
                f"expected weights of {config.backbone}, as the name of a timm model or a file, got "
                f"{name_or_path or name}: {reason}"
            ) from error
        return model.eval()

    def forward(
        self,
        pixel_values: torch.Tensor,
        labels: torch.Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> SemanticSegmenterOutput | tuple:
        """Predict the class of every pixel, with `labels` also the loss.

        Args:
            pixel_values: (B, 3, H, W) normalised; H and W multiples of 32.
            labels: (B, h, w) integers of any size: 0 = authentic, else the id of the editor (binary: 1 = edited), 255
                = does not count. The logits are upsampled to it.
            return_dict: False for a tuple.
            **kwargs: Ignored; pipelines pass flags that do not concern this model.

        Returns:
            [`SemanticSegmenterOutput`]: `loss`, mean cross-entropy over the pixels that count, and `logits` (B,
            num_labels, H / s, W / s) before the softmax, s = `config.mask_stride`; or its tuple.

        Raises:
            ValueError: If H or W is no multiple of 32.
        """
        check_input_size(pixel_values, self.config.encoder_config)
        logits = self.segmenter(pixel_values)
        loss = None
        if labels is not None:
            scores = logits.float()
            if labels.shape[-2:] != scores.shape[-2:]:
                scores = F.interpolate(scores, size=labels.shape[-2:], mode="bilinear", align_corners=False)
            loss = segmentation_cross_entropy(scores, labels, self.config.label_ignore_index)
        outputs = SemanticSegmenterOutput(loss=loss, logits=logits)
        use_dict = self.config.return_dict if return_dict is None else return_dict
        return outputs if use_dict else outputs.to_tuple()


def segmentation_cross_entropy(logits: torch.Tensor, labels: torch.Tensor, ignore_index: int) -> torch.Tensor:
    """Cross-entropy, averaged over the pixels of an image that count, then over images.

    Args:
        logits: (B, C, h, w).
        labels: (B, h, w) integers 0 to C - 1, or `ignore_index`.
        ignore_index: value of pixels that do not count.

    Returns:
        Scalar; an image without a pixel that counts contributes 0.
    """
    loss = F.cross_entropy(logits, labels.long(), ignore_index=ignore_index, reduction="none").flatten(1)
    return (loss.sum(dim=1) / (labels != ignore_index).flatten(1).sum(dim=1).clamp(min=1)).mean()


# As for ICL-Net: the segmentation pipeline checks a copy of this mapping, which registered classes are not part of.
MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES[DiffSegConfig.model_type] = DiffSegForEditSegmentation.__name__

__all__ = ["DiffSegForEditSegmentation"]
