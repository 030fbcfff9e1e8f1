"""LEGION: finds the artifacts of a synthetic image, outlines and explains each, and tells fake from real.

Paper: "LEGION: Learning to Ground and Explain for Synthetic Image Detection", section 4.1, Eq. 1 to 4. Published code:
opendatalab/LEGION (May 2025), which is GLaMM with another prompt, other data and a separate detection head.

Differences from the authors' code:
  * one model holds explanation, masks and detection head; theirs are two classes, of which the second carries a whole
    language model that it never asks;
  * label 1 is fake and 0 is real, theirs are the other way round;
  * generation has a cache and batches, encodes an image once by CLIP, and by SAM once and only when a mask was asked
    for; theirs runs CLIP and the whole text again for every token;
  * the region encoder is left out: it takes boxes that LEGION never gives;
  * image tokens stand in `input_ids` once per feature instead of one sentinel; states, losses and gradients are the
    same;
  * another number of `[SEG]` tokens than of masks is one clear error; theirs cuts masks off silently where a text was
    truncated.

Weights: language models derived from Llama 2 (Vicuna) stand under Meta's Llama 2 licence; OpenAI's CLIP under MIT,
SAM under Apache-2.0. GLaMM is published under Apache-2.0; LEGION's repository has no licence file.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import GenerationMixin, SamModel
from transformers.cache_utils import Cache
from transformers.modeling_outputs import BaseModelOutputWithPooling

from .configuration_legion import LegionConfig
from .generation_steps import generate_with_steps
from .image_language_model import ImageLanguageModel, ImageLanguagePreTrainedModel, mean_token_loss
from .loss_phrase_masks import phrase_mask_losses
from .outputs_legion import LegionGeneration, LegionOutput
from .phrase_masks import PhraseMasksMixin


class TwoLayers(nn.Module):
    """Linear, ReLU, linear: LEGION's projection to mask prompts (Eq. 3) and its detection head (Eq. 1)."""

    def __init__(self, in_features: int, hidden_features: int, out_features: int):
        super().__init__()
        self.linear_1 = nn.Linear(in_features, hidden_features)
        self.linear_2 = nn.Linear(hidden_features, out_features)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(..., in_features) of any float dtype to (..., out_features) of the layers' own."""
        features = features.to(self.linear_1.bias.dtype)  # that of the weight may be one of integers
        return self.linear_2(self.linear_1(features).relu())


class LegionModel(ImageLanguageModel):
    """Global image encoder, vision-language projector and language model, without heads."""

    config: LegionConfig
    config_class = LegionConfig

    def __init__(self, config: LegionConfig):
        super().__init__(config)
        self.post_init()
        self.train()  # freezes the image encoder


