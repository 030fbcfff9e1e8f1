"""What a folder of LEGION's or GLaMM's authors holds: configuration, tensors and the table of their names."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forgescope.convert import CONFIG_FILE, KeyRow, Rule, Source
from forgescope.convert_legion_head import HEAD_RULES, in_our_order
from forgescope.convert_llava import LLAMA_RULES, projector_rules, read_config
from forgescope.convert_lora import ADAPTER_CONFIG, merge_adapter
from forgescope.convert_sam import sam_rules
from forgescope.convert_towers import clip_rules
from forgescope.convert_weights import LazyTensor, read_weights

LORA_ALPHA = 16.0  # published code; the paper says 8
LORA_MARK = ".lora_"
PROMPT_PROJECTOR = "model.text_hidden_fcs."  # which other models of type llava do not have
LEGION_RULES: tuple[Rule, ...] = (
    *LLAMA_RULES,
    *projector_rules("mm_projector", "multi_modal_projector", "projector"),
    *clip_rules(r"model\.vision_tower\.vision_tower\."),
    *sam_rules(r"model\.grounding_encoder\."),
    Rule(r"model\.region_encoder\..+", (), "region encoder: takes boxes, which LEGION never gives"),
    Rule(r"model\.text_hidden_fcs\.0\.0\.(\w+)", (r"prompt_projector.linear_1.\1",), "projector of mask prompts"),
    Rule(r"model\.text_hidden_fcs\.0\.2\.(\w+)", (r"prompt_projector.linear_2.\1",), "projector of mask prompts"),
    *HEAD_RULES,
)


@dataclass(frozen=True)
class Origin:
    """A checkpoint in the authors' layout.

    Args:
        config: its configuration, of a Llama with further fields.
        source: its tensors, LoRA merged.
        rows: the report's rows of LoRA's tensors.
        notes: what a reader of the report should know.
    """

    config: dict[str, Any]
    source: Source
    rows: list[KeyRow]
    notes: list[str]


def legion_origin(source: Path, base: Path | None, lora_alpha: float) -> Origin:
    """Find the tensors of a checkpoint, LoRA merged into those it was trained for.

    Args:
        source: its folder.
        base: folder with the configuration, where `source` has none.
        lora_alpha: scaling factor of the LoRA.

    Raises:
        ValueError: no LEGION and no GLaMM, or a damaged file.
    """
    if (source / ADAPTER_CONFIG).is_file():
        raise ValueError(
            f"{source} holds an adapter of PEFT, which LEGION's authors do not leave: merge it with PEFT's "
            "merge_and_unload, and convert the result"
        )
    own = (source / CONFIG_FILE).is_file()
    config = _read_legion_config(source if own or base is None else base)
    weights = read_weights(source)
    if not any(name.startswith(PROMPT_PROJECTOR) for name in weights):
        raise ValueError(f"{source} holds no LEGION and no GLaMM: no tensor of it is called {PROMPT_PROJECTOR}...")
    weights, rows, notes = _merge_lora(weights, lora_alpha)
    return Origin(config, Source("SRC", in_our_order(weights), LEGION_RULES), rows, notes)


def _merge_lora(weights: dict[str, LazyTensor], alpha: float) -> tuple[dict[str, LazyTensor], list[KeyRow], list[str]]:
    """Weights with the LoRA that stands beside them merged, the report's rows of its tensors, and notes."""
    adapter = {name: tensor for name, tensor in weights.items() if LORA_MARK in name}
    if not adapter:
        return weights, [], []
    ranks = {min(tensor.shape) for tensor in adapter.values()}
    if len(ranks) > 1:
        raise ValueError(f"the checkpoint has LoRA of ranks {sorted(ranks)}, expected one rank, as LEGION trains it")
    rank = ranks.pop()
    others = {name: tensor for name, tensor in weights.items() if name not in adapter}
    merged, rows = merge_adapter(others, adapter, alpha / rank, "SRC")
    note = f"LoRA of rank {rank} was merged with alpha {alpha:g}, which the weights do not tell: see --lora-alpha"
    return merged, rows, [note]


def _read_legion_config(folder: Path) -> dict[str, Any]:
    """Read the configuration of LEGION or GLaMM: that of a Llama, of type llava."""
    config = read_config(folder, "a LEGION or GLaMM checkpoint, or with --base the one that a run started from")
    model_type = config.get("model_type")
    if model_type == "legion":
        raise ValueError(f"{folder} is a LEGION that needs no conversion: load it with from_pretrained")
    absent = [name for name in ("vocab_size", "hidden_size") if name not in config]
    if model_type != "llava" or absent:
        raise ValueError(
            f"{folder} holds a model of type {model_type!r}, no LEGION and no GLaMM in their authors' layout: "
            "expected a config.json with model_type 'llava', vocab_size and hidden_size"
        )
    if config.get("tie_word_embeddings"):
        raise ValueError(f"{folder / CONFIG_FILE} has tie_word_embeddings = true, which our model does not cover")
    return config


__all__ = ["LEGION_RULES", "LORA_ALPHA", "Origin", "legion_origin"]
