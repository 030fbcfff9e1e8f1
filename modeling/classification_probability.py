"""Classification probability mapper (FakeReasoning, section 4.3, Eq. 6-9)."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from .full_precision import FullPrecisionModule

NOT_FOUND = -1
COUNT_EPSILON = 1e-6  # added to the number of found rows in the authors' code
SEARCHES = ("argmax", "labels")


class VerdictLogits(NamedTuple):
    """Where each row says real or fake, and how sure it is.

    index: (B,) int64, classification index k of Eq. 7, -1 where none was found.
    fake_logit: (B,) (z_fake - z_real) / tau of Eq. 8, 0 where none was found.
    fake_probability: (B,) its sigmoid, 0..1, NaN where none was found. Both float32 (float64 for float64 logits).
    """

    index: torch.Tensor
    fake_logit: torch.Tensor
    fake_probability: torch.Tensor


def find_pattern(ids: torch.Tensor, pattern: Sequence[int]) -> torch.Tensor:
    """Find the first occurrence of a token pattern in each row.

    Args:
        ids: (B, L) int64.
        pattern: At least one token id.

    Returns:
        (B,) int64 position of the pattern's first token, -1 = not found.

    Example:
        >>> find_pattern(torch.tensor([[5, 1, 2, 1, 2], [1, 1, 1, 1, 1]]), [1, 2])
        tensor([ 1, -1])
    """
    if ids.shape[1] < len(pattern):
        return ids.new_full((len(ids),), NOT_FOUND)
    windows = ids.unfold(1, len(pattern), 1)  # (B, L - l + 1, l)
    matches = (windows == torch.tensor(pattern, device=ids.device)).all(dim=-1)
    return torch.where(matches.any(dim=1), matches.int().argmax(dim=1), NOT_FOUND)


def classification_loss(fake_logit: torch.Tensor, index: torch.Tensor, forgery_labels: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy (Eq. 9), averaged over the rows whose classification index was found.

    Args:
        fake_logit: (B,) float.
        index: (B,) int64, -1 = not found.
        forgery_labels: (B,) 1 = fake, 0 = real.

    Returns:
        Scalar: sum over the found rows / (their number + 1e-6) as in the authors' code, so exactly 0 (with a graph)
        where none was found.
    """
    found = index != NOT_FOUND
    losses = F.binary_cross_entropy_with_logits(fake_logit, forgery_labels.to(fake_logit.dtype), reduction="none")
    return losses.where(found, 0.0).sum() / (found.sum() + COUNT_EPSILON)


