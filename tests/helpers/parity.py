"""Inputs and outputs of the authors' code on tiny random weights, and networks of the same sizes."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from forgescope.modeling.configuration_fakereasoning import FakeReasoningConfig
from forgescope.modeling.modeling_fakereasoning import FakeReasoningForConditionalGeneration

ROOT = Path(__file__).parents[2]


def parity_dir() -> Path:
    """Folder of the fixtures."""
    return Path(os.environ.get("FORGESCOPE_PARITY_DIR", ROOT.parent / "shared" / "reference" / "parity"))


def load_parity(name: str) -> dict[str, Any]:
    """Read a fixture; a test that needs it is skipped where it is absent."""
    path = parity_dir() / name
    if not path.is_file():
        pytest.skip(f"no file {path}: set FORGESCOPE_PARITY_DIR")
    return torch.load(path, weights_only=True)


# Names of the authors' code -> ours; DINOv2's joint query, key and value are split besides.
RENAMES = (
    (r"^model\.(embed_tokens|layers|norm)\b", r"model.language_model.\1"),
    (r"^model\.mm_projector\.0", "model.multi_modal_projector.linear_1"),
    (r"^model\.mm_projector\.2", "model.multi_modal_projector.linear_2"),
    (r"^model\.dino_mm_projector\.0", "model.dino_projector.linear_1"),
    (r"^model\.dino_mm_projector\.2", "model.dino_projector.linear_2"),
    (r"^model\.vision_tower\.vision_tower\.vision_model", "model.vision_tower"),
    (r"^model\.dino_tower\.vision_tower\.(cls_token|mask_token)", r"model.dino_tower.embeddings.\1"),
    (r"^model\.dino_tower\.vision_tower\.pos_embed", "model.dino_tower.embeddings.position_embeddings"),
    (
        r"^model\.dino_tower\.vision_tower\.patch_embed\.proj",
        "model.dino_tower.embeddings.patch_embeddings.projection",
    ),
    (r"^model\.dino_tower\.vision_tower\.norm", "model.dino_tower.layernorm"),
    (r"^model\.dino_tower\.vision_tower\.blocks", "model.dino_tower.encoder.layer"),
    (r"\.attn\.proj", ".attention.o_proj"),
    (r"\.ls([12])\.gamma", r".layer_scale\1.lambda1"),
    (r"^model\.crossattention\.attention_mlp\.mlp\.0", "model.fusion.bias_1"),
    (r"^model\.crossattention\.attention_mlp\.mlp\.2", "model.fusion.bias_2"),
    (r"^model\.crossattention\.mhatt\.0\.linear_q", "model.fusion.query"),
    (r"^model\.crossattention\.mhatt\.0\.linear_k", "model.fusion.key"),
    (r"^model\.crossattention\.mhatt\.0\.linear_v", "model.fusion.value"),
    (r"^model\.crossattention\.mhatt\.0\.linear_merge", "model.fusion.output"),
    (r"^model\.crossattention\.ffn\.0\.mlp\.fc\.linear", "model.fusion.feed_forward_1"),
    (r"^model\.crossattention\.ffn\.0\.mlp\.linear", "model.fusion.feed_forward_2"),
    (r"^model\.crossattention\.norm\.0\.a_2", "model.fusion.norm_1.weight"),
    (r"^model\.crossattention\.norm\.0\.b_2", "model.fusion.norm_1.bias"),
    (r"^model\.crossattention\.norm\.1\.a_2", "model.fusion.norm_2.weight"),
    (r"^model\.crossattention\.norm\.1\.b_2", "model.fusion.norm_2.bias"),
)


def fakereasoning_name(name: str) -> str | None:
    """Our name of a weight of the authors' code; None for the CLIP that nothing uses."""
    if name.startswith("model.dino_tower.clip_vision_tower."):
        return None
    for pattern, replacement in RENAMES:
        name = re.sub(pattern, replacement, name)
    return name


def fakereasoning_weights(fixture: dict[str, Any]) -> dict[str, torch.Tensor]:
    """The fixture's weights under our names."""
    weights = {}
    for name, tensor in fixture["state_dict"].items():
        renamed = fakereasoning_name(name)
        if renamed is not None and ".attn.qkv." in renamed:
            for part, third in zip("qkv", tensor.chunk(3), strict=True):
                weights[renamed.replace(".attn.qkv.", f".attention.{part}_proj.")] = third.clone()
        elif renamed is not None:
            weights[renamed] = tensor
    return weights


def fakereasoning_config(fixture: dict[str, Any], dual: bool, **settings: Any) -> FakeReasoningConfig:
    """Configuration of the fixture's network, with or without DINOv2; no contrastive learning, fixed temperature."""
    given, tiny = fixture["config"], fixture["config"]["tiny"]
    pattern = tuple(fixture["tokens"]["pattern"])
    sizes = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    sizes += ("num_key_value_heads", "max_position_embeddings", "rms_norm_eps")
    feed_forward = fixture["state_dict"][
        "model.vision_tower.vision_tower.vision_model.encoder.layers.0.mlp.fc1.weight"
    ]
    common = {"hidden_size": tiny["vision_dim"], "patch_size": tiny["patch"]}
    vision = common | {
        "intermediate_size": feed_forward.shape[0],
        "num_hidden_layers": tiny["clip_layers"],
        "num_attention_heads": tiny["clip_heads"],
        "image_size": tiny["clip_grid"] * tiny["patch"],
    }
    dino = common | {
        "num_hidden_layers": tiny["dino_layers"],
        "num_attention_heads": tiny["dino_heads"],
        "image_size": tiny["dino_native_grid"] * tiny["patch"],
    }
    return FakeReasoningConfig(
        vision_config=vision | {"model_type": "clip_vision_model"},
        text_config={name: given[name] for name in sizes} | {"model_type": "llama", "pad_token_id": 0},
        dino_config=dino if dual else None,
        image_token_id=given["vocab_size"],
        vision_feature_layer=given["mm_vision_select_layer"],
        fusion_num_attention_heads=tiny["fusion_heads"],
        fusion_intermediate_size=tiny["ff"],
        conclusion_pattern_ids=pattern,
        conclusion_tag_ids=pattern[: fixture["tokens"]["pattern_pieces"].index(">") + 1],
        real_token_id=fixture["tokens"]["word_ids"]["real|legacy=True"][0],
        fake_token_id=fixture["tokens"]["word_ids"]["fake|legacy=True"][0],
        learn_classification_temperature=False,
        contrastive_loss_weight=0.0,
        **settings,
    )


def fakereasoning_from_parity(fixture: dict[str, Any], design: str) -> FakeReasoningForConditionalGeneration:
    """The fixture's network, design `dual` (CLIP and DINOv2) or `clip_only`, in evaluation mode."""
    model = FakeReasoningForConditionalGeneration(fakereasoning_config(fixture, design == "dual"))
    weights = fakereasoning_weights(fixture)
    if design == "clip_only":
        later = ("model.dino_", "model.fusion.")
        weights = {name: tensor for name, tensor in weights.items() if not name.startswith(later)}
    model.load_state_dict(weights, strict=True)
    return model.eval()


def expanded(ids: torch.Tensor, features: int, sentinel: int, image_id: int) -> torch.Tensor:
    """Prompts (B, L) with each sentinel replaced by image tokens: (B, L - 1 + features); one image a row."""
    rows = []
    for row in ids:
        place = int((row == sentinel).nonzero()[0])
        images = row.new_full((features,), image_id)
        rows.append(torch.cat([row[:place], images, row[place + 1 :]]))
    return torch.stack(rows)
