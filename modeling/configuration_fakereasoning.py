"""Configuration of FakeReasoning (sections 4 and 5.1)."""

from typing import Any, Literal

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, Dinov2Config, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from .configuration_parts import CLIP_L_336, check_decision

# Vicuna-13B v1.5, the language model of LLaVA-1.5-13B (section 5.1), without the rows that other copies of it add.
VICUNA_13B = {
    "vocab_size": 32000,
    "hidden_size": 5120,
    "intermediate_size": 13824,
    "num_hidden_layers": 40,
    "num_attention_heads": 40,
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-5,
    "pad_token_id": 0,
}


@strict
class FakeReasoningConfig(PreTrainedConfig):
    r"""Configuration of [`FakeReasoningForConditionalGeneration`]; the defaults are the paper's network.

    "Section", "Eq." and "Table" refer to "FakeReasoning: Towards Generalizable Forgery Detection and Reasoning"
    (arXiv 2503.21210, version 1). The checkpoint that its authors published follows a later design: give
    `dino_config`, `contrastive_loss_weight=0` and `learn_classification_temperature=False` for it.

    Args:
        vision_config (`dict` or `CLIPVisionConfig`, *optional*, defaults to CLIP ViT-L/14 at 336 pixels):
            Image encoder; frozen (section 4.4).
        text_config (`dict` or `LlamaConfig`, *optional*, defaults to Vicuna-13B):
            Language model (section 5.1: that of LLaVA-1.5-13B).
        dino_config (`dict` or `Dinov2Config`, *optional*):
            Second image encoder, whose features and attention are fused into CLIP's; frozen. `None` is the paper.
        image_token_id (`int`, *optional*, defaults to 32000):
            Id of the token that stands for one image feature. It may lie outside the vocabulary: the embedding table
            is never asked for it.
        vision_feature_layer (`int`, *optional*, defaults to -2):
            Hidden states of the image encoder that are projected; LLaVA-1.5's choice.
        projector_hidden_act (`str`, *optional*, defaults to `"gelu"`):
            Activation between the two linear layers of a projector.
        multimodal_projector_bias (`bool`, *optional*, defaults to `True`):
            Whether these layers have biases.
        fusion_num_attention_heads (`int`, *optional*, defaults to 16):
            Heads of the fusion; published code. One bias map a head is made of the maps of all DINOv2 heads.
        fusion_intermediate_size (`int`, *optional*):
            Width of the fusion's feed-forward network; `None`: four times the language model's (published code).
        fusion_dropout (`float`, *optional*, defaults to 0.1):
            Dropout of attention, feed-forward network and residuals; published code.
        fusion_bias_channels (`int`, *optional*, defaults to 32):
            Channels between the two 1x1 convolutions that make the bias; published code.
        fusion_layer_norm_eps (`float`, *optional*, defaults to 1e-6):
            Published code.
        fusion_attention_eps (`float`, *optional*, defaults to 1e-6):
            Added to attention probabilities before their logarithm; published code.
        dino_interpolation_offset (`float`, *optional*, defaults to 0.1):
            Added to the grid's side when DINOv2's position embeddings are resized; DINOv2's own value.
        conclusion_pattern_ids (`tuple[int]`, *optional*, defaults to the ids of `CONCLUSION> This image is`):
            Pattern p of Eq. 7, without the bracket that opens the tag, since it merges with what stands before it.
        conclusion_tag_ids (`tuple[int]`, *optional*, defaults to the ids of `CONCLUSION>`):
            Tag alone: where an answer concludes in other words, the verdict is sought behind it.
        real_token_id, fake_token_id (`int`, *optional*, defaults to 1855 and 25713):
            Ids of "real" and "fake" (Eq. 8).
        classification_temperature (`float`, *optional*, defaults to 10.0):
            Initial tau of Eq. 8.
        learn_classification_temperature (`bool`, *optional*, defaults to `True`):
            Whether it is trained (section 4.3); the published code has it fixed.
        classification_search (`"argmax"` or `"labels"`, *optional*, defaults to `"argmax"`):
            Where the pattern is sought in training: in the likeliest tokens (Eq. 6 and 7), or in the answer that is
            taught, which also finds it before the model has learnt to write it.
        language_loss_weight, classification_loss_weight, contrastive_loss_weight (`float`, *optional*, defaults to 1):
            Weights in Eq. 11; 0 switches a term off (Table 5).
        contrastive_queue_size (`int`, *optional*, defaults to 1024):
            n of section 4.2, embeddings that each queue holds; not given in the paper.
        contrastive_temperature (`float`, *optional*, defaults to 0.07):
            Initial tau of Eq. 1 to 4, which is trained.
        contrastive_normalize (`bool`, *optional*, defaults to `True`):
            Whether features are scaled to length 1. The paper's similarity is a plain dot product (`False`), which
            saturates in 5,120 dimensions.
        contrastive_pool (`"batch_and_queue"` or `"queue"`, *optional*, defaults to `"batch_and_queue"`):
            Where positives and negatives of Eq. 3 and 4 come from; the paper says "image queue", which is empty at
            the start.
        contrastive_text_source (`"embeddings"` or `"hidden"`, *optional*, defaults to `"embeddings"`):
            What F_a is: entries of the embedding table (section 4.1), or the language model's last hidden states.
        save_contrastive_queue (`bool`, *optional*, defaults to `True`):
            Whether checkpoints hold the queues, 42 MB at this size; without them training resumes with empty ones.
        forged_threshold, authentic_threshold (`float`, *optional*, defaults to 0.5):
            Fake probability from which an image is called fake and below which it is called real.
        false_alarm_rate (`float`, *optional*):
            Share of real images that `forged_threshold` was chosen to call fake; `None`: not calibrated.
        calibration_images (`int`, *optional*, defaults to 0):
            Number of real images that `forged_threshold` was chosen on.

    Raises:
        ValueError: For parts that do not fit together.
    """

    model_type = "fakereasoning"
    sub_configs_defaults = {  # noqa: RUF012 (transformers reads this form)
        "vision_config": SubConfigSpec(
            config_class=AutoConfig, model_type="clip_vision_model", init_kwargs=CLIP_L_336
        ),
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="llama", init_kwargs=VICUNA_13B),
    }
    keys_to_ignore_at_inference = [  # noqa: RUF012
        "past_key_values",
        "image_hidden_states",
        "loss_lm",
        "loss_cpm",
        "loss_facl",
        "loss_image_to_text",
        "loss_text_to_image",
        "loss_image_to_image",
        "loss_text_to_text",
        "fake_probability",
        "classification_index",
    ]

    vision_config: dict | PreTrainedConfig | None = None
    text_config: dict | PreTrainedConfig | None = None
    dino_config: dict | PreTrainedConfig | None = None
    image_token_id: int = 32000
    vision_feature_layer: int = -2
    projector_hidden_act: str = "gelu"
    multimodal_projector_bias: bool = True
    fusion_num_attention_heads: int = 16
    fusion_intermediate_size: int | None = None
    fusion_dropout: float = 0.1
    fusion_bias_channels: int = 32
    fusion_layer_norm_eps: float = 1e-6
    fusion_attention_eps: float = 1e-6
    dino_interpolation_offset: float = 0.1
    conclusion_pattern_ids: tuple[int, ...] | list[int] = (6007, 6154, 3308, 2725, 29958, 910, 1967, 338)
    conclusion_tag_ids: tuple[int, ...] | list[int] = (6007, 6154, 3308, 2725, 29958)
    real_token_id: int = 1855
    fake_token_id: int = 25713
    classification_temperature: float = 10.0
    learn_classification_temperature: bool = True
    classification_search: Literal["argmax", "labels"] = "argmax"
    language_loss_weight: float = 1.0
    classification_loss_weight: float = 1.0
    contrastive_loss_weight: float = 1.0
    contrastive_queue_size: int = 1024
    contrastive_temperature: float = 0.07
    contrastive_normalize: bool = True
    contrastive_pool: Literal["batch_and_queue", "queue"] = "batch_and_queue"
    contrastive_text_source: Literal["embeddings", "hidden"] = "embeddings"
    save_contrastive_queue: bool = True
    forged_threshold: float = 0.5
    authentic_threshold: float = 0.5
    false_alarm_rate: float | None = None
    calibration_images: int = 0
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        if isinstance(self.dino_config, dict):
            self.dino_config = Dinov2Config(**self.dino_config)
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
        if self.dino_config is not None and self.text_config.hidden_size % self.fusion_num_attention_heads:
            raise ValueError(
                f"the language model's hidden_size ({self.text_config.hidden_size}) must be a multiple of "
                f"fusion_num_attention_heads ({self.fusion_num_attention_heads})"
            )
        if self.dino_config is not None and self.dino_config.patch_size != self.vision_config.patch_size:
            raise ValueError(
                f"both image encoders must have one patch_size, got {self.vision_config.patch_size} and "
                f"{self.dino_config.patch_size}"
            )
        if not 0 <= self.fusion_dropout < 1:
            raise ValueError(f"fusion_dropout must lie in [0, 1), got {self.fusion_dropout}")

    def validate_losses(self) -> None:
        """Check temperatures, weights and the queue; called at construction and at save."""
        for name in ("classification_temperature", "contrastive_temperature"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
        for name in ("language_loss_weight", "classification_loss_weight", "contrastive_loss_weight"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")
        if self.contrastive_queue_size < 0:
            raise ValueError(f"contrastive_queue_size must be at least 0, got {self.contrastive_queue_size}")

    def validate_decision(self) -> None:
        """Check the decision rule; called at construction and at save."""
        check_decision(self)


__all__ = ["VICUNA_13B", "FakeReasoningConfig"]
