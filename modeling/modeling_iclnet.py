"""ICL-Net: localization of forged pixels by intra-image contrastive learning.

Paper: "PromptForge-350k: A Large-Scale Dataset and Contrastive Framework for Prompt-Based AI Image Forgery
Localization", section 5, Eq. 2 and 3, figure 5.

Differences from the authors' code: none can be listed, no code has been published. Where the paper is silent, this is
our reading, and each item is a field of `ICLNetConfig`:
  * the streams contribute the map of their last stage (stride 32);
  * the head is four groups of 3x3 convolution, group normalisation and ReLU, each followed by x2 bilinear upsampling
    until the mask's stride of 4 is reached, then a 1x1 convolution;
  * high frequencies are three SRM residuals, clipped at 10 grey levels;
  * Eq. 2 is evaluated exactly on the encoder's grid, with tau 0.1.

Weights: encoders can be filled from SegFormer checkpoints. Those of NVIDIA (nvidia/mit-b4) stand under NVIDIA's own
licence, which allows research and evaluation only.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import SegformerModel
from transformers import initialization as init
from transformers.models.auto.modeling_auto import MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES
from transformers.utils import ModelOutput

from .configuration_iclnet import ICLNetConfig
from .high_pass import HighPassFilter
from .loss_contrastive import intra_image_contrastive_loss
from .loss_segmentation import binary_dice_loss, binary_focal_loss
from .segformer_encoder import SegformerEncoderModel, check_input_size


@dataclass
class ICLNetModelOutput(ModelOutput):
    """Features of the streams.

    Args:
        last_hidden_state (`torch.FloatTensor` of shape `(B, C * streams, h, w)`):
            Main, noise and frozen features, concatenated.
        fused_features (`torch.FloatTensor` of shape `(B, C * trained streams, h, w)`):
            Main and noise features, the input of Eq. 2.
    """

    last_hidden_state: torch.FloatTensor | None = None
    fused_features: torch.FloatTensor | None = None


@dataclass
class ICLNetSegmentationOutput(ModelOutput):
    """Mask logits and the parts of the loss.

    Args:
        loss (`torch.FloatTensor` of shape `()`, with `labels`): Eq. 3.
        logits (`torch.FloatTensor` of shape `(B, 1, H / 4, W / 4)`): Before the sigmoid; above 0 means forged.
        loss_contrastive (`torch.FloatTensor` of shape `()`): Eq. 2, unweighted; None without contrastive loss.
        loss_dice (`torch.FloatTensor` of shape `()`): Dice loss, unweighted.
        loss_focal (`torch.FloatTensor` of shape `()`): Focal loss, unweighted.
    """

    loss: torch.FloatTensor | None = None
    logits: torch.FloatTensor | None = None
    loss_contrastive: torch.FloatTensor | None = None
    loss_dice: torch.FloatTensor | None = None
    loss_focal: torch.FloatTensor | None = None


class ICLNetPreTrainedModel(SegformerEncoderModel):
    """Loading, initialisation and the frozen stream, common to the ICL-Net models."""

    config: ICLNetConfig
    config_class = ICLNetConfig
    base_model_prefix = "iclnet"

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, HighPassFilter) and module.kind != "fft":
            init.copy_(module.weight, module.initial_weight())

    def train(self, mode: bool = True) -> "ICLNetPreTrainedModel":
        """Switch the trained parts; the frozen stream always stays in evaluation mode and without gradients.

        `from_pretrained` makes every loaded parameter trainable again and then calls `eval()`, which comes here.
        """
        super().train(mode)
        frozen = self.base_model.frozen_encoder
        if frozen is not None:
            frozen.eval().requires_grad_(False)
        return self


class ICLNetModel(ICLNetPreTrainedModel):
    """The triple-stream backbone (section 5.1).

    ```
    image ───────────► main encoder ───┬──────────► fused features (Eq. 2)
      └── high pass ─► noise encoder ──┘──┐
      └──────────────► frozen encoder ────┴───────► concatenated features (head)
    ```
    """

    def __init__(self, config: ICLNetConfig):
        super().__init__(config)
        self.main_encoder = SegformerModel(config.encoder_config)
        self.high_pass: HighPassFilter | None = None
        self.noise_encoder: SegformerModel | None = None
        self.frozen_encoder: SegformerModel | None = None
        if config.use_noise_stream:
            self.high_pass = HighPassFilter(
                config.noise_filter, tuple(config.image_std), config.noise_clip, config.noise_cutoff
            )
            self.noise_encoder = SegformerModel(config.encoder_config)
        if config.use_frozen_stream:
            self.frozen_encoder = SegformerModel(config.encoder_config)
        self.post_init()
        if self.frozen_encoder is not None:
            if self.frozen_encoder.device.type != "meta":
                self.frozen_encoder.load_state_dict(self.main_encoder.state_dict())
            self.frozen_encoder.eval().requires_grad_(False)

    def streams(self) -> list[SegformerModel]:
        """The encoders that exist, main first."""
        return [
            stream for stream in (self.main_encoder, self.noise_encoder, self.frozen_encoder) if stream is not None
        ]

    def _features(self, encoder: SegformerModel, pixel_values: torch.Tensor) -> torch.Tensor:
        """Maps of the configured stages, upsampled to the finest and concatenated: (B, C, h, w)."""
        stages = self.config.feature_stages
        if tuple(stages) == (len(encoder.stages) - 1,):
            return encoder(pixel_values).last_hidden_state
        maps = encoder(pixel_values, output_hidden_states=True).hidden_states
        size = maps[min(stages)].shape[-2:]
        chosen = [maps[stage] for stage in stages]
        return torch.cat(
            [
                feature
                if feature.shape[-2:] == size
                else F.interpolate(feature, size=size, mode="bilinear", align_corners=False)
                for feature in chosen
            ],
            dim=1,
        )

    def forward(self, pixel_values: torch.Tensor, **kwargs: Any) -> ICLNetModelOutput:
        """Encode images.

        Args:
            pixel_values: (B, 3, H, W) normalised; H and W multiples of 32.
            **kwargs: Ignored; pipelines pass flags that do not concern this model.

        Returns:
            [`ICLNetModelOutput`].
        """
        fused = [self._features(self.main_encoder, pixel_values)]
        if self.noise_encoder is not None and self.high_pass is not None:
            fused.append(self._features(self.noise_encoder, self.high_pass(pixel_values)))
        fused_features = torch.cat(fused, dim=1)
        features = fused_features
        if self.frozen_encoder is not None:
            with torch.no_grad():
                frozen = self._features(self.frozen_encoder, pixel_values)
            features = torch.cat([fused_features, frozen], dim=1)
        return ICLNetModelOutput(last_hidden_state=features, fused_features=fused_features)


class ICLNetHead(nn.Module):
    """Four groups of convolution and upsampling, then one channel (section 5.1, "Classification Head")."""

    def __init__(self, config: ICLNetConfig, in_channels: int):
        super().__init__()
        doublings = (config.feature_stride // config.output_stride).bit_length() - 1
        layers: list[nn.Module] = []
        for group, (width, kernel) in enumerate(zip(config.head_hidden_sizes, config.head_kernel_sizes, strict=True)):
            layers += [
                nn.Conv2d(in_channels, width, kernel, padding=kernel // 2, bias=False),
                nn.GroupNorm(config.head_norm_groups, width),
                nn.ReLU(),
            ]
            if group < doublings:
                layers.append(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False))
            in_channels = width
        self.layers = nn.Sequential(*layers)
        self.classifier = nn.Conv2d(in_channels, 1, kernel_size=1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) features to (B, 1, H / 4, W / 4) logits."""
        return self.classifier(self.layers(features))