class LegionForGroundedExplanation(PhraseMasksMixin, ImageLanguagePreTrainedModel, GenerationMixin):
    """LEGION with language modelling head, masks and detection head.

    ```
            ┌─► class token ─► detection head (Eq. 1) ─► real or fake
    CLIP ───┴─► projector ─► language model (Eq. 2) ─► <p> phrase </p> [SEG]: explanation
                                        └─ state before [SEG] ─► prompt projector ─┐
    SAM encoder ───────────────────────────────────────────────► mask decoder (Eq. 3) ─► mask of the phrase
    ```

    Example:
        ```python
        >>> model = LegionForGroundedExplanation.from_pretrained("org/legion")
        >>> found = model.generate_grounded(**processor.inference_inputs(images), max_new_tokens=512)
        >>> processor.post_process_grounded(found)  # phrases, explanations and masks of each image
        ```
    """

    config: LegionConfig
    config_class = LegionConfig

    def __init__(self, config: LegionConfig):
        super().__init__(config)
        hidden_size = config.text_config.hidden_size
        self.model = LegionModel(config)
        self.lm_head = nn.Linear(hidden_size, config.text_config.vocab_size, bias=False)
        if config.grounding_config._attn_implementation not in SAM_ATTENTION:
            config.grounding_config._attn_implementation = SAM_ATTENTION[0]
        self.grounding = SamModel(config.grounding_config)
        prompt_size = config.grounding_config.prompt_encoder_config.hidden_size
        self.prompt_projector = TwoLayers(hidden_size, hidden_size, prompt_size)
        self.detection_head = TwoLayers(config.vision_config.hidden_size, config.detection_hidden_size, 2)
        self.post_init()
        self.train()  # freezes the image encoders

    def frozen_parts(self) -> list[nn.Module]:
        """CLIP, and SAM without its mask decoder (section 4.1)."""
        sam = self.grounding
        return [*self.model.frozen_parts(), sam.vision_encoder, sam.prompt_encoder, sam.shared_image_embedding]

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
        grounding_pixel_values: torch.Tensor | None = None,
        grounding_sizes: torch.Tensor | None = None,
        original_sizes: torch.Tensor | None = None,
        masks: Sequence[torch.Tensor] | None = None,
        image_features: torch.Tensor | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        mm_encoder_outputs: dict[str, BaseModelOutputWithPooling] | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> LegionOutput | tuple:
        """Predict the next tokens, the masks of `[SEG]` tokens and the verdict, with targets also the losses.

        Without `input_ids` only the detection head runs (stage 2).

        Args:
            input_ids: (B, L) int64, with one image token per image feature.
            pixel_values: (B, 3, H, W) for CLIP.
            attention_mask: (B, L), 1 = token, 0 = padding.
            position_ids: (B, L); default: 0, 1, 2, ...
            past_key_values: Keys and values of the tokens before.
            inputs_embeds: (B, L, C) instead of `input_ids` and images; gives no masks.
            labels: (B, L) int64, the tokens that are taught; -100 for prompt, image and padding.
            forgery_labels: (B,) int64, 1 = fake, 0 = real.
            grounding_pixel_values: (B, 3, S, S) for SAM: the image at the top left, zeros below and right of it.
            grounding_sizes: (B, 2) height and width of the image within them.
            original_sizes: (B, 2) height and width of the masks that are returned where none are given; None: those
                of the line above.
            masks: One tensor (n_i, H_i, W_i) an image, 1 = artifact, in the order of its `[SEG]` tokens.
            image_features: (B, C_v) class tokens instead of `pixel_values`, where only the detection head runs.
            logits_to_keep: Number of last positions, or positions, whose logits are computed; 0: all.
            mm_encoder_outputs: `{"image": outputs of get_image_features}` instead of `pixel_values`.
            return_dict: False for a tuple.
            **kwargs: Passed on to the language model.

        Returns:
            [`LegionOutput`], or its tuple.

        Raises:
            ValueError: If image tokens and features, or `[SEG]` tokens and masks, differ in number.
        """
        parts: dict[str, Any] = {}
        if input_ids is None and inputs_embeds is None:
            states = image_features if image_features is not None else self.class_tokens(pixel_values)
        else:
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
            parts["logits"] = self.lm_head(outputs.last_hidden_state[:, kept])
            parts |= {name: outputs[name] for name in CARRIED if name in outputs}
            states = None if outputs.image_states is None else outputs.image_states[:, 0]
            if labels is not None:
                parts["loss_lm"] = mean_token_loss(parts["logits"], labels)
            if grounding_pixel_values is not None and input_ids is not None:
                seg_states = self.seg_states(input_ids, outputs.last_hidden_state)
                parts |= self._ground(seg_states, grounding_pixel_values, grounding_sizes, original_sizes, masks)
        if states is not None:
            parts["detection_logits"] = self.detection_head(states)
        if states is not None and forgery_labels is not None:
            parts["loss_detection"] = F.cross_entropy(parts["detection_logits"].float(), forgery_labels.long())
        result = LegionOutput(loss=self._weighted_loss(parts), **parts)
        use_dict = self.config.return_dict if return_dict is None else return_dict
        return result if use_dict else result.to_tuple()

    def class_tokens(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """CLIP's class tokens (B, C_v), which the detection head classifies; worth keeping, since CLIP is frozen."""
        return self.model.image_states(pixel_values)[:, 0]

    def seg_states(self, input_ids: torch.Tensor, hidden_states: torch.Tensor) -> list[torch.Tensor]:
        """Last hidden states (n_i, C) of the tokens before each image's `[SEG]` tokens, which predict them."""
        places = input_ids[:, 1:] == self.config.seg_token_id
        return [states[:-1][mask] for states, mask in zip(hidden_states, places, strict=True)]

    def _ground(
        self,
        seg_states: list[torch.Tensor],
        grounding_pixel_values: torch.Tensor,
        grounding_sizes: torch.Tensor | None,
        original_sizes: torch.Tensor | None,
        masks: Sequence[torch.Tensor] | None,
    ) -> dict[str, Any]:
        """Masks, and their losses where there are targets."""
        if masks is None:
            sizes = self._sizes(len(seg_states), original_sizes, grounding_sizes)
            return {"mask_logits": self.decode_masks(seg_states, grounding_pixel_values, grounding_sizes, sizes)}
        for index, (states, given) in enumerate(zip(seg_states, masks, strict=True)):
            if len(states) != len(given):
                raise ValueError(
                    f"image {index} of the batch has {len(given)} masks and {len(states)} [SEG] tokens: expected one "
                    "mask a token; a text cut by max_length needs its masks cut too, which the processor does"
                )
        sizes = [tuple(one.shape[-2:]) for one in masks]
        logits = self.decode_masks(seg_states, grounding_pixel_values, grounding_sizes, sizes)
        config = self.config
        cross_entropy, dice = phrase_mask_losses(logits, masks, config.dice_scale, config.dice_eps)
        return {"mask_logits": logits, "loss_mask_bce": cross_entropy, "loss_mask_dice": dice}

    def _sizes(self, images: int, *given: torch.Tensor | None) -> torch.Tensor | list[tuple[int, int]]:
        """The first sizes that are given; that of SAM's input where none are."""
        side = self.config.grounding_config.vision_config.image_size
        return next((sizes for sizes in given if sizes is not None), [(side, side)] * images)

    def _weighted_loss(self, parts: dict[str, Any]) -> torch.Tensor | None:
        """Eq. 4; None without a target."""
        config = self.config
        weights = {
            "loss_lm": config.language_loss_weight,
            "loss_mask_bce": config.mask_bce_loss_weight,
            "loss_mask_dice": config.mask_dice_loss_weight,
            "loss_detection": 1.0,
        }
        terms = [weight * parts[name] for name, weight in weights.items() if name in parts]
        return sum(terms[1:], start=terms[0]) if terms else None

    @torch.no_grad()
    def generate_grounded(
        self,
        input_ids: torch.Tensor,
        pixel_values: torch.Tensor,
        grounding_pixel_values: torch.Tensor,
        grounding_sizes: torch.Tensor | None = None,
        original_sizes: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> LegionGeneration:
        """Generate explanations as `generate` does, with the masks of their phrases and the verdict.

        Args:
            input_ids: (B, L), padded on the left.
            pixel_values: (B, 3, H, W) for CLIP.
            grounding_pixel_values: (B, 3, S, S) for SAM.
            grounding_sizes: (B, 2) height and width of the image within them; None: all of it.
            original_sizes: (B, 2) height and width of the images, which the masks get; None: those of the line above.
            **kwargs: As `generate`: `attention_mask`, `max_new_tokens`, `temperature`, `streamer`, ...

        Returns:
            [`LegionGeneration`].

        Raises:
            ValueError: For beam search, several sequences an image or an assistant; see `generate_with_steps`.
        """
        encoded = self.get_image_features(pixel_values)
        # the state of a step predicts that step's token
        sequences, generated, states = generate_with_steps(
            self, lambda state, _logits: state, input_ids, mm_encoder_outputs={"image": encoded}, **kwargs
        )
        seg_states = [one[ids == self.config.seg_token_id] for one, ids in zip(states, generated, strict=True)]
        sizes = self._sizes(len(generated), original_sizes, grounding_sizes)
        verdict = self.detection_head(encoded.last_hidden_state[:, 0])
        return LegionGeneration(
            sequences=sequences,
            generated_ids=generated,
            mask_logits=self.decode_masks(seg_states, grounding_pixel_values, grounding_sizes, sizes),
            detection_logits=verdict,
            fake_probability=verdict.float().softmax(dim=-1)[:, 1],
        )


# SAM refuses others, such as the flash attention that the language model and CLIP know.
SAM_ATTENTION = ("sdpa", "eager", None)
# What the language model's outputs hand on to LegionOutput.
CARRIED = ("past_key_values", "hidden_states", "attentions", "image_hidden_states")

__all__ = ["LegionForGroundedExplanation", "LegionGeneration", "LegionModel", "LegionOutput"]
