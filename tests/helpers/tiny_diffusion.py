"""Stable Diffusion pipelines of real parts, tiny and with random weights; nothing is downloaded.

from tiny_diffusion import tiny_inpainting_pipeline, tiny_text_to_image_pipeline
"""

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

# Characters of the tokenizer, alone and at the end of a word, after the two special tokens.
CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,'!?-"
MAX_TOKENS = 16
WIDTH = 16
LATENT_CHANNELS = 4
# Noisy latents, mask, latents of the masked image.
INPAINTING_CHANNELS = 2 * LATENT_CHANNELS + 1
# One step fewer than the blocks of the autoencoder: 8 pixels a latent, as in Stable Diffusion.
AUTOENCODER_BLOCKS = 4


def tiny_tokenizer() -> CLIPTokenizer:
    """A CLIP tokenizer that knows single characters."""
    tokens = ["<|startoftext|>", "<|endoftext|>", *CHARACTERS, *(f"{character}</w>" for character in CHARACTERS)]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=MAX_TOKENS)


def tiny_text_encoder(vocabulary: int) -> CLIPTextModel:
    """A CLIP text encoder of two layers for a tokenizer of this many tokens."""
    config = CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=WIDTH,
        projection_dim=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=MAX_TOKENS,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    return CLIPTextModel(config)


def tiny_autoencoder() -> AutoencoderKL:
    """A variational autoencoder of 8 pixels a latent."""
    return AutoencoderKL(
        block_out_channels=(WIDTH,) * AUTOENCODER_BLOCKS,
        down_block_types=("DownEncoderBlock2D",) * AUTOENCODER_BLOCKS,
        up_block_types=("UpDecoderBlock2D",) * AUTOENCODER_BLOCKS,
        latent_channels=LATENT_CHANNELS,
        layers_per_block=1,
        norm_num_groups=WIDTH // 2,
        sample_size=64,
    )


def tiny_unet(in_channels: int = INPAINTING_CHANNELS) -> UNet2DConditionModel:
    """A U-Net, by default with the nine input channels of inpainting."""
    return UNet2DConditionModel(
        block_out_channels=(WIDTH, 2 * WIDTH),
        layers_per_block=1,
        sample_size=8,
        in_channels=in_channels,
        out_channels=LATENT_CHANNELS,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=WIDTH,
        attention_head_dim=2,
        norm_num_groups=WIDTH // 2,
    )


def tiny_inpainting_pipeline(seed: int = 0) -> StableDiffusionInpaintPipeline:
    """The pipeline, quiet, on the CPU; the same seed gives the same weights. Two steps take a tenth of a second.

    Args:
        seed: of the weights; torch's own state is left as it was.
    """
    return _tiny_pipeline(StableDiffusionInpaintPipeline, INPAINTING_CHANNELS, seed)


def tiny_text_to_image_pipeline(seed: int = 0) -> StableDiffusionPipeline:
    """The pipeline that makes images of 64 x 64 of texts; otherwise as `tiny_inpainting_pipeline`."""
    return _tiny_pipeline(StableDiffusionPipeline, LATENT_CHANNELS, seed)


def _tiny_pipeline(kind: type, in_channels: int, seed: int):
    tokenizer = tiny_tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        pipeline = kind(
            vae=tiny_autoencoder(),
            text_encoder=tiny_text_encoder(len(tokenizer)),
            tokenizer=tokenizer,
            unet=tiny_unet(in_channels),
            scheduler=DDIMScheduler(
                beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False, steps_offset=1
            ),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    for part in (pipeline.vae, pipeline.text_encoder, pipeline.unet):
        part.eval()
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


__all__ = [
    "tiny_autoencoder",
    "tiny_inpainting_pipeline",
    "tiny_text_encoder",
    "tiny_text_to_image_pipeline",
    "tiny_tokenizer",
    "tiny_unet",
]
