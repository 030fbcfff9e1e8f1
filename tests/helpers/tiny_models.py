"""Tiny models of every family: one layer a stage, 8 to 32 channels."""

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from forgescope.auto import MODELS

TINY_ENCODER = {
    "depths": (1, 1, 1, 1),
    "hidden_sizes": (8, 16, 24, 32),
    "num_attention_heads": (1, 2, 3, 4),
    "sr_ratios": (4, 2, 1, 1),
    "drop_path_rate": 0.0,
}
TINY_CLIP = {
    "model_type": "clip_vision_model",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "image_size": 28,
    "patch_size": 14,
}
TINY_LLAMA = {
    "model_type": "llama",
    "vocab_size": 32000,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 2048,
    "pad_token_id": 0,
}
TINY_SAM = {
    "vision_config": {
        "hidden_size": 16,
        "output_channels": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 64,
        "global_attn_indexes": (1,),
        "window_size": 2,
        "num_pos_feats": 8,
        "initializer_range": 0.02,
    },
    "prompt_encoder_config": {"hidden_size": 16, "image_size": 64},
    "mask_decoder_config": {
        "hidden_size": 16,
        "mlp_dim": 32,
        "num_attention_heads": 2,
        "iou_head_hidden_dim": 16,
        "layer_norm_eps": 1e-5,
    },
}
# models whose inputs are an image and a prompt
TEXT_MODELS = ("fakereasoning", "legion")
# A model that is new in the table needs an entry here; the tests of every model then run over it.
TINY_SETTINGS: dict[str, dict[str, Any]] = {
    "iclnet": {"encoder_config": TINY_ENCODER, "head_hidden_sizes": (16, 16, 8, 8)},
    "gamma": {"encoder_config": TINY_ENCODER, "decoder_hidden_size": 24, "num_attention_heads": 3},
    "diffseg": {"encoder_config": TINY_ENCODER, "decoder_hidden_size": 16},
    "fakereasoning": {"vision_config": TINY_CLIP, "text_config": TINY_LLAMA},
    "legion": {
        "vision_config": TINY_CLIP,
        "text_config": TINY_LLAMA | {"vocab_size": 32007},
        "grounding_config": TINY_SAM,
        "detection_hidden_size": 24,
    },
}


def tiny_config(model_type: str, **settings: Any) -> PreTrainedConfig:
    """Make a tiny configuration; keyword arguments replace its settings."""
    return MODELS[model_type].config(**TINY_SETTINGS[model_type] | settings)


def tiny_model(model_type: str, **settings: Any) -> PreTrainedModel:
    """Make a tiny task model in evaluation mode, the same at every call; keyword arguments as in `tiny_config`."""
    torch.manual_seed(0)
    return drawn(MODELS[model_type].task_model(tiny_config(model_type, **settings)).eval())


def drawn(model: nn.Module) -> nn.Module:
    """Change every trained parameter, and the statistics of batch normalisation.

    Random initialisation leaves biases at zero and norms at one, with which a forgotten one does not show.
    """
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in (one for one in model.parameters() if one.requires_grad):
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
        for module in (one for one in model.modules() if isinstance(one, nn.BatchNorm2d)):
            module.running_mean.copy_(0.2 * torch.randn(module.num_features, generator=generator))
            module.running_var.copy_(0.5 + torch.rand(module.num_features, generator=generator))
    return model


def tiny_processor(model_type: str) -> Any:
    """The processor of a tiny model: photographs become 64 x 64 pixels, or 28 x 28 for a model that writes texts."""
    if model_type in TEXT_MODELS:
        # not every test has a second to wait for the tokenizer
        from legion_processor import legion_processor
        from llama_tokenizer import fakereasoning_processor

        if model_type == "legion":
            return legion_processor(TINY_CLIP["image_size"], TINY_SAM["vision_config"]["image_size"])
        return fakereasoning_processor(image_size=TINY_CLIP["image_size"])
    settings = {"do_resize": False, "smallest_edge": 64} if model_type == "gamma" else {}
    return MODELS[model_type].processor(size={"height": 64, "width": 64}, **settings)


def tiny_inputs(model_type: str) -> dict[str, torch.Tensor]:
    """Inputs of two images: (2, 3, 64, 64) pixels, or 28 x 28 pixels with a prompt for a model that writes texts."""
    size = TINY_CLIP["image_size"] if model_type in TEXT_MODELS else 64
    pixels = {"pixel_values": torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))}
    if model_type not in TEXT_MODELS:
        return pixels
    config = tiny_config(model_type)
    image = [config.image_token_id] * (size // TINY_CLIP["patch_size"]) ** 2
    ids = torch.tensor([[1, 700, *image, 800, 801, 802, 803, 2], [1, 700, *image, 900, 901, 902, 903, 2]])
    if model_type == "legion":
        ids[:, -3] = config.seg_token_id
        pixels["grounding_pixel_values"] = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    return pixels | {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def tiny_targets(model_type: str) -> dict[str, torch.Tensor]:
    """Targets of the two images, as the model's `forward` takes them: a square in each mask, or a text."""
    masks = torch.zeros(2, 16, 16, dtype=torch.long)
    masks[0, 3:9, 2:12] = 1
    masks[1, 8:, 8:] = 1
    if model_type in TEXT_MODELS:
        ids = tiny_inputs(model_type)["input_ids"]
        places = torch.arange(ids.shape[1]).expand_as(ids)
        image_end = int((ids[0] >= TINY_LLAMA["vocab_size"]).nonzero()[-1])
        answer = places > image_end + 1
        common = {"labels": ids.masked_fill(~answer, -100), "forgery_labels": torch.tensor([1, 0])}
        if model_type == "legion":
            return common | {"masks": masks[:, None]}
        return common | {
            "caption_mask": places == image_end + 2,
            "reasoning_mask": places == image_end + 3,
        }
    if model_type == "gamma":
        return {"labels": torch.tensor([1, 0]), "manipulation_mask": masks, "ai_mask": masks.flip(2)}
    return {"labels": masks}
