"""Grounding DINO and SAM of real parts with their processors, tiny and with random weights; nothing is downloaded.

from tiny_grounding import tiny_grounding_dino, tiny_sam
"""

import string
from typing import Any

import torch
from transformers import (
    BertConfig,
    BertTokenizer,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
    Sam2Config,
    Sam2ImageProcessor,
    Sam2Model,
    Sam2Processor,
    SamConfig,
    SamImageProcessor,
    SamModel,
    SamProcessor,
    SwinConfig,
)

WIDTH = 16
DETECTOR_WIDTH = 32  # its norms have 32 groups
QUERIES = 6
IMAGE_SIZE = 64  # both models look at images of this side
MAX_TOKENS = 64
# of the last layer that makes boxes: centre, width and height before the sigmoid
BOX_SPREAD, BOX_BIAS = 0.15, (0.0, 0.0, 1.5, 1.5)


def tiny_grounding_dino(seed: int = 0) -> tuple[GroundingDinoForObjectDetection, GroundingDinoProcessor]:
    """A detector whose boxes mean nothing: give it the threshold 0.

    Args:
        seed: of the weights; torch's own state is left as it was.
    """
    characters = [*string.ascii_lowercase, *string.digits, ".", "-", "'"]
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters, *(f"##{one}" for one in characters)]
    # the model knows the ends of names by these four ids of BERT's own vocabulary
    vocabulary = {token: number for number, token in enumerate(tokens)} | {"[CLS]": 101, "[SEP]": 102, ".": 1012}
    tokenizer = BertTokenizer(vocab=vocabulary, model_max_length=MAX_TOKENS)
    text = BertConfig(
        vocab_size=1100,
        hidden_size=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=WIDTH,
        max_position_embeddings=MAX_TOKENS,
    )
    backbone = SwinConfig(
        image_size=IMAGE_SIZE,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 2, 2],
        window_size=2,
        out_features=["stage2", "stage3", "stage4"],
    )
    config = GroundingDinoConfig(
        backbone_config=backbone,
        text_config=text,
        d_model=DETECTOR_WIDTH,
        num_queries=QUERIES,
        max_text_len=MAX_TOKENS,
        encoder_layers=1,
        decoder_layers=2,
        encoder_ffn_dim=WIDTH,
        decoder_ffn_dim=WIDTH,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
    )
    # smaller ones have one pixel in the last feature map, which its norm refuses
    size = {"shortest_edge": 2 * IMAGE_SIZE, "longest_edge": 4 * IMAGE_SIZE}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = GroundingDinoForObjectDetection(config).eval()
        # untrained boxes are small and lie around one point: spread and widen them; from a seed of their own, for
        # versions of transformers draw more or fewer random numbers above
        torch.manual_seed(seed)
        for head in model.bbox_embed:
            for layer in head.layers[:-1]:
                torch.nn.init.xavier_uniform_(layer.weight)
            torch.nn.init.normal_(head.layers[-1].weight, std=BOX_SPREAD)
            with torch.no_grad():
                head.layers[-1].bias.copy_(torch.tensor(BOX_BIAS))
    return model, GroundingDinoProcessor(GroundingDinoImageProcessor(size=size), tokenizer)


def tiny_sam(seed: int = 0) -> tuple[SamModel, SamProcessor]:
    """A first SAM; its masks are random patterns."""
    config = SamConfig(
        vision_config={
            "hidden_size": WIDTH,
            "output_channels": WIDTH,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": IMAGE_SIZE,
            "patch_size": 8,
            "window_size": 0,
            "global_attn_indexes": [],
            "num_pos_feats": WIDTH // 2,
            "mlp_dim": WIDTH,
        },
        prompt_encoder_config={
            "hidden_size": WIDTH,
            "image_size": IMAGE_SIZE,
            "patch_size": 8,
            "mask_input_channels": 4,
        },
        mask_decoder_config=_decoder(),
    )
    size = {"longest_edge": IMAGE_SIZE}
    padded = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    return _seeded(SamModel, config, seed), SamProcessor(SamImageProcessor(size=size, pad_size=padded))


def tiny_sam2(seed: int = 0) -> tuple[Sam2Model, Sam2Processor]:
    """A SAM 2, whose processor knows other sizes than the first one's."""
    config = Sam2Config(
        vision_config={
            "backbone_config": {
                "model_type": "sam2_hiera_det_model",
                "hidden_size": 8,
                "embed_dim_per_stage": [8, 16, 32, 64],
                "blocks_per_stage": [1, 1, 1, 1],
                "num_attention_heads_per_stage": [1, 1, 1, 1],
                "window_size_per_stage": [2, 2, 2, 2],
                "global_attention_blocks": [],
                "image_size": [IMAGE_SIZE, IMAGE_SIZE],
                "window_positional_embedding_background_size": [2, 2],
            },
            "backbone_channel_list": [64, 32, 16, 8],
            "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
            "fpn_hidden_size": WIDTH,
        },
        prompt_encoder_config={
            "hidden_size": WIDTH,
            "image_size": IMAGE_SIZE,
            "patch_size": 16,
            "mask_input_channels": 4,
        },
        mask_decoder_config=_decoder(),
    )
    size = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    return _seeded(Sam2Model, config, seed), Sam2Processor(Sam2ImageProcessor(size=size))


def _decoder() -> dict[str, Any]:
    return {
        "hidden_size": WIDTH,
        "mlp_dim": WIDTH,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "iou_head_hidden_dim": WIDTH,
    }


def _seeded(kind: Any, config: Any, seed: int) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return kind(config).eval()


__all__ = ["tiny_grounding_dino", "tiny_sam", "tiny_sam2"]
