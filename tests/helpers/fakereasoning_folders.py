"""Folders as the authors of LLaVA, FakeReasoning, CLIP, DINOv2 and PEFT leave them, with a fixture's tiny weights.

from fakereasoning_folders import write_llava, write_clip, write_lora_run
"""

import json
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import save_torch_state_dict, split_torch_state_dict_into_shards
from peft import LoraConfig, get_peft_model
from transformers import CLIPVisionConfig, LlamaConfig, LlamaForCausalLM

CLIP = "model.vision_tower.vision_tower."
DINO = "model.dino_tower."
DINO_VIT = "model.dino_tower.vision_tower."
FUSION = ("model.crossattention.", "model.dino_mm_projector.")
TRAINED = ("model.mm_projector.", *FUSION)


def write_llava(
    folder: Path, fixture: dict[str, Any], without: tuple[str, ...] = (), form: str = "safetensors", **config: Any
) -> Path:
    """Write a checkpoint without the tensors of some prefixes, in shards; keyword arguments change its config.json."""
    weights = {name: tensor for name, tensor in fixture["state_dict"].items() if not name.startswith(without)}
    settings = {name: value for name, value in fixture["config"].items() if name != "tiny"} | config
    return write_folder(folder, weights, settings, form)


def write_folder(folder: Path, weights: dict[str, torch.Tensor], config: dict[str, Any], form: str) -> Path:
    """Write weights in small shards, as safetensors or as torch saves them, and config.json."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    if form == "safetensors":
        save_torch_state_dict(weights, folder, max_shard_size="1MB", metadata={"format": "pt"})
        return folder
    split = split_torch_state_dict_into_shards(
        weights, filename_pattern="pytorch_model{suffix}.bin", max_shard_size="1MB"
    )
    for file, names in split.filename_to_tensors.items():
        torch.save({name: weights[name] for name in names}, folder / file)
    index = {"metadata": {}, "weight_map": split.tensor_to_filename}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    return folder


def write_clip(folder: Path, fixture: dict[str, Any], weights: bool = True) -> Path:
    """Write CLIP as OpenAI's repository has it, text encoder and old buffers included, or its config.json alone."""
    tiny = fixture["config"]["tiny"]
    inside = {
        name.removeprefix(CLIP): tensor for name, tensor in fixture["state_dict"].items() if name.startswith(CLIP)
    }
    vision = CLIPVisionConfig(
        hidden_size=tiny["vision_dim"],
        intermediate_size=inside["vision_model.encoder.layers.0.mlp.fc1.weight"].shape[0],
        num_hidden_layers=tiny["clip_layers"],
        num_attention_heads=tiny["clip_heads"],
        image_size=tiny["clip_grid"] * tiny["patch"],
        patch_size=tiny["patch"],
        dtype="float32",
    )
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "clip", "vision_config": vision.to_dict()}))
    if weights:
        inside["vision_model.embeddings.position_ids"] = torch.arange(tiny["clip_grid"] ** 2 + 1)[None]
        inside["text_model.embeddings.position_ids"] = torch.arange(77)[None]
        inside["text_model.final_layer_norm.weight"] = torch.ones(4)
        inside["visual_projection.weight"] = torch.ones(2, 2)
        inside["logit_scale"] = torch.tensor(4.6)
        torch.save(inside, folder / "pytorch_model.bin")
    return folder


def dino_weights(fixture: dict[str, Any]) -> dict[str, torch.Tensor]:
    """DINOv2's weights, under its authors' names."""
    weights = fixture["state_dict"].items()
    return {name.removeprefix(DINO_VIT): tensor for name, tensor in weights if name.startswith(DINO_VIT)}


def write_lora_run(folder: Path, fixture: dict[str, Any], **settings: Any) -> dict[str, torch.Tensor]:
    """Write what the authors' training script leaves: adapter by PEFT, config.json and the other trained weights.

    Args:
        folder: made.
        fixture: the weights that training started from.
        **settings: of the adapter.

    Returns:
        The weights after training under their original names, those of the adapter merged by PEFT.
    """
    torch.manual_seed(0)
    config = {name: value for name, value in fixture["config"].items() if name not in ("tiny", "model_type")}
    language_model = LlamaForCausalLM(LlamaConfig(**config))
    language_model.load_state_dict({name: fixture["state_dict"][name] for name in language_model.state_dict()})
    lora = LoraConfig(r=4, lora_alpha=6, target_modules=fixture["lora_targets_before_towers"], **settings)
    wrapped = get_peft_model(language_model, lora)
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=0.1)
    wrapped.save_pretrained(folder)
    others = {name: tensor + 0.01 for name, tensor in fixture["state_dict"].items() if name.startswith(TRAINED)}
    torch.save(
        {f"base_model.model.{name}": tensor for name, tensor in others.items()}, folder / "non_lora_trainables.bin"
    )
    (folder / "config.json").write_text(json.dumps({k: v for k, v in fixture["config"].items() if k != "tiny"}))
    return fixture["state_dict"] | others | wrapped.merge_and_unload().state_dict()
