"""LLaVA-1.5 as its authors lay it out: names, configuration and image encoders, read for a model of ours.

A checkpoint's `config.json` is that of a Llama with fields `mm_*`; its image encoder is often not in it, but named by
`mm_vision_tower` and loaded from a folder of its own.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import LlamaConfig, LlamaTokenizer
from transformers.utils import is_protobuf_available, is_sentencepiece_available

from forgescope.convert import CONFIG_FILE, NOT_STORED, Rule

# Fields of a Llama configuration; other fields of the file are LLaVA's, or settings of generation.
LLAMA_FIELDS = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "hidden_act",
    "max_position_embeddings",
    "initializer_range",
    "rms_norm_eps",
    "attention_bias",
    "rope_theta",
    "rope_scaling",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
)
# What our models take for granted; other values need another network.
LLAVA_FIELDS: dict[str, tuple[Any, ...]] = {
    "mm_projector_type": ("mlp2x_gelu",),
    "mm_vision_select_feature": ("patch", None),
    "mm_use_im_start_end": (False, None),
    "tie_word_embeddings": (False, None),
}
LLAMA_RULES: tuple[Rule, ...] = (
    Rule(r".+\.rotary_emb\.inv_freq", (), NOT_STORED),
    Rule(r"model\.((?:embed_tokens|layers|norm)\..+)", (r"model.language_model.\1",), "language model"),
    Rule(r"(lm_head\.weight)", (r"\1",), "language model"),
)


def projector_rules(name: str, ours: str, part: str) -> tuple[Rule, ...]:
    """Table of one projector: linear layer, GELU, linear layer."""
    return tuple(
        Rule(rf"model\.{name}\.{old}\.(weight|bias)", (rf"model.{ours}.linear_{new}.\1",), part)
        for old, new in ((0, 1), (2, 2))
    )


def read_config(folder: Path, expected: str) -> dict[str, Any]:
    """Read a checkpoint's configuration as it stands.

    Args:
        folder: of the checkpoint.
        expected: what it should be, for the message.

    Raises:
        ValueError: no configuration.
    """
    file = folder / CONFIG_FILE
    if not file.is_file():
        raise ValueError(f"no {CONFIG_FILE} in {folder}: give a folder with {expected}")
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        config = None
    if not isinstance(config, dict):
        raise ValueError(f"{file} is no model configuration: expected a JSON object")
    return config


def read_llava_config(folder: Path) -> dict[str, Any]:
    """Read the configuration of a checkpoint in the authors' layout.

    Raises:
        ValueError: no configuration, that of another model, or a LLaVA that our models do not cover.
    """
    config = read_config(folder, "a LLaVA-1.5 checkpoint or a LoRA run")
    file, model_type = folder / CONFIG_FILE, str(config.get("model_type"))
    if model_type == "llava" and "vision_config" in config:
        raise ValueError(
            f"{folder} is a LLaVA in the layout of transformers, which needs no conversion: load it with "
            "FakeReasoningForConditionalGeneration.from_llava"
        )
    absent = [name for name in ("mm_projector_type", "vocab_size", "hidden_size") if name not in config]
    if absent:
        raise ValueError(f"{folder} holds a model of type {model_type!r}, no LLaVA-1.5: {file} has no {absent[0]}")
    for name, expected in LLAVA_FIELDS.items():
        if config.get(name, expected[0]) not in expected:
            raise ValueError(f"{file} has {name} = {config[name]!r}, expected {expected[0]!r}")
    return config


def llama_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of the language model: the fields of LLaVA's configuration that are a Llama's."""
    given = {name: config[name] for name in LLAMA_FIELDS if config.get(name) is not None}
    return LlamaConfig(**given).to_dict()


def read_llama_tokenizer(folders: Sequence[Path]) -> Any:
    """Read the tokenizer of the first folder that has one.

    Args:
        folders: best place first.

    Returns:
        A `LlamaTokenizer` with LLaVA's ids ("legacy"), or None: no folder has one.

    Raises:
        ImportError: there is only `tokenizer.model`, and the packages that read it are absent.
        ValueError: a tokenizer that cannot be read.
    """
    for folder in folders:
        has_model, has_json = (folder / "tokenizer.model").is_file(), (folder / "tokenizer.json").is_file()
        if has_model and not has_json and not (is_sentencepiece_available() and is_protobuf_available()):
            raise ImportError(f"to read {folder / 'tokenizer.model'}, install: pip install sentencepiece protobuf")
        if has_model or has_json:
            try:
                return LlamaTokenizer.from_pretrained(folder, legacy=True)
            except (ValueError, OSError, KeyError, TypeError, RuntimeError) as error:
                raise ValueError(f"the tokenizer in {folder} cannot be read: {error}") from error
    return None


__all__ = [
    "LLAMA_RULES",
    "llama_settings",
    "projector_rules",
    "read_config",
    "read_llama_tokenizer",
    "read_llava_config",
]
