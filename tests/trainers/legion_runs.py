"""What the tests of LEGION's trainers need: SynthScars-shaped folders, a tiny network, short runs.

from legion_runs import TINY_LEGION, tiny_recipe, write_synthscars
"""

import json

import numpy as np
import torch
from fakereasoning_runs import small_llama_tokenizer
from PIL import Image
from training_runs import SHORT

from forgescope.processing.conversation_prompts import conversation
from forgescope.processing.grounded_text import QUESTION

SIDE = 64
TINY_LEGION = {
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
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "max_position_embeddings": 2048,
        "initializer_range": 0.2,
    },
    "grounding_config": {
        "vision_config": {
            "image_size": SIDE,
            "patch_size": 16,
            "hidden_size": 32,
            "output_channels": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "global_attn_indexes": [1],
            "window_size": 2,
            "num_pos_feats": 16,
            "initializer_range": 0.1,
        },
        "prompt_encoder_config": {"image_size": SIDE, "patch_size": 16, "hidden_size": 32},
        "mask_decoder_config": {
            "hidden_size": 32,
            "mlp_dim": 64,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 16,
            "layer_norm_eps": 1e-5,
        },
        "initializer_range": 0.1,
    },
    "initializer_range": 0.1,
    "detection_hidden_size": 16,
}
# Where, what is wrong there, and the rectangle (left, top, right, bottom) of each artifact of an image.
RECORDS = (
    (
        ("The left hand", "The fingers are fused.", (4, 6, 27, 29)),
        ("The sign", "Its letters are wrong.", (34, 36, 61, 57)),
    ),
    (("The eye", "It is too large.", (36, 4, 59, 27)),),
)


def caption_of(artifacts) -> str:
    """A caption in the form of the release."""
    listed = "".join(f"{sentence}:{explanation}" for sentence, explanation, _ in artifacts)
    return f"I have found artifacts.\n{listed}"


def picture(number: int, size: int = SIDE) -> Image.Image:
    """A coloured image that no two numbers share."""
    rng = np.random.default_rng(number)
    shade = rng.integers(0, 200, (1, 1, 3))
    return Image.fromarray(np.clip(shade + rng.integers(0, 56, (size, size, 3)), 0, 255).astype(np.uint8))


def write_synthscars(folder, count: int, records=RECORDS, size: int = SIDE) -> None:
    """Images with the artifacts of `records` in turn, in the layout of the release."""
    place = folder / "train"
    (place / "images").mkdir(parents=True, exist_ok=True)
    (place / "annotations").mkdir(exist_ok=True)
    entries = []
    for number in range(count):
        artifacts = records[number % len(records)]
        picture(number, size).save(place / "images" / f"{number}.png")
        refs = [
            {"sentence": sentence, "explanation": said, "bbox": None, "segmentation": [_rectangle(*sides)]}
            for sentence, said, sides in artifacts
        ]
        annotation = {"img_file_name": f"{number}.png", "caption": caption_of(artifacts), "refs": refs}
        entries.append({str(number): annotation})
    (place / "annotations" / "train.json").write_text(json.dumps(entries))


def _rectangle(left: float, top: float, right: float, bottom: float) -> list[float]:
    return [left, top, right, top, right, bottom, left, bottom]


def load_synthscars(folder):
    """The rows of such a folder that are trained on."""
    from forgescope.datasets_scripts.load import load_corpus

    return load_corpus("synthscars", folder, config="grounded", split="train")


def write_progan(folder) -> None:
    """Images in ProGAN's training folders; every second one is fake and brighter."""
    rng = np.random.default_rng(0)
    for split, count in (("progan_train", 20), ("progan_val", 6)):
        for number in range(count):
            place = folder / split / "cat" / ("0_real", "1_fake")[number % 2]
            place.mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(0, 150, (40, 44, 3)) + 70 * (number % 2)
            Image.fromarray(pixels.astype(np.uint8)).save(place / f"{number}.png")


def save_tokenizer(folder, captions=()) -> None:
    """Save a small Llama tokenizer that has the words of the prompts and of some captions."""
    captions = [*captions, *(caption_of(artifacts) for artifacts in RECORDS)]
    texts = [
        conversation("llava_v1", f"The <image> provides an overview of the picture.\n{QUESTION}", text)
        for text in captions
    ]
    small_llama_tokenizer(texts).save_pretrained(folder)


def tiny_recipe(tokenizer, model=None, tuning=None, network=True, **sections):
    """A recipe for a tiny network from random weights, which is saved merged.

    Args:
        tokenizer: Folder of a tokenizer.
        model: Fields of the configuration that differ.
        tuning: Fields of `LegionTuningConfig` that differ.
        network: False leaves the architecture to a base.
        **sections: Sections that differ.
    """
    from forgescope.trainers.adapters_legion import LegionTuningConfig
    from forgescope.trainers.base_legion import LegionStartConfig
    from forgescope.trainers.data_legion import LegionDataConfig
    from forgescope.trainers.recipe import Recipe

    settings = {
        "model": (TINY_LEGION if network else {}) | (model or {}),
        "training": dict(SHORT),
        "data": LegionDataConfig(validation_rows=2),
        "start": LegionStartConfig(str(tokenizer) if network else None),
        "tuning": LegionTuningConfig(**{"save": "merged", "lora_dropout": 0.0} | (tuning or {})),
    }
    return Recipe(name="tiny", **settings | sections)


def save_base(folder, tokenizer, **model) -> None:
    """Save a tiny LEGION checkpoint with its processor."""
    from forgescope.trainers.base_legion import build_model, build_processor

    recipe = tiny_recipe(tokenizer, model)
    processor = build_processor(recipe)
    torch.manual_seed(1)
    build_model(recipe, processor).save_pretrained(folder)
    processor.save_pretrained(folder)
