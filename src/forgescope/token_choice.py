"""How the tokens of an answer are chosen: sampled whatever the batch is, and not at all from what is no number."""

import hashlib
from collections.abc import Sequence

import torch
from PIL import Image
from transformers import LogitsProcessor

from .decision import NOT_NUMBERS

SEED_BYTES = 7  # torch takes seeds below 2^63


class SeededSampling(LogitsProcessor):
    """Add noise to logits, so that the highest is a sample (the Gumbel-max trick): for `generate(do_sample=False)`.

    Each row has a generator of its own: the same image, question and seed give the same answer. With `do_sample=True`
    all rows draw from one, so that an answer depends on its neighbours in the batch.

    Args:
        temperature: above 0; divides the logits.
        seeds: one for each row of the batch.

    Raises:
        ValueError: a temperature of 0 or less.
    """

    def __init__(self, temperature: float, seeds: Sequence[int]):
        if not temperature > 0:
            raise ValueError(f"expected a temperature above 0, got {temperature}")
        self.temperature = temperature
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return scores (B, V) whose maximum is a token drawn from softmax(scores / temperature)."""
        size = scores.shape[-1]
        waits = [torch.empty(size, dtype=torch.float64).exponential_(generator=one) for one in self.generators]
        return scores / self.temperature - torch.stack(waits).log().to(scores)


class RefuseNotNumbers(LogitsProcessor):
    """Stop where a model returns values that are not numbers, from which `generate` would go on to write nonsense."""

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return the scores (B, V) as they are; ValueError where one is not a number."""
        if scores.isnan().any():
            raise ValueError(NOT_NUMBERS)
        return scores


def seed_of_image(seed: int, image: Image.Image) -> int:
    """Make the seed of an image from that of the run and from its pixels."""
    content = hashlib.sha256(f"{seed} {image.mode} {image.size} ".encode())
    content.update(image.tobytes())
    return int.from_bytes(content.digest()[:SEED_BYTES], "big")
