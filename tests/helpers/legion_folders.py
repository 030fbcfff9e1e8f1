"""Folders as the authors of LEGION, CLIP and SAM leave them, with the fixture's tiny weights.

from legion_folders import write_clip, write_head, write_legion, write_sam
"""

import json
from pathlib import Path
from typing import Any

import torch
from fakereasoning_folders import write_folder
from parity import legion_config
from transformers import CLIPVisionConfig

CLIP = "model.vision_tower.vision_tower."
SAM = "model.grounding_encoder."
HEAD = "prediction_head."


def legion_settings(fixture: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """What stands in the authors' config.json: a Llama's fields, type llava, and some of their own."""
    own = {"model_type": "llava", "vocab_size": fixture["meta"]["vocab"], "out_dim": fixture["meta"]["sam"]["out"]}
    own |= {"mm_vision_module": "openai/clip-vit-large-patch14-336", "with_region": True, "use_cache": False}
    return fixture["meta"]["llm"] | own | changes


def head_weights(fixture: dict[str, Any]) -> dict[str, torch.Tensor]:
    """The detection head as stage 2 saves it."""
    return {f"{HEAD}{name}": tensor for name, tensor in fixture["cls"]["head"].items()}


def write_legion(
    folder: Path,
    fixture: dict[str, Any],
    without: tuple[str, ...] = (CLIP,),
    form: str = "safetensors",
    more: dict[str, torch.Tensor] | None = None,
    **config: Any,
) -> Path:
    """Write a checkpoint in shards, by default a merged one: without CLIP and without head.

    Args:
        folder: made.
        fixture: LEGION's.
        without: beginnings of names that are left out.
        form: `safetensors` or `bin`.
        more: further or changed tensors.
        **config: changes config.json.
    """
    kept = {name: tensor for name, tensor in fixture["state_dict"].items() if not name.startswith(without)}
    return write_folder(folder, kept | (more or {}), legion_settings(fixture, **config), form)


def write_clip(folder: Path, fixture: dict[str, Any]) -> Path:
    """Write CLIP as OpenAI's repository has it, a part of its text encoder included."""
    weights = {k.removeprefix(CLIP): v for k, v in fixture["state_dict"].items() if k.startswith(CLIP)}
    weights |= {"text_model.final_layer_norm.weight": torch.ones(4), "logit_scale": torch.tensor([4.6])}
    vision = CLIPVisionConfig(**fixture["meta"]["clip"], dtype="float32").to_dict()
    return write_folder(folder, weights, {"model_type": "clip", "vision_config": vision}, "bin")


def write_sam(folder: Path, fixture: dict[str, Any]) -> Path:
    """Write the sizes of SAM alone, with the epsilon that transformers has."""
    folder.mkdir(parents=True)
    config = legion_config(fixture, layer_norm_eps=1e-6).grounding_config.to_dict()
    (folder / "config.json").write_text(json.dumps(config | {"dtype": "float32"}))
    return folder


def write_head(file: Path, fixture: dict[str, Any]) -> Path:
    """Write what stage 2 saves as one file: the head, and weights that it did not train."""
    names = ("model.norm.weight", "lm_head.weight")
    torch.save(head_weights(fixture) | {name: fixture["state_dict"][name] for name in names}, file)
    return file
