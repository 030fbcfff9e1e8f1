"""A LEGION checkpoint as the evaluation asks it: explanations with masks, or its verdict alone."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL import Image
from transformers import PreTrainedModel

from forgescope.processing.grounded_explanation import GroundedExplanation
from forgescope.processing.processing_legion import LegionProcessor

from .analyze import Analyzer
from .detection_head import DETECTION_BATCH_SIZE, fake_probabilities
from .hub import load_checkpoint, model_type_of
from .image_scores import Scorer
from .localize import DTYPES, to_device

MODEL_TYPE = "legion"
MAX_NEW_TOKENS = 512  # as in the published code
BATCH_SIZE = 4
THRESHOLD = 0.5  # the published code's logit of 0
SCORED = "a classifier of images, such as GAMMA or LEGION"


@dataclass
class GroundedModel:
    """LEGION with its processor; the likeliest answers, nothing is sampled.

    Args:
        model: `LegionForGroundedExplanation`.
        processor: its processor.
        batch_size: images that are answered together; None: 4, and 32 for verdicts.
        max_new_tokens: length at which an answer is cut off.
        threshold: probability above which a pixel is an artifact.
        longest_edge: long side of an image as SAM sees it, pixels; None: that of the processor, 1024 as published. The
            published code trains with 512.
    """

    model: PreTrainedModel
    processor: LegionProcessor
    batch_size: int | None = None
    max_new_tokens: int = MAX_NEW_TOKENS
    threshold: float = THRESHOLD
    longest_edge: int | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """What its answers depend on beside the weights."""
        return {
            "threshold": self.threshold,
            "longest_edge": self.longest_edge,
            "max_new_tokens": self.max_new_tokens,
            "precision": str(self.model.dtype).removeprefix("torch."),
        }

    @torch.no_grad()
    def grounded(self, images: Sequence[Image.Image]) -> list[GroundedExplanation]:
        """Explain images, whose texts keep their tags, for rules of clean-up differ."""
        size = self.batch_size or BATCH_SIZE
        found = []
        for start in range(0, len(images), size):
            some = list(images[start : start + size])
            inputs = self.processor.inference_inputs(some, longest_edge=self.longest_edge).to(self.model.device)
            sizes = inputs.pop("original_sizes")
            tokenizer = self.processor.tokenizer
            generation = self.model.generate_grounded(
                **inputs,
                max_new_tokens=self.max_new_tokens,
                do_sample=False,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
            texts = self.processor.decode_grounded(generation.generated_ids)
            read = self.processor.post_process_grounded(generation, self.threshold, sizes)
            found += [replace(one, text=text) for one, text in zip(read, texts, strict=True)]
        return found

    def fake_probabilities(self, images: Sequence[Image.Image]) -> list[float]:
        """Ask the detection head alone: probability of each image to be fake."""
        return fake_probabilities(self.model, self.processor, images, self.batch_size or DETECTION_BATCH_SIZE)


def load_grounded_model(
    checkpoint: str,
    device: str | None = None,
    dtype: str = "auto",
    batch_size: int | None = None,
    longest_edge: int | None = None,
) -> GroundedModel:
    """Load a checkpoint that explains artifacts and marks them.

    Args:
        checkpoint: folder or Hub id.
        device: `cpu`, `cuda`, ...; None: a GPU if there is one.
        dtype: `auto` (float32), `float32` or `bfloat16`.
        batch_size: images that are answered together.
        longest_edge: see `GroundedModel`.

    Raises:
        ValueError: no such checkpoint, device or precision, or a checkpoint of another type.
    """
    if dtype not in DTYPES:
        raise ValueError(f"expected dtype {', '.join(DTYPES)}, got {dtype!r}")
    model, processor = load_checkpoint(checkpoint, model_types=(MODEL_TYPE,), dtype=DTYPES[dtype])
    return GroundedModel(to_device(model, device), processor, batch_size, longest_edge=longest_edge)


def load_scorer(
    checkpoint: str, device: str | None = None, dtype: str = "auto", batch_size: int | None = None
) -> Scorer:
    """Load a checkpoint as a function from photographs to probabilities to be fake.

    LEGION's detection head is asked alone; other checkpoints as `forgescope detect` asks them.

    Args:
        checkpoint: embedded name, folder or Hub id.
        device: as in `load_grounded_model`.
        dtype: likewise.
        batch_size: likewise.

    Raises:
        ValueError: no such checkpoint, device or precision, or one that does not tell fake from real.
    """
    if model_type_of(checkpoint) == MODEL_TYPE:
        return load_grounded_model(checkpoint, device, dtype, batch_size).fake_probabilities
    analyzer = Analyzer(checkpoint, device=device, dtype=dtype, batch_size=batch_size)
    if analyzer.rule.score_reduction is None:
        raise ValueError(f"checkpoint '{checkpoint}' does not tell fake from real images: expected {SCORED}")

    def scores(photos: list[Image.Image]) -> list[float]:
        batch = analyzer.localizer.batch_size
        batches = [photos[start : start + batch] for start in range(0, len(photos), batch)]
        return [one.final_score(analyzer.rule) for some in batches for one in analyzer.localizer.examine(some)]

    return scores
