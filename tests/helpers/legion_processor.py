"""LEGION's processor with Llama's tokenizer for English texts; nothing is downloaded.

from legion_processor import legion_processor
"""

from typing import Any

from llama_tokenizer import llama_tokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

from forgescope.processing.processing_legion import LegionProcessor


def legion_processor(image_size: int = 28, grounding_size: int = 64, **settings: Any) -> LegionProcessor:
    """A processor of its own for every caller, with a tokenizer of its own: `[SEG]` is 32004, `<image>` 32007.

    Args:
        image_size: side of CLIP's input, pixels: 28 has 4 image tokens, 336 has 576.
        grounding_size: side of SAM's input, pixels.
        **settings: further arguments of the processor.
    """
    crop = {"height": image_size, "width": image_size}
    square = {"height": grounding_size, "width": grounding_size}
    return LegionProcessor(
        CLIPImageProcessorPil(size={"shortest_edge": image_size}, crop_size=crop),
        SamImageProcessorPil(size={"longest_edge": grounding_size}, pad_size=square),
        llama_tokenizer(),
        **settings,
    )


__all__ = ["legion_processor"]
