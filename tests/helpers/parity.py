"""Inputs and outputs of the authors' code on tiny random weights, and networks of the same sizes."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from forgescope.modeling.configuration_fakereasoning import FakeReasoningConfig
from forgescope.modeling.configuration_legion import LegionConfig
from forgescope.modeling.modeling_fakereasoning import FakeReasoningForConditionalGeneration
from forgescope.modeling.modeling_legion import LegionForGroundedExplanation

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


# LEGION: names of the authors' code -> ours. The language model and the projector are named as above.
LEGION_RENAMES = (
    *RENAMES[:3],
    (r"^model\.vision_tower\.vision_tower\.vision_model", "model.vision_tower"),
    (r"^model\.text_hidden_fcs\.0\.0", "prompt_projector.linear_1"),
    (r"^model\.text_hidden_fcs\.0\.2", "prompt_projector.linear_2"),
    (r"^model\.grounding_encoder\.image_encoder\.", "grounding.vision_encoder."),
    (r"^model\.grounding_encoder\.", "grounding."),
    (r"vision_encoder\.patch_embed\.proj", "vision_encoder.patch_embed.projection"),
    (r"vision_encoder\.blocks\.(\d+)\.norm(\d)", r"vision_encoder.layers.\1.layer_norm\2"),
    (r"vision_encoder\.blocks", "vision_encoder.layers"),
    (r"neck\.0", "neck.conv1"),
    (r"neck\.1", "neck.layer_norm1"),
    (r"neck\.2", "neck.conv2"),
    (r"neck\.3", "neck.layer_norm2"),
    (r"prompt_encoder\.pe_layer\.positional_encoding_gaussian_matrix", "shared_image_embedding.positional_embedding"),
    (r"point_embeddings", "point_embed"),
    (r"mask_downscaling\.0", "mask_embed.conv1"),
    (r"mask_downscaling\.1", "mask_embed.layer_norm1"),
    (r"mask_downscaling\.3", "mask_embed.conv2"),
    (r"mask_downscaling\.4", "mask_embed.layer_norm2"),
    (r"mask_downscaling\.6", "mask_embed.conv3"),
    (r"transformer\.layers\.(\d+)\.norm(\d)", r"transformer.layers.\1.layer_norm\2"),
    (r"norm_final_attn", "layer_norm_final_attn"),
    (r"output_upscaling\.0", "upscale_conv1"),
    (r"output_upscaling\.1", "upscale_layer_norm"),
    (r"output_upscaling\.3", "upscale_conv2"),
    (r"(output_hypernetworks_mlps\.\d+|iou_prediction_head)\.layers\.0", r"\1.proj_in"),
    (r"(output_hypernetworks_mlps\.\d+|iou_prediction_head)\.layers\.1", r"\1.layers.0"),
    (r"(output_hypernetworks_mlps\.\d+|iou_prediction_head)\.layers\.2", r"\1.proj_out"),
)


def legion_name(name: str) -> str | None:
    """Our name of a weight of the authors' code; None for buffers that are computed."""
    if name.endswith(("rotary_emb.inv_freq", "embeddings.position_ids")):
        return None
    for pattern, replacement in LEGION_RENAMES:
        name = re.sub(pattern, replacement, name)
    return name


def legion_config(fixture: dict[str, Any], layer_norm_eps: float = 1e-5, **settings: Any) -> LegionConfig:
    """Configuration of the fixture's network; `layer_norm_eps` is that of the mask decoder."""
    meta = fixture["meta"]
    sam, ids = meta["sam"], meta["token_ids"]
    sizes = {"image_size": sam["image_size"], "patch_size": sam["patch"]}
    grounding = {
        "vision_config": sizes
        | {
            "hidden_size": sam["dim"],
            "output_channels": sam["out"],
            "num_hidden_layers": sam["depth"],
            "num_attention_heads": sam["heads"],
            "global_attn_indexes": tuple(sam["global_attn"]),
            "window_size": sam["window"],
            "num_pos_feats": sam["out"] // 2,
        },
        "prompt_encoder_config": sizes | {"hidden_size": sam["out"]},
        "mask_decoder_config": {
            "hidden_size": sam["out"],
            "mlp_dim": sam["mask_mlp"],
            "num_attention_heads": sam["mask_heads"],
            "iou_head_hidden_dim": fixture["state_dict"][
                "model.grounding_encoder.mask_decoder.iou_prediction_head.layers.0.weight"
            ].shape[0],
            "layer_norm_eps": layer_norm_eps,
        },
    }
    return LegionConfig(
        vision_config=meta["clip"] | {"model_type": "clip_vision_model"},
        text_config=meta["llm"] | {"model_type": "llama", "vocab_size": meta["vocab"], "pad_token_id": 0},
        grounding_config=grounding,
        image_token_id=meta["vocab"],
        seg_token_id=ids["[SEG]"],
        phrase_start_token_id=ids["<p>"],
        phrase_end_token_id=ids["</p>"],
        detection_hidden_size=fixture["cls"]["head"]["0.weight"].shape[0],
        **settings,
    )


def legion_weights(fixture: dict[str, Any]) -> dict[str, torch.Tensor]:
    """The fixture's weights under our names, the detection head's classes in our order (real, fake)."""
    weights = {legion_name(name): tensor for name, tensor in fixture["state_dict"].items() if legion_name(name)}
    shared = "shared_image_embedding.positional_embedding"
    weights["grounding.prompt_encoder.shared_embedding.positional_embedding"] = weights[f"grounding.{shared}"]
    head = fixture["cls"]["head"]
    weights |= {f"detection_head.linear_1.{kind}": head[f"0.{kind}"] for kind in ("weight", "bias")}
    weights |= {f"detection_head.linear_2.{kind}": head[f"2.{kind}"].flip(0) for kind in ("weight", "bias")}
    return weights


def legion_from_parity(fixture: dict[str, Any], **settings: Any) -> LegionForGroundedExplanation:
    """The fixture's network in evaluation mode; keyword arguments as in `legion_config`."""
    model = LegionForGroundedExplanation(legion_config(fixture, **settings))
    model.load_state_dict(legion_weights(fixture), strict=True)
    return model.eval()


def parity_image_tokens(fixture: dict[str, Any]) -> int:
    """Features of an image in LEGION's fixture."""
    clip = fixture["meta"]["clip"]
    return (clip["image_size"] // clip["patch_size"]) ** 2
