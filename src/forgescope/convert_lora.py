"""LoRA adapters, merged into the weights of their base model one tensor at a time.

PEFT merges within a model that is in memory; here each weight is merged when it is read: W + scaling * B A, in
float32, where scaling is alpha / r, or alpha / sqrt(r) for rank-stabilised adapters.
"""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from forgescope.convert import KeyRow
from forgescope.convert_weights import LazyTensor, read_weights

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_FILES = ("adapter_model.safetensors", "adapter_model.bin")
PEFT_PREFIX = "base_model.model."
LORA_KEY = re.compile(rf"(?:{re.escape(PEFT_PREFIX)})?" + r"(?P<module>.+)\.lora_(?P<side>[AB])(?:\.default)?\.weight")
# Settings of PEFT that change what an adapter's tensors mean; merged are adapters that leave them alone.
PLAIN_SETTINGS: dict[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "bias": ("none", None),
    "use_dora": (False, None),
    "fan_in_fan_out": (False, None),
    "rank_pattern": ({}, None),
    "alpha_pattern": ({}, None),
}


def read_adapter(folder: Path) -> tuple[dict[str, LazyTensor], float]:
    """Find an adapter's tensors.

    Args:
        folder: what PEFT's `save_pretrained` wrote.

    Returns:
        Tensors by name, and the factor of B A.

    Raises:
        ValueError: no adapter, or one that is more than plain LoRA.
    """
    try:
        config = json.loads((folder / ADAPTER_CONFIG).read_text(encoding="utf-8"))
        rank, alpha = config["r"], config["lora_alpha"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{folder / ADAPTER_CONFIG} is no LoRA configuration: expected r and lora_alpha") from error
    for name, plain in PLAIN_SETTINGS.items():
        if config.get(name, plain[0]) not in plain:
            raise ValueError(
                f"the adapter in {folder} has {name} = {config[name]!r}, which cannot be merged here: merge it with "
                "PEFT's merge_and_unload, and convert the result"
            )
    files = [folder / name for name in ADAPTER_FILES if (folder / name).is_file()]
    if not files:
        raise ValueError(f"no adapter in {folder}: expected {' or '.join(ADAPTER_FILES)}")
    return read_weights(files[0]), alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def merge_adapter(
    base: Mapping[str, LazyTensor], adapter: Mapping[str, LazyTensor], scaling: float, source: str
) -> tuple[dict[str, LazyTensor], list[KeyRow]]:
    """Put an adapter's products into the weights that it was trained for; nothing is read.

    Args:
        base: weights by name.
        adapter: pairs `<module>.lora_A.weight` (r, in) and `lora_B` (out, r), `base_model.model.` before or not.
        scaling: factor of B A.
        source: how the report calls the adapter.

    Returns:
        The weights with those of the adapter's modules merged, and the report's rows of the adapter's tensors.

    Raises:
        ValueError: a name that is none of these, half a pair, a module that the base lacks, or another shape.
    """
    pairs: dict[str, dict[str, LazyTensor]] = {}
    rows = []
    for key, tensor in adapter.items():
        found = LORA_KEY.fullmatch(key)
        if found is None:
            raise ValueError(f"{key} of the adapter is no LoRA weight: merge it with PEFT, and convert the result")
        weight = f"{found['module']}.weight"
        pairs.setdefault(weight, {})[found["side"]] = tensor
        rows.append(KeyRow(source, key, "used", (weight,), "LoRA, merged into the base model"))
    merged = dict(base)
    for weight, pair in pairs.items():
        if len(pair) != 2:
            raise ValueError(f"the adapter has only lora_{next(iter(pair))} for {weight}")
        if weight not in base:
            raise ValueError(f"the adapter was trained on another model: the base has no {weight}")
        expected = (pair["B"].shape[0], pair["A"].shape[1])
        if base[weight].shape != expected or pair["A"].shape[0] != pair["B"].shape[1]:
            raise ValueError(
                f"the adapter was trained on another model: {weight} is {base[weight].shape}, lora_B times lora_A of "
                f"the adapter is {pair['B'].shape} times {pair['A'].shape}"
            )
        merged[weight] = _merged(base[weight], pair["A"], pair["B"], scaling)
    return merged, rows


def _merged(weight: LazyTensor, down: LazyTensor, up: LazyTensor, scaling: float) -> LazyTensor:
    """W + scaling * B A in float32."""

    def load() -> torch.Tensor:
        return weight.load().float() + scaling * (up.load().float() @ down.load().float())

    return LazyTensor(weight.shape, load, weight.dtype)


__all__ = ["ADAPTER_CONFIG", "PEFT_PREFIX", "merge_adapter", "read_adapter"]
