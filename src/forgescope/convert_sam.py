"""SAM for models that have it as a part called `grounding`: a table of its authors' names, and its sizes."""

import copy
from pathlib import Path
from typing import Any

from transformers import AutoConfig

from forgescope.convert import CONFIG_FILE, Rule
from forgescope.modeling.configuration_legion import SAM_VIT_H

SHARED_EMBEDDING = (
    "grounding.shared_image_embedding.positional_embedding",
    "grounding.prompt_encoder.shared_embedding.positional_embedding",
)
# The mask decoder's norms have torch's default epsilon in the authors' code, transformers has 1e-6: the masks of
# converted weights would be off by 1.7e-4.
DECODER_EPS = 1e-5

IMAGE_ENCODER = {
    r"pos_embed": "pos_embed",
    r"patch_embed\.proj\.(\w+)": r"patch_embed.projection.\1",
    r"blocks\.(\d+)\.norm([12])\.(\w+)": r"layers.\1.layer_norm\2.\3",
    r"blocks\.(\d+)\.((?:attn|mlp)\..+)": r"layers.\1.\2",
    r"neck\.0\.(\w+)": r"neck.conv1.\1",
    r"neck\.1\.(\w+)": r"neck.layer_norm1.\1",
    r"neck\.2\.(\w+)": r"neck.conv2.\1",
    r"neck\.3\.(\w+)": r"neck.layer_norm2.\1",
}
PROMPT_ENCODER = {
    r"point_embeddings\.(\d+)\.weight": r"point_embed.\1.weight",
    r"(not_a_point_embed|no_mask_embed)\.weight": r"\1.weight",
    r"mask_downscaling\.0\.(\w+)": r"mask_embed.conv1.\1",
    r"mask_downscaling\.1\.(\w+)": r"mask_embed.layer_norm1.\1",
    r"mask_downscaling\.3\.(\w+)": r"mask_embed.conv2.\1",
    r"mask_downscaling\.4\.(\w+)": r"mask_embed.layer_norm2.\1",
    r"mask_downscaling\.6\.(\w+)": r"mask_embed.conv3.\1",
}
MASK_DECODER = {
    r"transformer\.layers\.(\d+)\.norm([1-4])\.(\w+)": r"transformer.layers.\1.layer_norm\2.\3",
    r"(transformer\.layers\.\d+\.(?:self_attn|cross_attn_\w+|mlp)\..+)": r"\1",
    r"(transformer\.final_attn_token_to_image\..+)": r"\1",
    r"transformer\.norm_final_attn\.(\w+)": r"transformer.layer_norm_final_attn.\1",
    r"(iou_token|mask_tokens)\.weight": r"\1.weight",
    r"output_upscaling\.0\.(\w+)": r"upscale_conv1.\1",
    r"output_upscaling\.1\.(\w+)": r"upscale_layer_norm.\1",
    r"output_upscaling\.3\.(\w+)": r"upscale_conv2.\1",
    r"(output_hypernetworks_mlps\.\d+|iou_prediction_head)\.layers\.0\.(\w+)": r"\1.proj_in.\2",
    r"(output_hypernetworks_mlps\.\d+|iou_prediction_head)\.layers\.1\.(\w+)": r"\1.layers.0.\2",
    r"(output_hypernetworks_mlps\.\d+|iou_prediction_head)\.layers\.2\.(\w+)": r"\1.proj_out.\2",
}
PARTS = (
    ("image_encoder", "vision_encoder", IMAGE_ENCODER),
    ("prompt_encoder", "prompt_encoder", PROMPT_ENCODER),
    ("mask_decoder", "mask_decoder", MASK_DECODER),
)


def sam_rules(prefix: str = "") -> tuple[Rule, ...]:
    """Table of SAM as its authors name it; `prefix` is a pattern."""
    embedding = rf"{prefix}prompt_encoder\.pe_layer\.positional_encoding_gaussian_matrix"
    renamed = (
        Rule(rf"{prefix}{theirs}\.{old}", (f"grounding.{ours}.{new}",), "SAM")
        for theirs, ours, table in PARTS
        for old, new in table.items()
    )
    return (Rule(embedding, SHARED_EMBEDDING, "SAM"), *renamed)


def sam_settings(place: Path | None) -> dict[str, Any]:
    """Settings of SAM, with the epsilon of its authors.

    Args:
        place: a folder with a configuration; another place, or None, is ViT-H, which the authors of GLaMM and LEGION
            have.

    Raises:
        ValueError: the configuration of another model.
    """
    if place is None or not (place / CONFIG_FILE).is_file():
        return copy.deepcopy(SAM_VIT_H)
    config = AutoConfig.from_pretrained(place)
    if config.model_type != "sam":
        raise ValueError(f"expected SAM in {place}, got a model of type {config.model_type!r}")
    config.mask_decoder_config.layer_norm_eps = DECODER_EPS
    return config.to_dict()


__all__ = ["sam_rules", "sam_settings"]
