"""What several configurations share: sizes of encoders, and the check of a decision rule."""

from transformers import PreTrainedConfig

# Encoders of SegFormer-B2 and SegFormer-B4; sizes from the SegFormer paper, table 6.
MIT_B2 = {
    "depths": (3, 4, 6, 3),
    "hidden_sizes": (64, 128, 320, 512),
    "num_attention_heads": (1, 2, 5, 8),
    "sr_ratios": (8, 4, 2, 1),
}
MIT_B4 = MIT_B2 | {"depths": (3, 8, 27, 3)}
# CLIP ViT-L/14 at 336 pixels, the image encoder of LLaVA-1.5.
CLIP_L_336 = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": 336,
    "patch_size": 14,
    "projection_dim": 768,
}


def check_decision(config: PreTrainedConfig) -> None:
    """Check how a score becomes a verdict.

    Args:
        config: has `forged_threshold` and `authentic_threshold`, and perhaps `score_top_fraction`.

    Raises:
        ValueError: If a fraction lies outside its range, or the thresholds are the wrong way round.
    """
    fraction = getattr(config, "score_top_fraction", None)
    if fraction is not None and not 0 < fraction <= 1:
        raise ValueError(f"score_top_fraction must lie in (0, 1], got {fraction}")
    if config.authentic_threshold > config.forged_threshold:
        raise ValueError(
            f"authentic_threshold ({config.authentic_threshold}) must not exceed forged_threshold "
            f"({config.forged_threshold})"
        )


__all__ = ["CLIP_L_336", "MIT_B2", "MIT_B4", "check_decision"]
