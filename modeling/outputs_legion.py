"""What LEGION's network returns."""

from dataclasses import dataclass

import torch
from transformers.cache_utils import Cache
from transformers.utils import ModelOutput


@dataclass
class LegionOutput(ModelOutput):
    """Logits, masks, verdict and the parts of the loss.

    Args:
        loss (`torch.FloatTensor` of shape `()`): Eq. 4, of the terms that have a target.
        logits (`torch.FloatTensor` of shape `(B, L, vocab_size)`): Before the softmax.
        past_key_values (`Cache`): With `use_cache`.
        hidden_states (`tuple(torch.FloatTensor)`): With `output_hidden_states`: of the language model.
        attentions (`tuple(torch.FloatTensor)`): With `output_attentions`: of the language model.
        image_hidden_states (`torch.FloatTensor` of shape `(B, N, hidden_size)`): Projected image features.
        mask_logits (`tuple(torch.FloatTensor)`, with `grounding_pixel_values`):
            One tensor (n_i, H_i, W_i) an image, one mask per `[SEG]`, before the sigmoid.
        detection_logits (`torch.FloatTensor` of shape `(B, 2)`): Before the softmax over (real, fake) (Eq. 1).
        loss_lm (`torch.FloatTensor` of shape `()`): Cross-entropy of the tokens that are taught.
        loss_mask_bce, loss_mask_dice (`torch.FloatTensor` of shape `()`): Mean over the masks, unweighted.
        loss_detection (`torch.FloatTensor` of shape `()`): Cross-entropy of the verdict (stage 2).
    """

    loss: torch.FloatTensor | None = None
    logits: torch.FloatTensor | None = None
    past_key_values: Cache | None = None
    hidden_states: tuple[torch.FloatTensor, ...] | None = None
    attentions: tuple[torch.FloatTensor, ...] | None = None
    image_hidden_states: torch.FloatTensor | None = None
    mask_logits: tuple[torch.FloatTensor, ...] | None = None
    detection_logits: torch.FloatTensor | None = None
    loss_lm: torch.FloatTensor | None = None
    loss_mask_bce: torch.FloatTensor | None = None
    loss_mask_dice: torch.FloatTensor | None = None
    loss_detection: torch.FloatTensor | None = None


@dataclass
class LegionGeneration(ModelOutput):
    """Generated explanations with their masks and verdicts.

    Args:
        sequences (`torch.LongTensor` of shape `(B, L + T)`): Prompts and explanations.
        generated_ids (`torch.LongTensor` of shape `(B, T)`): Explanations alone.
        mask_logits (`tuple(torch.FloatTensor)`):
            One tensor (n_i, H_i, W_i) an image: a mask per generated `[SEG]`, at the image's size; n_i may be 0.
        detection_logits (`torch.FloatTensor` of shape `(B, 2)`): Before the softmax over (real, fake).
        fake_probability (`torch.FloatTensor` of shape `(B,)`): Its second entry, 0 to 1.
    """

    sequences: torch.LongTensor | None = None
    generated_ids: torch.LongTensor | None = None
    mask_logits: tuple[torch.FloatTensor, ...] | None = None
    detection_logits: torch.FloatTensor | None = None
    fake_probability: torch.FloatTensor | None = None


__all__ = ["LegionGeneration", "LegionOutput"]
