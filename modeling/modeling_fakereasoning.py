"""FakeReasoning: a vision-language model that reasons about an image in four stages, and concludes real or fake.

Paper: "FakeReasoning: Towards Generalizable Forgery Detection and Reasoning", arXiv 2503.21210 version 1, section 4,
Eq. 1 to 11. The checkpoint that the authors published follows a later design: DINOv2 beside CLIP, fused under the
guidance of its attention, and no contrastive learning. One class serves both; see `FakeReasoningConfig`.

Differences from the authors' code (PRIS-CV/FakeReasoning, August 2025), which has the later design only:
  * forgery-aligned contrastive learning is there (Eq. 1 to 5), from the paper alone; our readings are fields of the
    configuration;
  * the temperature of the classification probability mapper is trained, as in Eq. 8; theirs is the constant 10;
  * a pattern that ends at the last position counts as not found, where theirs stops with an index error;
  * generation gives the probability to be fake, theirs gives text alone;
  * image tokens stand in `input_ids` once per feature, as everywhere in transformers, instead of one sentinel that is
    replaced; hidden states, losses and gradients are the same;
  * a second, unused CLIP inside the DINOv2 tower is left out.

Weights: language models derived from Llama 2 (Vicuna, LLaVA-1.5) stand under Meta's Llama 2 licence; OpenAI's CLIP
under MIT, DINOv2 under Apache-2.0. The model card of the authors' checkpoint names Apache-2.0.
"""

from typing import Any

import torch
from torch import nn
from transformers import GenerationMixin, LlavaConfig, PreTrainedConfig
from transformers.cache_utils import Cache
from transformers.conversion_mapping import get_checkpoint_conversion_mapping, register_checkpoint_conversion_mapping
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.llava.modeling_llava import LlavaMultiModalProjector

from .attention_fusion import AttentionBiasedFusion, dino_features, dino_tower
from .classification_probability import ClassificationProbabilityMapper
from .configuration_fakereasoning import FakeReasoningConfig
from .generation_steps import generate_with_steps
from .image_language_model import ImageLanguageModel
from .loss_fakereasoning import JointLossModel
from .loss_forgery_alignment import ForgeryAlignedContrast
from .offloaded_weights import weights_at_hand
from .outputs_fakereasoning import FakeReasoningGeneration, FakeReasoningOutput


class FakeReasoningModel(ImageLanguageModel):
    """Image encoders, projectors, fusion and language model, without the head."""

    config: FakeReasoningConfig
    config_class = FakeReasoningConfig

    def __init__(self, config: FakeReasoningConfig):
        super().__init__(config)
        if config.dino_config is not None:
            hidden_size = config.text_config.hidden_size
            self.dino_tower = dino_tower(config.dino_config, config.dino_interpolation_offset)
            self.dino_projector = LlavaMultiModalProjector(_projector_config(config, config.dino_config))
            self.fusion = AttentionBiasedFusion(
                hidden_size,
                config.fusion_num_attention_heads,
                config.dino_config.num_attention_heads,
                config.fusion_intermediate_size or 4 * hidden_size,
                config.fusion_bias_channels,
                config.fusion_dropout,
                config.fusion_layer_norm_eps,
                config.fusion_attention_eps,
            )
        self.post_init()
        self.train()  # freezes the image encoders

    def frozen_parts(self) -> list[nn.Module]:
        """The image encoders: CLIP, and DINOv2 where there is one."""
        return [self.vision_tower] if self.config.dino_config is None else [self.vision_tower, self.dino_tower]

    def project(self, clip_features: torch.Tensor, pixel_values: torch.Tensor) -> torch.Tensor:
        """F_v (images, N, C): CLIP's patch features, projected, in the later design with DINOv2's fused in."""
        features = self.multi_modal_projector(clip_features)
        if self.config.dino_config is None:
            return features
        with torch.no_grad():
            dino, attention = dino_features(self.dino_tower, pixel_values)
        return self.fusion(features, self.dino_projector(dino), attention)


