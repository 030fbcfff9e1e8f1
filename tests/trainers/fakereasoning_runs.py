"""What the tests of FakeReasoning's trainer need: a small tokenizer, images with answers, and a tiny network."""

import json

import numpy as np
import torch
from llama_tokenizer import merges_of, read_vocabulary
from PIL import Image
from tokenizers import Tokenizer
from training_runs import SHORT
from transformers import LlamaTokenizer, LlavaConfig, LlavaForConditionalGeneration

from forgescope.processing.chain_of_thought import QUESTION, STAGES, SUMMARY, build_chain_of_thought
from forgescope.processing.conversation_prompts import conversation, image_question

CONTROL_PIECES = 3 + 256  # <unk>, <s>, </s> and the bytes come first in Llama's vocabulary
# Colours of the test images, each one token.
COLOURS = ("red", "blue", "green", "black")
TINY_FAKEREASONING = {
    "vision_config": {
        "model_type": "clip_vision_model",
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
    },
    "text_config": {
        "model_type": "llama",
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "initializer_range": 0.2,
    },
    "contrastive_queue_size": 8,
    "save_contrastive_queue": True,
}


def answer_of(label: str, colour: str) -> str:
    """A short answer in four stages; those of two colours have as many tokens."""
    light = "wrong" if label == "fake" else "right"
    return build_chain_of_thought(f"A {colour} square.", f"The light is {light}.", "", label)


def small_llama_tokenizer(texts: list[str]) -> LlamaTokenizer:
    """Llama's tokenizer with those pieces of its vocabulary alone that make up some texts; ids are renumbered."""
    vocabulary = read_vocabulary()
    whole: Tokenizer = LlamaTokenizer(vocab=vocabulary, merges=merges_of(vocabulary), legacy=True)
    pieces = list(vocabulary)
    open_pieces = {pieces[number] for text in texts for number in whole(text)["input_ids"]}
    kept = set(pieces[:CONTROL_PIECES])
    while open_pieces:
        piece = open_pieces.pop()
        kept.add(piece)
        halves = {half for cut in range(1, len(piece)) for half in (piece[:cut], piece[cut:])}
        open_pieces |= {half for half in halves if half in vocabulary} - kept
    small = {piece: number for number, piece in enumerate(piece for piece in pieces if piece in kept)}
    return LlamaTokenizer(vocab=small, merges=merges_of(small), legacy=True)


def save_tokenizer(folder) -> None:
    """Save a tokenizer that has the words of `answer_of` and of the prompts."""
    answers = [answer_of(label, colour) for label in ("real", "fake") for colour in COLOURS]
    texts = [
        conversation(template, image_question(QUESTION), answer)
        for template in ("vicuna_v1", "llava_v1")
        for answer in (*answers, SUMMARY, *STAGES, "This image is fake.", "This image is real.")
    ]
    small_llama_tokenizer(texts).save_pretrained(folder)


def write_answer_folder(folder, count: int, size: int = 40) -> None:
    """Images of one colour with answers; every second one is fake and has stripes."""
    rng = np.random.default_rng(3)
    folder.mkdir(parents=True, exist_ok=True)
    shades = {"red": (200, 0, 0), "blue": (0, 0, 200), "green": (0, 200, 0), "black": (20, 20, 20)}
    lines = []
    for number in range(count):
        label, colour = ("real", "fake")[number % 2], COLOURS[number // 2 % len(COLOURS)]
        pixels = np.clip(np.array(shades[colour]) + rng.integers(0, 30, (size, size, 1)), 0, 255).astype(np.uint8)
        pixels[:: 4 - 2 * (label == "fake")] = 255 * (label == "fake")
        Image.fromarray(pixels).save(folder / f"{number}.png")
        answer = answer_of(label, colour)
        lines.append({"file_name": f"{number}.png", "label": label, "answer": answer, "id": f"{label}-{number}"})
    (folder / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def tiny_recipe(tokenizer, model=None, tuning=None, start=None, network=True, **sections):
    """A recipe for a tiny network from random weights, which is saved merged.

    Args:
        tokenizer: Folder of a tokenizer.
        model: Fields of the configuration that differ.
        tuning: Fields of `TuningConfig` that differ.
        start: Fields of `StartConfig` that differ.
        network: False leaves the architecture to a base.
        **sections: Sections that differ.
    """
    from forgescope.trainers.adapters_fakereasoning import TuningConfig
    from forgescope.trainers.base_fakereasoning import StartConfig
    from forgescope.trainers.recipe import Recipe
    from forgescope.trainers.rows_fakereasoning import FakeReasoningDataConfig
    from forgescope.trainers.trainer_fakereasoning import OptimizerConfig

    settings = {
        "model": (TINY_FAKEREASONING if network else {}) | (model or {}),
        "training": dict(SHORT),
        "data": FakeReasoningDataConfig(validation_rows=4),
        "optimizer": OptimizerConfig(),
        "start": StartConfig(**{"tokenizer": str(tokenizer) if network else None} | (start or {})),
        "tuning": TuningConfig(**{"lora_rank": 8, "lora_alpha": 16, "save": "merged"} | (tuning or {})),
    }
    return Recipe(name="tiny", **settings | sections)


def save_base(folder, tokenizer, **model) -> None:
    """Save a tiny FakeReasoning checkpoint with its processor."""
    from forgescope.trainers.base_fakereasoning import build_model, build_processor

    recipe = tiny_recipe(tokenizer, model)
    processor = build_processor(recipe)
    torch.manual_seed(1)
    build_model(recipe, processor).save_pretrained(folder)
    processor.save_pretrained(folder)


def save_llava(folder, tokenizer) -> None:
    """Save a tiny LLaVA checkpoint of transformers with a tokenizer."""
    from forgescope.trainers.base_fakereasoning import build_model, build_processor

    processor = build_processor(tiny_recipe(tokenizer))
    config = build_model(tiny_recipe(tokenizer), processor).config
    torch.manual_seed(2)
    vocabulary = {"vocab_size": len(processor.tokenizer)}
    LlavaForConditionalGeneration(
        LlavaConfig(
            vision_config=config.vision_config.to_dict(),
            text_config=config.text_config.to_dict() | vocabulary,
            image_token_index=config.image_token_id,
            vision_feature_layer=config.vision_feature_layer,
        )
    ).save_pretrained(folder)
    processor.tokenizer.save_pretrained(folder)
