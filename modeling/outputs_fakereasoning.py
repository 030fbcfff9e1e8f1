"""What FakeReasoning's network returns."""

from dataclasses import dataclass

import torch
from transformers.cache_utils import Cache
from transformers.utils import ModelOutput


@dataclass
class FakeReasoningOutput(ModelOutput):
    """Logits, the parts of the loss, and the verdict.

    Args:
        loss (`torch.FloatTensor` of shape `()`, with `labels`): Eq. 11, of the terms that have a target.
        logits (`torch.FloatTensor` of shape `(B, L, vocab_size)`): Before the softmax.
        past_key_values (`Cache`): With `use_cache`.
        hidden_states (`tuple(torch.FloatTensor)`): With `output_hidden_states`: of the language model.
        attentions (`tuple(torch.FloatTensor)`): With `output_attentions`: of the language model.
        image_hidden_states (`torch.FloatTensor` of shape `(images, N, hidden_size)`): F_v.
        loss_lm (`torch.FloatTensor` of shape `()`): Eq. 10, mean over the tokens that are taught.
        loss_cpm (`torch.FloatTensor` of shape `()`): Eq. 9, mean over the answers whose conclusion was found.
        loss_facl (`torch.FloatTensor` of shape `()`): Eq. 5.
        loss_image_to_text, loss_text_to_image, loss_image_to_image, loss_text_to_text
            (`torch.FloatTensor` of shape `()`): Eq. 1 to 4.
        fake_probability (`torch.FloatTensor` of shape `(B,)`, with `labels`):
            Eq. 8, 0 to 1; NaN where no conclusion was found.
        classification_index (`torch.LongTensor` of shape `(B,)`, with `labels`):
            k of Eq. 7: the position whose logits tell real from fake; -1 where none was found.
    """

    loss: torch.FloatTensor | None = None
    logits: torch.FloatTensor | None = None
    past_key_values: Cache | None = None
    hidden_states: tuple[torch.FloatTensor, ...] | None = None
    attentions: tuple[torch.FloatTensor, ...] | None = None
    image_hidden_states: torch.FloatTensor | None = None
    loss_lm: torch.FloatTensor | None = None
    loss_cpm: torch.FloatTensor | None = None
    loss_facl: torch.FloatTensor | None = None
    loss_image_to_text: torch.FloatTensor | None = None
    loss_text_to_image: torch.FloatTensor | None = None
    loss_image_to_image: torch.FloatTensor | None = None
    loss_text_to_text: torch.FloatTensor | None = None
    fake_probability: torch.FloatTensor | None = None
    classification_index: torch.LongTensor | None = None


@dataclass
class FakeReasoningGeneration(ModelOutput):
    """Generated answers with their verdicts.

    Args:
        sequences (`torch.LongTensor` of shape `(B, L + T)`): Prompts and answers.
        generated_ids (`torch.LongTensor` of shape `(B, T)`): Answers alone.
        fake_probability (`torch.FloatTensor` of shape `(B,)`): Eq. 8; NaN where an answer has no conclusion.
        classification_index (`torch.LongTensor` of shape `(B,)`): Place of the verdict in `generated_ids`, or -1.
    """

    sequences: torch.LongTensor | None = None
    generated_ids: torch.LongTensor | None = None
    fake_probability: torch.FloatTensor | None = None
    classification_index: torch.LongTensor | None = None


__all__ = ["FakeReasoningGeneration", "FakeReasoningOutput"]