class ClassificationProbabilityMapper(FullPrecisionModule):
    """Find the token that says real or fake and map its two logits to a probability (Eq. 6-8).

    Args:
        pattern_ids: p of Eq. 7, token ids of "CONCLUSION> This image is".
        real_token_id: Id of "real" after a space.
        fake_token_id: Id of "fake" after a space.
        temperature: Tau of Eq. 8, its initial value where it is trained; 10 in the paper.
        learn_temperature: True (the paper) trains log tau, parameter `log_temperature` of shape (1,), float32 in
            16-bit models too; False (the authors' code) leaves tau constant, and there is no parameter.
        search: "argmax" (Eq. 6) searches the predicted tokens, "labels" the ground truth, which has the pattern from
            the first step of training on.
    """

    def __init__(
        self,
        pattern_ids: Sequence[int],
        real_token_id: int,
        fake_token_id: int,
        temperature: float = 10.0,
        learn_temperature: bool = True,
        search: str = "argmax",
    ):
        super().__init__()
        if search not in SEARCHES:
            raise ValueError(f"search must be one of {', '.join(SEARCHES)}, got {search!r}")
        if not pattern_ids or temperature <= 0:
            raise ValueError(f"expected pattern ids and a temperature > 0, got {pattern_ids!r} and {temperature}")
        self.pattern_ids, self.verdict_token_ids = tuple(pattern_ids), (real_token_id, fake_token_id)
        self.temperature, self.search = temperature, search
        parameter = nn.Parameter(torch.empty(1, dtype=torch.float32)) if learn_temperature else None
        self.register_parameter("log_temperature", parameter)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the initial temperature; what a checkpoint filled stays in `from_pretrained`."""
        if self.log_temperature is not None:
            nn.init.constant_(self.log_temperature, math.log(self.temperature))

    def classification_index(self, logits: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        """Position k of Eq. 7 in each row of (B, L, V) logits, -1 = not found."""
        length = len(self.pattern_ids)
        if self.search == "labels" and labels is not None:
            start, offset = (
                find_pattern(labels, self.pattern_ids),
                length - 1,
            )  # logits at k predict the label at k + 1
        else:
            start, offset = find_pattern(logits.argmax(dim=-1), self.pattern_ids), length
        index = start + offset
        return torch.where((start == NOT_FOUND) | (index >= logits.shape[1]), NOT_FOUND, index)

    def verdict(self, index: torch.Tensor, verdict_logits: torch.Tensor) -> VerdictLogits:
        """Eq. 8 for the two logits (real, fake) at the classification index, (B, 2)."""
        precise = torch.promote_types(verdict_logits.dtype, torch.float32)
        real_logit, fake_logit = verdict_logits.to(precise).unbind(-1)
        difference = (fake_logit - real_logit).where(index != NOT_FOUND, 0.0)
        temperature = self.temperature if self.log_temperature is None else self.log_temperature.to(precise).exp()
        fake_logit = difference / temperature
        return VerdictLogits(index, fake_logit, fake_logit.sigmoid().where(index != NOT_FOUND, torch.nan))

    def forward(self, logits: torch.Tensor, labels: torch.Tensor | None = None) -> VerdictLogits:
        """Map teacher-forced logits.

        Args:
            logits: (B, L, V), any float dtype.
            labels: (B, L) ground truth of `search="labels"`, not shifted, -100 = ignored; without it the predicted
                tokens are searched.

        Returns:
            The verdict of each row; k is the position whose logits predict the token real or fake. A match whose k
            lies behind the last position counts as not found.
        """
        index = self.classification_index(logits, labels)
        rows = torch.arange(len(index), device=index.device)
        at_index = logits[rows, index.clamp(min=0)]  # (B, V)
        return self.verdict(index, at_index[:, list(self.verdict_token_ids)])

    def from_generation(
        self, generated_ids: torch.Tensor, verdict_logits: torch.Tensor, tag_ids: Sequence[int]
    ) -> VerdictLogits:
        """Map what `generate` gave.

        Where the pattern is absent (the paper's Fig. 8 concludes "Based on the analysis above, this image is fake."),
        the verdict is the last token real or fake behind the tag. The closing tag has the ids of the opening one, so
        "behind" is behind its first occurrence.

        Args:
            generated_ids: (B, T) new tokens, padded behind the end of the text.
            verdict_logits: (B, T, 2) raw logits of (real, fake) from which each new token was chosen.
            tag_ids: Token ids of "CONCLUSION>".

        Returns:
            The verdict of each row; k counts the new tokens.
        """
        steps = torch.arange(generated_ids.shape[1], device=generated_ids.device)
        tag = find_pattern(generated_ids, tag_ids)[:, None]
        behind_tag = (tag != NOT_FOUND) & (steps >= tag + len(tag_ids))
        verdicts = torch.isin(generated_ids, generated_ids.new_tensor(self.verdict_token_ids)) & behind_tag
        last_verdict = steps.where(verdicts, NOT_FOUND).amax(dim=1)

        start = find_pattern(generated_ids, self.pattern_ids)
        index = start + len(self.pattern_ids)
        index = torch.where(start == NOT_FOUND, last_verdict, index)
        index = torch.where(index >= generated_ids.shape[1], NOT_FOUND, index)
        rows = torch.arange(len(index), device=index.device)
        return self.verdict(index, verdict_logits[rows, index.clamp(min=0)])


__all__ = ["ClassificationProbabilityMapper", "VerdictLogits", "classification_loss", "find_pattern"]
