"""What FakeReasoning and LEGION share: CLIP, a projector and a language model, the parts of LLaVA-1.5."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import AutoModel, PreTrainedConfig
from transformers.cache_utils import Cache
from transformers.modeling_outputs import BaseModelOutputWithPast, BaseModelOutputWithPooling
from transformers.models.llava.modeling_llava import LlavaMultiModalProjector

from .modeling_forgescope import ForgescopePreTrainedModel


@dataclass
class ImageLanguageModelOutput(BaseModelOutputWithPast):
    """Hidden states of the language model, and the image features that it read.

    Args:
        image_hidden_states (`torch.FloatTensor` of shape `(images, N, hidden_size)`):
            Projected image features; None in a step without images.
        image_states (`torch.FloatTensor` of shape `(images, 1 + N, vision_hidden_size)`):
            What was projected, with the class token first; None likewise.
    """

    image_hidden_states: torch.FloatTensor | None = None
    image_states: torch.FloatTensor | None = None


class ImageLanguagePreTrainedModel(ForgescopePreTrainedModel):
    """A model with such parts; those that the paper freezes stay frozen, also after `from_pretrained`."""

    base_model_prefix = "model"
    main_input_name = "input_ids"
    input_modalities = ("image", "text")
    supports_gradient_checkpointing = True
    _skip_keys_device_placement = ["past_key_values"]  # noqa: RUF012 (transformers reads this form)
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True

    def frozen_parts(self) -> list[nn.Module]:
        """Parts that are never trained."""
        return self.base_model.frozen_parts()

    def train(self, mode: bool = True):
        """Switch mode."""
        super().train(mode)
        for part in self.frozen_parts():
            part.requires_grad_(False).train(False)
        return self


class ImageLanguageModel(ImageLanguagePreTrainedModel):
    """CLIP, projector and language model.

    Args:
        config: has `vision_config`, `text_config`, `vision_feature_layer`, `image_token_id`, and what LLaVA's
            projector reads.
    """

    def __init__(self, config: PreTrainedConfig):
        super().__init__(config)
        self.vision_tower = AutoModel.from_config(config.vision_config)
        self.multi_modal_projector = LlavaMultiModalProjector(config)
        self.language_model = AutoModel.from_config(config.text_config)

    def frozen_parts(self) -> list[nn.Module]:
        """The image encoder."""
        return [self.vision_tower]

    def get_input_embeddings(self) -> nn.Embedding:
        """Embedding table of the language model."""
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replace it."""
        self.language_model.set_input_embeddings(value)

    def project(self, clip_features: torch.Tensor, pixel_values: torch.Tensor) -> torch.Tensor:
        """Patch features (images, N, C_v) as the language model reads them, (images, N, C)."""
        return self.multi_modal_projector(clip_features)

    def image_states(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """CLIP's states of the chosen layer (images, 1 + N, C_v), class token first, without gradient."""
        with torch.no_grad():
            states = self.vision_tower(pixel_values.to(self.vision_tower.dtype), output_hidden_states=True)
        return states.hidden_states[self.config.vision_feature_layer]

    def get_image_features(
        self, pixel_values: torch.Tensor, return_dict: bool = True, **kwargs: Any
    ) -> BaseModelOutputWithPooling:
        """Encode images.

        Args:
            pixel_values: (images, 3, H, W) as CLIP's processor normalises them.
            return_dict: True is the only form.
            **kwargs: Ignored.

        Returns:
            `last_hidden_state`: see `image_states`. `pooler_output`: projected features, a list of (N, C).
        """
        states = self.image_states(pixel_values)
        features = self.project(states[:, 1:], pixel_values.to(states.dtype))
        return BaseModelOutputWithPooling(last_hidden_state=states, pooler_output=list(features))

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        pixel_values: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        mm_encoder_outputs: dict[str, BaseModelOutputWithPooling] | None = None,
        **kwargs: Any,
    ) -> ImageLanguageModelOutput:
        """Read prompts with images.

        Args:
            input_ids: (B, L), with one image token per image feature.
            pixel_values: (images, 3, H, W), in the order of their tokens.
            attention_mask: (B, L), 1 = token, 0 = padding.
            position_ids: (B, L); default: 0, 1, 2, ...
            past_key_values: Keys and values of the tokens before.
            inputs_embeds: (B, L, C) instead of `input_ids` and images.
            mm_encoder_outputs: `{"image": outputs of get_image_features}` instead of `pixel_values`.
            **kwargs: Passed on to the language model.

        Returns:
            [`ImageLanguageModelOutput`].

        Raises:
            ValueError: If not exactly one of `input_ids` and `inputs_embeds` is given, images beside `inputs_embeds`,
                or another number of image tokens than of features.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("expected either input_ids or inputs_embeds")
        if inputs_embeds is not None and (pixel_values is not None or mm_encoder_outputs):
            raise ValueError("expected no images beside inputs_embeds, which hold their features already")
        encoded = (mm_encoder_outputs or {}).get("image")
        if encoded is None and pixel_values is not None:
            encoded = self.get_image_features(pixel_values)
        features = None if encoded is None else torch.stack(list(encoded.pooler_output))
        if inputs_embeds is None:
            table = self.get_input_embeddings()
            inputs_embeds = embed_with_images(input_ids, table, self.config.image_token_id, features)
        outputs = self.language_model(
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            **kwargs,
        )
        states = None if encoded is None else encoded.last_hidden_state
        return ImageLanguageModelOutput(**outputs, image_hidden_states=features, image_states=states)


def embed_with_images(
    input_ids: torch.Tensor, embedding: nn.Embedding, image_token_id: int, image_features: torch.Tensor | None
) -> torch.Tensor:
    """Look up a prompt and put image features where its image tokens stand.

    Args:
        input_ids: (B, L) int64.
        embedding: table of the language model.
        image_token_id: may lie outside the table, which is never asked for it.
        image_features: (images, N, C) in the order of the image tokens; None where the prompt has none.

    Returns:
        (B, L, C).

    Raises:
        ValueError: If the prompt has another number of image tokens than there are features.
    """
    places = input_ids == image_token_id
    embeddings = embedding(input_ids.masked_fill(places, 0))
    if image_features is None:
        return embeddings
    images, each = image_features.shape[:2]
    found = int(places.sum())
    if found != images * each:
        raise ValueError(
            f"expected {images} x {each} image tokens for {images} images, got {found}: make the inputs with the "
            "model's processor, with a max_length that cuts no image tokens off"
        )
    return embeddings.masked_scatter(places.unsqueeze(-1), image_features.to(embeddings.device, embeddings.dtype))


def mean_token_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Language modelling loss: mean cross-entropy of the next tokens over those that are taught.

    Args:
        logits: (B, L, V), any float dtype.
        labels: (B, L) int64, -100 where nothing is taught.

    Returns:
        Scalar, float32; 0 with a graph where nothing is taught.
    """
    taught = labels[:, 1:] != -100
    total = nn.functional.cross_entropy(logits[:, :-1][taught].float(), labels[:, 1:][taught], reduction="sum")
    return total / taught.sum().clamp(min=1)


__all__ = [
    "ImageLanguageModel",
    "ImageLanguageModelOutput",
    "ImageLanguagePreTrainedModel",
    "embed_with_images",
    "mean_token_loss",
]
