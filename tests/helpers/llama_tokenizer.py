"""Llama's tokenizer for English texts, and FakeReasoning's processor with it; nothing is downloaded.

from llama_tokenizer import fakereasoning_processor, llama_tokenizer

`llama_pieces.json` holds the ids of those 21 000 of the 32 000 pieces of Llama 2's vocabulary that occur in the 20 000
most frequent English words (small and with a capital; the first 1500 in capitals too), in words of papers on forged
images, or that are ASCII punctuation. Texts of such words get the ids that the whole vocabulary gives; other words may
fall into shorter pieces. Llama 2's tokenizer stands under the Llama 2 Community License, Copyright (c) Meta Platforms,
Inc. All Rights Reserved.
"""

import copy
import functools
import json
from pathlib import Path
from typing import Any

from transformers import LlamaTokenizer
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

from forgescope.processing.processing_fakereasoning import FakeReasoningProcessor

PIECES = Path(__file__).with_name("llama_pieces.json")
VOCABULARY_SIZE = 32_000
SPECIAL_TOKENS = ("<unk>", "<s>", "</s>")
BLANK = "▁"
# in the file the frequent sign is written with the shorter character
SWAPPED = str.maketrans({"_": BLANK, BLANK: "_"})


def read_vocabulary() -> dict[str, int]:
    """Piece -> id, all 32 000; the pieces that are left out have placeholders that no text contains."""
    pieces = [*SPECIAL_TOKENS, *(f"<0x{byte:02X}>" for byte in range(256))]
    for first_id, row in json.loads(PIECES.read_text(encoding="utf-8")).items():
        pieces += [""] * (int(first_id) - len(pieces))
        pieces += row.translate(SWAPPED).split(" ")
    pieces += [""] * (VOCABULARY_SIZE - len(pieces))
    return {piece or f"<unused_{number}>": number for number, piece in enumerate(pieces)}


def merges_of(vocabulary: dict[str, int]) -> list[tuple[str, str]]:
    """Merges in Llama's order: by the id of the result, then of the parts; runs of blanks come last."""
    ranked = []
    for piece, number in vocabulary.items():
        if number < len(SPECIAL_TOKENS) + 256 or piece.startswith("<unused_"):
            continue
        rank = number if piece.strip(BLANK) else VOCABULARY_SIZE
        for cut in range(1, len(piece)):
            left, right = vocabulary.get(piece[:cut]), vocabulary.get(piece[cut:])
            if left is not None and right is not None:
                ranked.append((rank, left, right))
    pieces = list(vocabulary)
    return [(pieces[left], pieces[right]) for _, left, right in sorted(ranked)]


@functools.cache
def _shared_tokenizer() -> LlamaTokenizer:
    vocabulary = read_vocabulary()
    return LlamaTokenizer(vocab=vocabulary, merges=merges_of(vocabulary), legacy=True, add_bos_token=True)


def llama_tokenizer() -> LlamaTokenizer:
    """A tokenizer of its own for every caller, as a Llama checkpoint has it: without `<image>` and without padding."""
    return copy.deepcopy(_shared_tokenizer())


def fakereasoning_processor(image_size: int = 56, **settings: Any) -> FakeReasoningProcessor:
    """A processor of its own for every caller, with a tokenizer of its own.

    Args:
        image_size: side of the model's input, pixels: 56 has 16 image tokens, 336 has 576.
        **settings: further arguments of the processor.
    """
    size = {"height": image_size, "width": image_size}
    image_processor = LlavaImageProcessorPil(size={"shortest_edge": image_size}, crop_size=size, do_pad=True)
    return FakeReasoningProcessor(image_processor, llama_tokenizer(), **settings)


__all__ = ["fakereasoning_processor", "llama_tokenizer"]