class FakeReasoningForConditionalGeneration(JointLossModel, GenerationMixin):
    """FakeReasoning with its language modelling head and the losses of Eq. 11.

    ```
                 ┌─► contrastive learning with caption and reasoning (Eq. 1 to 5)
    image ─► CLIP ─► projector ─► (fusion with DINOv2) ─┐
    prompt ─► embeddings ───────────────────────────────┴─► language model ─► answer in four stages (Eq. 10)
                                                                   └─► conclusion's logits ─► probability (Eq. 6 to 9)
    ```

    Example:
        ```python
        >>> model = FakeReasoningForConditionalGeneration.from_llava("llava-hf/llava-1.5-13b-hf")
        >>> outputs = model(**processor.training_inputs(images, answers, forgery_labels=[1, 0]))
        >>> verdict = model.generate_verdict(**processor.inference_inputs(images), max_new_tokens=512)
        >>> verdict.fake_probability, processor.decode_answers(verdict.generated_ids)
        ```
    """

    config: FakeReasoningConfig
    config_class = FakeReasoningConfig

    def __init__(self, config: FakeReasoningConfig):
        super().__init__(config)
        self.model = FakeReasoningModel(config)
        self.lm_head = nn.Linear(config.text_config.hidden_size, config.text_config.vocab_size, bias=False)
        self.probability_mapper = ClassificationProbabilityMapper(
            tuple(config.conclusion_pattern_ids),
            config.real_token_id,
            config.fake_token_id,
            temperature=config.classification_temperature,
            learn_temperature=config.learn_classification_temperature,
            search=config.classification_search,
        )
        if config.contrastive_loss_weight > 0:
            self.forgery_contrast = ForgeryAlignedContrast(
                config.text_config.hidden_size,
                config.contrastive_queue_size,
                temperature=config.contrastive_temperature,
                normalize=config.contrastive_normalize,
                pool=config.contrastive_pool,
                save_queue=config.save_contrastive_queue,
            )
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, ForgeryAlignedContrast | ClassificationProbabilityMapper):
            module.reset_parameters()

    @classmethod
    def from_llava(cls, name_or_path: str, config: FakeReasoningConfig | None = None, **kwargs: Any):
        """Build the model and fill image encoder, projector and language model from a LLaVA-1.5 checkpoint.

        Args:
            name_or_path: Hub id or folder of a LLaVA checkpoint of transformers, such as llava-hf/llava-1.5-13b-hf.
            config: Everything but these parts; their configurations and the image token are the checkpoint's.
            **kwargs: Passed on to `from_pretrained` (`dtype`, `device_map`, `revision`, `token`, ...).

        Returns:
            The model in evaluation mode. What LLaVA does not have is initialised afresh.

        Raises:
            ValueError: If the checkpoint holds another model, or lacks weights.
        """
        place = {name: kwargs[name] for name in PLACE if name in kwargs}
        model_type = PreTrainedConfig.get_config_dict(name_or_path, **place)[0].get("model_type")
        if model_type != LlavaConfig.model_type:
            raise ValueError(f"expected a LLaVA checkpoint, got {name_or_path} of type {model_type!r}")
        source = LlavaConfig.from_pretrained(name_or_path, **place)
        settings = config.to_dict() if config is not None else {}
        settings |= {"vision_config": source.vision_config.to_dict(), "text_config": source.text_config.to_dict()}
        settings |= {
            "image_token_id": source.image_token_index,
            "vision_feature_layer": source.vision_feature_layer,
            "projector_hidden_act": source.projector_hidden_act,
            "multimodal_projector_bias": source.multimodal_projector_bias,
        }
        model, report = cls.from_pretrained(
            name_or_path, config=cls.config_class.from_dict(settings), output_loading_info=True, **kwargs
        )
        new = ("forgery_contrast.", "probability_mapper.", "model.dino_", "model.fusion.")
        missing = sorted(key for key in report["missing_keys"] if not key.startswith(new))
        if missing:
            raise ValueError(f"{name_or_path} lacks {len(missing)} weights of LLaVA, the first is {missing[0]}")
        return model

    def get_image_features(self, pixel_values: torch.Tensor, **kwargs: Any) -> BaseModelOutputWithPooling:
        """See `ImageLanguageModel.get_image_features`."""
        return self.model.get_image_features(pixel_values, **kwargs)

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        pixel_values: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        forgery_labels: torch.Tensor | None = None,
        caption_mask: torch.Tensor | None = None,
        reasoning_mask: torch.Tensor | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        mm_encoder_outputs: dict[str, BaseModelOutputWithPooling] | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> FakeReasoningOutput | tuple:
        """Predict the next tokens, with `labels` also the losses and the verdict.

        Args:
            input_ids: (B, L) int64, with one image token per image feature.
            pixel_values: (images, 3, H, W), in the order of their tokens.
            attention_mask: (B, L), 1 = token, 0 = padding.
            position_ids: (B, L); default: 0, 1, 2, ...
            past_key_values: Keys and values of the tokens before.
            inputs_embeds: (B, L, C) instead of `input_ids` and images.
            labels: (B, L) int64, the tokens that are taught; -100 for prompt, image and padding.
            forgery_labels: (B,) int64, 1 = fake, 0 = real; without them Eq. 5 and 9 have no target.
            caption_mask: (B, L) bool, tokens of the caption.
            reasoning_mask: (B, L) bool, tokens of the reasoning. Without both masks Eq. 5 has no target.
            logits_to_keep: Number of last positions, or positions, whose logits are computed; 0: all. Leave it at 0
                with `labels`.
            mm_encoder_outputs: `{"image": outputs of get_image_features}` instead of `pixel_values`.
            return_dict: False for a tuple.
            **kwargs: Passed on to the language model.

        Returns:
            [`FakeReasoningOutput`], or its tuple.

        Raises:
            ValueError: As `ImageLanguageModel.forward`.
        """
        outputs = self.model(
            input_ids=input_ids,
            pixel_values=pixel_values,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            mm_encoder_outputs=mm_encoder_outputs,
            **kwargs,
        )
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(outputs.last_hidden_state[:, kept])
        parts: dict[str, torch.Tensor] = {}
        if labels is not None:
            parts = self._language_and_verdict(logits, labels, forgery_labels)
            if forgery_labels is not None and caption_mask is not None and reasoning_mask is not None:
                parts |= self._contrast(input_ids, outputs, forgery_labels, caption_mask | reasoning_mask)
            parts["loss"] = self._joint_loss(parts)
        result = FakeReasoningOutput(
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            image_hidden_states=outputs.image_hidden_states,
            **parts,
        )
        use_dict = self.config.return_dict if return_dict is None else return_dict
        return result if use_dict else result.to_tuple()

    @torch.no_grad()
    def generate_verdict(self, input_ids: torch.Tensor, **kwargs: Any) -> FakeReasoningGeneration:
        """Generate answers as `generate` does, with the probability of their conclusions.

        The probability comes from the logits of the model before temperature and sampling.

        Args:
            input_ids: (B, L), padded on the left.
            **kwargs: As `generate`: `pixel_values`, `attention_mask`, `max_new_tokens`, `temperature`, `streamer`, ...

        Returns:
            [`FakeReasoningGeneration`].

        Raises:
            ValueError: For beam search, several sequences an image or an assistant; see `generate_with_steps`.
        """
        ids = [self.config.real_token_id, self.config.fake_token_id]
        sequences, generated, pairs = generate_with_steps(
            self, lambda _state, logits: logits[:, ids], input_ids, **kwargs
        )
        tag_ids = tuple(self.config.conclusion_tag_ids)
        with weights_at_hand(self.probability_mapper):
            found = self.probability_mapper.from_generation(generated, pairs, tag_ids)
        return FakeReasoningGeneration(
            sequences=sequences,
            generated_ids=generated,
            fake_probability=found.fake_probability,
            classification_index=found.index,
        )


def _projector_config(config: FakeReasoningConfig, vision_config: Any) -> Any:
    """What a LLaVA projector reads, for another image encoder."""
    copied = FakeReasoningConfig.from_dict(config.to_dict() | {"dino_config": None})
    copied.vision_config = vision_config
    return copied


# Arguments of `from_pretrained` that say which files of a checkpoint are meant: its configuration's too.
PLACE = ("cache_dir", "force_download", "local_files_only", "revision", "subfolder", "token")

# Custom classes do not inherit the key conversions of the library's LLaVA: without them the language modelling head of
# an llava-hf checkpoint would be initialised afresh, with nothing but a report.
for ours, theirs in ((FakeReasoningModel, "LlavaModel"), (FakeReasoningForConditionalGeneration, "llava")):
    register_checkpoint_conversion_mapping(ours.__name__, get_checkpoint_conversion_mapping(theirs), overwrite=True)

__all__ = [
    "FakeReasoningForConditionalGeneration",
    "FakeReasoningGeneration",
    "FakeReasoningModel",
    "FakeReasoningOutput",
]
