"""LEGION's detection head alone: CLIP runs once an image, and neither language model nor SAM does."""

from collections.abc import Sequence

import torch
from PIL import Image
from transformers import PreTrainedModel

from forgescope.processing.processing_legion import LegionProcessor

# One small view an image.
DETECTION_BATCH_SIZE = 32
FAKE = 1


@torch.no_grad()
def fake_probabilities(
    model: PreTrainedModel,
    processor: LegionProcessor,
    images: Sequence[Image.Image],
    batch_size: int = DETECTION_BATCH_SIZE,
) -> list[float]:
    """Probability of each image to be fake, 0..1.

    Args:
        model: `LegionForGroundedExplanation`.
        processor: its processor.
        images: PIL images.
        batch_size: images in one forward pass.
    """
    scores: list[float] = []
    for start in range(0, len(images), batch_size):
        inputs = processor.detection_inputs(list(images[start : start + batch_size])).to(model.device)
        scores += model(**inputs).detection_logits.float().softmax(dim=-1)[:, FAKE].tolist()
    return scores
