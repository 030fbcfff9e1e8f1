"""Configuration of LEGION (sections 4.1 and 5)."""

from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig, SamConfig
from transformers.configuration_utils import SubConfigSpec

from .configuration_parts import CLIP_L_336, check_decision

# Vicuna-7B v1.5 with the seven tokens that GLaMM added to Llama's 32,000.
VICUNA_7B = {
    "vocab_size": 32007,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-5,
    "pad_token_id": 0,
}
# SAM ViT-H. The decoder's norms have torch's default epsilon in the original code, 1e-6 in transformers: with the
# latter the masks of converted weights are off by 1.7e-4.
SAM_VIT_H = {
    "vision_config": {
        "hidden_size": 1280,
        "num_hidden_layers": 32,
        "num_attention_heads": 16,
        "global_attn_indexes": (7, 15, 23, 31),
        "num_pos_feats": 128,
    },
    "mask_decoder_config": {"layer_norm_eps": 1e-5},
}


@strict
class LegionConfig(PreTrainedConfig):
    r"""Configuration of [`LegionForGroundedExplanation`]; the defaults are the published network.

    "Section", "Eq." and "Table" refer to "LEGION: Learning to Ground and Explain for Synthetic Image Detection".

    Args:
        vision_config (`dict` or `CLIPVisionConfig`, *optional*, defaults to CLIP ViT-L/14 at 336 pixels):
            Global image encoder; frozen. The paper's text says ViT-H/14 with 256 tokens, the published weights are
            ViT-L/14 with 576.
        text_config (`dict` or `LlamaConfig`, *optional*, defaults to Vicuna-7B with seven more tokens):
            Language model.
        grounding_config (`dict` or `SamConfig`, *optional*, defaults to SAM ViT-H):
            Grounding encoder, frozen, and mask decoder.
        image_token_id (`int`, *optional*, defaults to 32007):
            Id of the token that stands for one image feature. It may lie outside the vocabulary: the embedding table
            is never asked for it.
        seg_token_id (`int`, *optional*, defaults to 32004):
            Id of `[SEG]`. A mask's prompt is the last hidden state of the token before it, which predicts it.
        phrase_start_token_id, phrase_end_token_id (`int`, *optional*, defaults to 32005 and 32006):
            Ids of `<p>` and `</p>`, between which a grounded phrase stands.
        vision_feature_layer (`int`, *optional*, defaults to -2):
            Hidden states of the global encoder that are projected and classified.
        projector_hidden_act (`str`, *optional*, defaults to `"gelu"`):
            Activation between the two layers of the vision-language projector.
        multimodal_projector_bias (`bool`, *optional*, defaults to `True`):
            Whether these layers have biases.
        detection_hidden_size (`int`, *optional*, defaults to 2048):
            Width of the detection head (Eq. 1); published code.
        detection_head_trained (`bool`, *optional*, defaults to `False`):
            Whether stage 2 has trained the detection head. Without it a verdict means nothing, and none is given;
            explanations and masks do not depend on it.
        language_loss_weight, mask_bce_loss_weight, mask_dice_loss_weight (`float`, *optional*, 1.0, 0.4 and 0.2):
            Lambdas of Eq. 4 (section 5).
        dice_scale (`float`, *optional*, defaults to 1000.0):
            Divides probabilities and targets in the Dice loss; published code.
        dice_eps (`float`, *optional*, defaults to 1e-6):
            Added to numerator and denominator of the Dice loss; published code.
        initializer_range (`float`, *optional*, defaults to 0.02):
            Standard deviation of new layers' random weights.
        mask_threshold (`float`, *optional*, defaults to 0.5):
            Probability above which a pixel belongs to a phrase; the published code's 0 in logits.
        forged_threshold, authentic_threshold (`float`, *optional*, defaults to 0.5):
            Fake probability from which an image is called fake and below which it is called real.
        false_alarm_rate (`float`, *optional*):
            Share of real images that `forged_threshold` was chosen to call fake; `None`: not calibrated.
        calibration_images (`int`, *optional*, defaults to 0):
            Number of real images that `forged_threshold` was chosen on.

    Raises:
        ValueError: For parts that do not fit together.
    """

    model_type = "legion"
    sub_configs_defaults = {  # noqa: RUF012 (transformers reads this form)
        "vision_config": SubConfigSpec(
            config_class=AutoConfig, model_type="clip_vision_model", init_kwargs=CLIP_L_336
        ),
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="llama", init_kwargs=VICUNA_7B),
        "grounding_config": SubConfigSpec(config_class=SamConfig, init_kwargs=SAM_VIT_H),
    }
    keys_to_ignore_at_inference = [  # noqa: RUF012
        "past_key_values",
        "image_hidden_states",
        "mask_logits",
        "loss_lm",
        "loss_mask_bce",
        "loss_mask_dice",
        "loss_detection",
    ]

    vision_config: dict | PreTrainedConfig | None = None
    text_config: dict | PreTrainedConfig | None = None
    grounding_config: dict | PreTrainedConfig | None = None
    image_token_id: int = 32007
    seg_token_id: int = 32004
    phrase_start_token_id: int = 32005
    phrase_end_token_id: int = 32006
    vision_feature_layer: int = -2
    projector_hidden_act: str = "gelu"
    multimodal_projector_bias: bool = True
    detection_hidden_size: int = 2048
    detection_head_trained: bool = False
    language_loss_weight: float = 1.0
    mask_bce_loss_weight: float = 0.4
    mask_dice_loss_weight: float = 0.2
    dice_scale: float = 1000.0
    dice_eps: float = 1e-6
    initializer_range: float = 0.02
    mask_threshold: float = 0.5
    forged_threshold: float = 0.5
    authentic_threshold: float = 0.5
    false_alarm_rate: float | None = None
    calibration_images: int = 0
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        if self.id2label is None:
            self.id2label = {0: "real", 1: "fake"}
        super().__post_init__(**kwargs)
        self.label2id = {name: index for index, name in self.id2label.items()}

    @property
    def image_seq_length(self) -> int:
        """Features, and so image tokens, of one image."""
        return (self.vision_config.image_size // self.vision_config.patch_size) ** 2

    def validate_architecture(self) -> None:
        """Check that the parts fit together; called at construction and at save."""
        if not 0 <= self.seg_token_id < self.text_config.vocab_size:
            raise ValueError(
                f"seg_token_id must lie in the vocabulary of {self.text_config.vocab_size} tokens, got "
                f"{self.seg_token_id}"
            )
        if self.detection_hidden_size < 1:
            raise ValueError(f"detection_hidden_size must be at least 1, got {self.detection_hidden_size}")

    def validate_losses(self) -> None:
        """Check weights and constants; called at construction and at save."""
        for name in ("language_loss_weight", "mask_bce_loss_weight", "mask_dice_loss_weight"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")
        if self.dice_scale <= 0 or self.dice_eps <= 0:
            raise ValueError(f"dice_scale and dice_eps must be above 0, got {self.dice_scale} and {self.dice_eps}")

    def validate_decision(self) -> None:
        """Check the decision rule; called at construction and at save."""
        check_decision(self)


__all__ = ["SAM_VIT_H", "VICUNA_7B", "LegionConfig"]
