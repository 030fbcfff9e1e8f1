"""Configuration of GAMMA (section 3.3)."""

from typing import Any, Literal

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig, SegformerConfig
from transformers.configuration_utils import SubConfigSpec

from .configuration_parts import MIT_B2, check_decision


@strict
class GammaConfig(PreTrainedConfig):
    r"""Configuration of [`GammaModel`] and [`GammaForDetection`]; the defaults are the paper's network.

    "Section", "Eq." and "Table" refer to "GAMMA: Generalizable Alignment via Multi-task and Manipulation-Augmented
    Training for AI-Generated Image Detection".

    Args:
        encoder_config (`dict` or `SegformerConfig`, *optional*, defaults to MiT-B2):
            The encoder (section 5.1).
        decoder_hidden_size (`int`, *optional*, defaults to 768):
            C_Dec, channels of both decoders and of the classification feature (Eq. 1 to 5); not given in the paper,
            768 is SegFormer-B2's own.
        decoder_dropout (`float`, *optional*, defaults to 0.1):
            Dropout before the masks' 1x1 convolutions; not given in the paper, 0.1 is SegFormer's own.
        use_manipulation_head, use_ai_head (`bool`, *optional*, defaults to `True`):
            Whether the head for all altered pixels and the head for AI-made pixels exist (Table 4).
        cross_attention (`"reverse"`, `"none"`, `"standard"` or `"dual"`, *optional*, defaults to `"reverse"`):
            Table 8. `"reverse"` is Eq. 8: the decoders' features are queries, the classification feature is key and
            value. `"standard"` has the classification feature as query; `"dual"` adds both directions (our reading,
            the paper has no equation for it).
        cross_attention_tokens (`"pooled"` or `"spatial"`, *optional*, defaults to `"pooled"`):
            Key and value of the reverse direction. `"pooled"` is Eq. 5 to 8 as printed: one pooled vector. A softmax
            over one key is 1, so the decoders' features have no influence there. `"spatial"` takes the same
            projection of F_4 before pooling, so that they have; this is our reading of what the text describes.
        num_attention_heads (`int`, *optional*, defaults to 8):
            Heads of Eq. 7; not given in the paper.
        classification_loss_weight, ai_loss_weight (`float`, *optional*, defaults to 2.0):
            Alpha of Eq. 6, separately for each term so that Table 7 can be run.
        manipulation_loss_weight (`float`, *optional*, defaults to 1.0):
            Weight of the manipulation mask's loss in Eq. 6.
        initializer_range (`float`, *optional*, defaults to 0.02):
            Standard deviation of the new layers' random weights; not given in the paper, SegFormer's own.
        label_ignore_index (`int`, *optional*, defaults to 255):
            Value of mask pixels that count in no loss, such as padding.
        mask_threshold (`float`, *optional*, defaults to 0.5):
            Pixel probability from which a pixel counts as altered or as AI-made; not given in the paper.
        score_reduction (`"max"`, `"mean"` or `"center"`, *optional*, defaults to `"max"`):
            How the fake probabilities of the tiles of a large photograph become its score; not given in the paper.
            `"max"` follows section 3.3: an image is fake if it contains AI-made pixels anywhere. `"center"` looks at
            one central tile alone, as the paper's evaluation does (section 5.1).
        forged_threshold, authentic_threshold (`float`, *optional*, defaults to 0.5):
            Scores from which an image is called fake and below which it is called real; in between it is
            inconclusive. The paper reports accuracy and does not give a threshold.
        false_alarm_rate (`float`, *optional*):
            Share of real images that `forged_threshold` was chosen to call fake; `None`: not calibrated.
        calibration_images (`int`, *optional*, defaults to 0):
            Number of real images that `forged_threshold` was chosen on.

    Raises:
        ValueError: For widths, heads or thresholds that do not fit together.
    """

    model_type = "gamma"
    sub_configs_defaults = {"encoder_config": SubConfigSpec(config_class=SegformerConfig)}  # noqa: RUF012 (transformers reads this form)
    keys_to_ignore_at_inference = [  # noqa: RUF012
        "ai_logits",
        "manipulation_logits",
        "loss_classification",
        "loss_ai",
        "loss_manipulation",
    ]

    encoder_config: dict | PreTrainedConfig | None = None
    decoder_hidden_size: int = 768
    decoder_dropout: float = 0.1
    use_manipulation_head: bool = True
    use_ai_head: bool = True
    cross_attention: Literal["reverse", "none", "standard", "dual"] = "reverse"
    cross_attention_tokens: Literal["pooled", "spatial"] = "pooled"
    num_attention_heads: int = 8
    classification_loss_weight: float = 2.0
    ai_loss_weight: float = 2.0
    manipulation_loss_weight: float = 1.0
    initializer_range: float = 0.02
    label_ignore_index: int = 255
    mask_threshold: float = 0.5
    score_reduction: Literal["max", "mean", "center"] = "max"
    forged_threshold: float = 0.5
    authentic_threshold: float = 0.5
    false_alarm_rate: float | None = None
    calibration_images: int = 0

    def __post_init__(self, **kwargs: Any) -> None:
        if self.encoder_config is None:
            self.encoder_config = dict(MIT_B2)
        if self.id2label is None:
            self.id2label = {0: "real", 1: "fake"}
        super().__post_init__(**kwargs)
        self.label2id = {name: index for index, name in self.id2label.items()}

    def validate_architecture(self) -> None:
        """Check widths and heads; called at construction and at save."""
        if self.num_attention_heads < 1 or self.decoder_hidden_size % self.num_attention_heads:
            raise ValueError(
                f"decoder_hidden_size must be a multiple of num_attention_heads, at least 1, got "
                f"{self.decoder_hidden_size} and {self.num_attention_heads}"
            )
        if not 0 <= self.decoder_dropout < 1:
            raise ValueError(f"decoder_dropout must lie in [0, 1), got {self.decoder_dropout}")
        if len(self.id2label) != 2:
            raise ValueError(f"id2label must name two classes, real and fake, got {self.id2label}")

    def validate_decision(self) -> None:
        """Check the decision rule; called at construction and at save."""
        check_decision(self)


__all__ = ["MIT_B2", "GammaConfig"]
