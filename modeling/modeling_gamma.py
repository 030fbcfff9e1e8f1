"""GAMMA: is an image AI-made, which pixels were altered, and which pixels did a network make?

Paper: "GAMMA: Generalizable Alignment via Multi-task and Manipulation-Augmented Training for AI-Generated Image
Detection", section 3.3, Eq. 1 to 8, tables 4, 7 and 8.

Differences from the authors' code: none can be listed, no code has been published. Where the paper is silent or
contradicts itself, this is our reading, and each item is a field of `GammaConfig`:
  * both decoders are SegFormer's own (section 5.1), so "convolutional layers followed by an MLP" (Eq. 3) is its fusing
    1x1 convolution with batch normalisation and ReLU; C_Dec is 768;
  * Eq. 5 to 8 as printed have one key and one value, whose softmax is constantly 1. `cross_attention_tokens="pooled"`
    is this literal form, in which the decoders cannot influence the verdict; `"spatial"` attends to F_4 before
    pooling, in which they can;
  * the attention of each decoder has its own projections, 8 heads, and a mean over the queries as Pool;
  * `"dual"` attention is the sum of both directions;
  * masks are compared at their own resolution (Eq. 4), pixels averaged within an image, then images.

Weights: the encoder can be filled from SegFormer checkpoints. Those of NVIDIA (nvidia/mit-b2) stand under NVIDIA's own
licence, which allows research and evaluation only.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import SegformerModel
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES
from transformers.utils import ModelOutput

from .configuration_gamma import GammaConfig
from .cross_attention import PooledCrossAttention
from .loss_segmentation import binary_mask_cross_entropy
from .mlp_decoder import MLPDecoder
from .segformer_encoder import SegformerEncoderModel, check_input_size


@dataclass
class GammaModelOutput(ModelOutput):
    """Features of the encoder.

    Args:
        last_hidden_state (`torch.FloatTensor` of shape `(B, h * w, C_Dec)`):
            The last stage's cells (stride 32), projected to the width of the decoders.
        pooler_output (`torch.FloatTensor` of shape `(B, C_Dec)`):
            Classification feature of Eq. 5: their mean, since pooling and the projection commute.
        hidden_states (`tuple(torch.FloatTensor)`):
            F_1 to F_4, each (B, C_i, H / r_i, W / r_i) with r_i = 4, 8, 16, 32.
    """

    last_hidden_state: torch.FloatTensor | None = None
    pooler_output: torch.FloatTensor | None = None
    hidden_states: tuple[torch.FloatTensor, ...] | None = None


@dataclass
class GammaDetectionOutput(ModelOutput):
    """Verdict, masks and the parts of the loss.

    Args:
        loss (`torch.FloatTensor` of shape `()`, with `labels`): Eq. 6, of the terms that have a target.
        logits (`torch.FloatTensor` of shape `(B, 2)`):
            `[0, z]`: the softmax over (real, fake) is `(1 - sigmoid(z), sigmoid(z))`, and the largest is the verdict.
        ai_logits (`torch.FloatTensor` of shape `(B, 1, H / 4, W / 4)`):
            Before the sigmoid; above 0 means AI-made. None without this head.
        manipulation_logits (`torch.FloatTensor` of shape `(B, 1, H / 4, W / 4)`):
            Before the sigmoid; above 0 means altered. None without this head.
        loss_classification (`torch.FloatTensor` of shape `()`): Binary cross-entropy of `z`, unweighted.
        loss_ai (`torch.FloatTensor` of shape `()`): That of the AI-made pixels; None without head or target.
        loss_manipulation (`torch.FloatTensor` of shape `()`): That of the altered pixels; None likewise.
    """

    loss: torch.FloatTensor | None = None
    logits: torch.FloatTensor | None = None
    ai_logits: torch.FloatTensor | None = None
    manipulation_logits: torch.FloatTensor | None = None
    loss_classification: torch.FloatTensor | None = None
    loss_ai: torch.FloatTensor | None = None
    loss_manipulation: torch.FloatTensor | None = None


class GammaPreTrainedModel(SegformerEncoderModel):
    """Loading and initialisation, common to the GAMMA models."""

    config: GammaConfig
    config_class = GammaConfig
    base_model_prefix = "gamma"


class GammaModel(GammaPreTrainedModel):
    """The encoder and the classification feature (Eq. 5)."""

    def __init__(self, config: GammaConfig):
        super().__init__(config)
        self.encoder = SegformerModel(config.encoder_config)
        self.projection = nn.Linear(config.encoder_config.hidden_sizes[-1], config.decoder_hidden_size)
        self.post_init()

    def streams(self) -> list[SegformerModel]:
        """The encoder."""
        return [self.encoder]

    def forward(self, pixel_values: torch.Tensor, **kwargs: Any) -> GammaModelOutput:
        """Encode images.

        Args:
            pixel_values: (B, 3, H, W) normalised; H and W multiples of 32.
            **kwargs: Ignored; pipelines pass flags that do not concern this model.

        Returns:
            [`GammaModelOutput`].
        """
        hidden_states = self.encoder(pixel_values, output_hidden_states=True).hidden_states
        tokens = self.projection(hidden_states[-1].flatten(2).transpose(1, 2))
        return GammaModelOutput(
            last_hidden_state=tokens, pooler_output=tokens.mean(dim=1), hidden_states=tuple(hidden_states)
        )


class GammaForDetection(GammaPreTrainedModel):
    """GAMMA with its classifier, two decoders and the loss of Eq. 6.

    ```
    image ─► encoder ─┬─► manipulation decoder ─► altered pixels
                      │          └──── cross-attention ───┐
                      ├─► pooled feature (Eq. 5) ────────(+)─► real or fake
                      │          ┌──── cross-attention ───┘
                      └─► AI decoder ───────────► AI-made pixels
    ```

    Example:
        ```python
        >>> model = GammaForDetection.from_segformer("nvidia/mit-b2")
        >>> outputs = model(pixel_values, labels=labels, manipulation_mask=altered, ai_mask=made)
        >>> outputs.logits.softmax(dim=-1)[:, 1]  # probability to be fake
        ```
    """

    def __init__(self, config: GammaConfig):
        super().__init__(config)
        self.gamma = GammaModel(config)
        heads = {"manipulation": config.use_manipulation_head, "ai": config.use_ai_head}
        self.decoders = nn.ModuleDict(
            {
                name: MLPDecoder(config.encoder_config, config.decoder_hidden_size, config.decoder_dropout)
                for name, used in heads.items()
                if used
            }
        )
        directions = {"none": (), "dual": ("standard", "reverse")}.get(config.cross_attention)
        if directions is None:
            directions = (config.cross_attention,)
        self.cross_attention = nn.ModuleDict(
            {
                f"{direction}_{name}": PooledCrossAttention(config.decoder_hidden_size, config.num_attention_heads)
                for direction in directions
                for name in self.decoders
            }
        )
        # one pooled key gives every query the same answer, so nothing reads the queries then
        self._reads_features = config.cross_attention in ("standard", "dual") or (
            config.cross_attention == "reverse" and config.cross_attention_tokens == "spatial"
        )
        self.classifier = nn.Linear(config.decoder_hidden_size, 1)
        self.post_init()

    def forward(
        self,
        pixel_values: torch.Tensor,
        labels: torch.Tensor | None = None,
        manipulation_mask: torch.Tensor | None = None,
        ai_mask: torch.Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> GammaDetectionOutput | tuple:
        """Classify images and mark their pixels, with `labels` also the loss.

        Args:
            pixel_values: (B, 3, H, W) normalised; H and W multiples of 32.
            labels: (B,) integers, 1 = fake: the image holds pixels that a network made; 0 = real. Copy-move and
                splicing are real (Table 1).
            manipulation_mask: (B, h, w) integers of any size, 1 = altered, 0 = untouched, 255 = does not count.
            ai_mask: The same for AI-made pixels.
            return_dict: False for a tuple.
            **kwargs: Ignored; pipelines pass flags that do not concern this model.

        Returns:
            [`GammaDetectionOutput`], or its tuple.

        Raises:
            ValueError: If H or W is no multiple of the encoder's stride.
        """
        check_input_size(pixel_values, self.config.encoder_config)
        features = self.gamma(pixel_values)
        decoded = {
            name: decoder(features.hidden_states, return_features=self._reads_features)
            for name, decoder in self.decoders.items()
        }
        maps = {name: one for name, (one, _) in decoded.items()}
        feature = self._attend(features.pooler_output, features.last_hidden_state, maps)
        fake = self.classifier(feature)
        mask_logits = {name: logits for name, (_, logits) in decoded.items()}
        losses = {}
        if labels is not None:
            losses = self._losses(fake, mask_logits, labels, {"manipulation": manipulation_mask, "ai": ai_mask})
        outputs = GammaDetectionOutput(
            logits=torch.cat([torch.zeros_like(fake), fake], dim=-1),
            ai_logits=mask_logits.get("ai"),
            manipulation_logits=mask_logits.get("manipulation"),
            **losses,
        )
        use_dict = self.config.return_dict if return_dict is None else return_dict
        return outputs if use_dict else outputs.to_tuple()

    def _attend(
        self, pooled: torch.Tensor, cells: torch.Tensor, decoded: dict[str, torch.Tensor | None]
    ) -> torch.Tensor:
        """Add what the attention between decoders and classification feature gives to the latter: (B, C_Dec)."""
        context = cells if self.config.cross_attention_tokens == "spatial" else pooled[:, None]
        feature = pooled
        for name, maps in decoded.items():
            tokens = maps.flatten(2).transpose(1, 2) if maps is not None else None
            if f"reverse_{name}" in self.cross_attention:
                feature = feature + self.cross_attention[f"reverse_{name}"](tokens, context)
            if f"standard_{name}" in self.cross_attention:
                feature = feature + self.cross_attention[f"standard_{name}"](pooled[:, None], tokens)
        return feature

    def _losses(
        self,
        fake: torch.Tensor,
        mask_logits: dict[str, torch.Tensor],
        labels: torch.Tensor,
        masks: dict[str, torch.Tensor | None],
    ) -> dict[str, torch.Tensor]:
        """Eq. 6 and its parts."""
        config = self.config
        verdict = fake[:, 0].to(torch.promote_types(fake.dtype, torch.float32))
        target = labels.reshape(-1).to(verdict.dtype)
        losses = {"loss_classification": F.binary_cross_entropy_with_logits(verdict, target)}
        loss = config.classification_loss_weight * losses["loss_classification"]
        weights = {"ai": config.ai_loss_weight, "manipulation": config.manipulation_loss_weight}
        for name, logits in mask_logits.items():
            mask = masks[name]
            if mask is None:
                continue
            if mask.shape[-2:] != logits.shape[-2:]:  # Eq. 4
                logits = F.interpolate(logits, size=mask.shape[-2:], mode="bilinear", align_corners=False)
            losses[f"loss_{name}"] = binary_mask_cross_entropy(logits, mask, config.label_ignore_index)
            loss = loss + weights[name] * losses[f"loss_{name}"]
        return {"loss": loss, **losses}


# As for ICL-Net: the classification pipeline checks a copy of this mapping, which registered classes are not part of.
MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES[GammaConfig.model_type] = GammaForDetection.__name__

__all__ = ["GammaForDetection", "GammaModel", "GammaPreTrainedModel"]