class ICLNetForForgerySegmentation(ICLNetPreTrainedModel):
    """ICL-Net with its head and the losses of Eq. 3: one logit a mask pixel, positive for forged.

    Example:
        ```python
        >>> model = ICLNetForForgerySegmentation.from_segformer("nvidia/mit-b4")
        >>> outputs = model(pixel_values, labels=mask)  # (B, 3, 512, 512) and (B, 128, 128)
        >>> outputs.logits.shape
        torch.Size([2, 1, 128, 128])
        ```
    """

    def __init__(self, config: ICLNetConfig):
        super().__init__(config)
        self.iclnet = ICLNetModel(config)
        self.head = ICLNetHead(config, config.feature_channels * len(self.iclnet.streams()))
        self.post_init()

    def forward(
        self,
        pixel_values: torch.Tensor,
        labels: torch.Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> ICLNetSegmentationOutput | tuple:
        """Predict the forged pixels, with `labels` also the loss.

        Args:
            pixel_values: (B, 3, H, W) normalised; H and W multiples of 32.
            labels: (B, h, w) integers, 1 = forged, 0 = authentic, 255 = does not count. Any size; resized (nearest) to
                the logits' when it differs.
            return_dict: False for a tuple.
            **kwargs: Ignored; pipelines pass flags that do not concern this model.

        Returns:
            [`ICLNetSegmentationOutput`], or its tuple.

        Raises:
            ValueError: If H or W is no multiple of the encoder's stride.
        """
        check_input_size(pixel_values, self.config.encoder_config)
        features = self.iclnet(pixel_values)
        logits = self.head(features.last_hidden_state)
        losses = self._losses(features.fused_features, logits, labels) if labels is not None else {}
        outputs = ICLNetSegmentationOutput(logits=logits, **losses)
        use_dict = self.config.return_dict if return_dict is None else return_dict
        return outputs if use_dict else outputs.to_tuple()

    def _losses(
        self, fused_features: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor
    ) -> dict[str, torch.Tensor | None]:
        """Eq. 3 and its parts."""
        config = self.config
        if labels.shape[-2:] != logits.shape[-2:]:
            labels = F.interpolate(labels[:, None].float(), size=logits.shape[-2:], mode="nearest-exact")[:, 0].long()
        loss_dice = binary_dice_loss(logits, labels, config.dice_smooth, config.label_ignore_index)
        loss_focal = binary_focal_loss(
            logits, labels, config.focal_gamma, config.focal_alpha, config.label_ignore_index
        )
        loss = config.dice_loss_weight * loss_dice + config.focal_loss_weight * loss_focal
        loss_contrastive = None
        if config.use_contrastive_loss:
            loss_contrastive = intra_image_contrastive_loss(
                fused_features,
                labels,
                temperature=config.contrastive_temperature,
                mode=config.contrastive_mode,
                max_vectors=config.max_contrastive_vectors,
                normalize_negatives=config.normalize_negatives,
                ignore_index=config.label_ignore_index,
            )
            loss = loss + config.contrastive_loss_weight * loss_contrastive
        return {"loss": loss, "loss_contrastive": loss_contrastive, "loss_dice": loss_dice, "loss_focal": loss_focal}


# The segmentation pipeline checks a copy of this mapping, which registered classes are not part of, and would log an
# error although it runs the model. Here and not where the Auto classes are registered, so that it also holds for code
# loaded with a checkpoint.
MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES[ICLNetConfig.model_type] = ICLNetForForgerySegmentation.__name__

__all__ = ["ICLNetForForgerySegmentation", "ICLNetModel", "ICLNetPreTrainedModel"]
