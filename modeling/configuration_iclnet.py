"""Configuration of ICL-Net (PromptForge-350k, section 5)."""

from typing import Any, Literal

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig, SegformerConfig
from transformers.configuration_utils import SubConfigSpec

from .configuration_parts import MIT_B4, check_decision


@strict
class ICLNetConfig(PreTrainedConfig):
    r"""Configuration of [`ICLNetModel`] and [`ICLNetForForgerySegmentation`]; the defaults are the paper's network.

    "Section", "Eq." and "Table" refer to "PromptForge-350k: A Large-Scale Dataset and Contrastive Framework for
    Prompt-Based AI Image Forgery Localization".

    Args:
        encoder_config (`dict` or `SegformerConfig`, *optional*, defaults to MiT-B4):
            One encoder; all streams have the same structure (section 5.1).
        use_noise_stream (`bool`, *optional*, defaults to `True`):
            Whether the stream on the high-frequency input exists (Table 4 switches it off).
        use_frozen_stream (`bool`, *optional*, defaults to `True`):
            Whether the stream that keeps the initial weights exists (Table 4 switches it off).
        use_contrastive_loss (`bool`, *optional*, defaults to `True`):
            Whether Eq. 2 is part of the loss (Table 4 switches it off).
        noise_filter (`"srm"`, `"residual"`, `"fft"` or `"energy"`, *optional*, defaults to `"srm"`):
            What "high-frequency components" (section 5.1) means; not given in the paper. Three fixed SRM kernels, the
            image minus a Gaussian blur, the spectrum above `noise_cutoff`, or local energies of high frequencies, a
            shortcut for streams without pre-training.
        noise_clip (`float`, *optional*, defaults to 10.0):
            High frequencies are clipped to this many grey levels (of 255) and divided by it; not given in the paper.
        noise_cutoff (`float`, *optional*, defaults to 0.25):
            Lowest frequency that `"fft"` keeps, in cycles a pixel (0 to 0.5); not given in the paper.
        image_std (`tuple`, *optional*, defaults to ImageNet's):
            Standard deviation that the image processor divides by; turns `pixel_values` into grey levels again.
        feature_stages (`tuple[int]`, *optional*, defaults to `(3,)`):
            Encoder stages, counted from 0, whose maps are used; several are upsampled to the finest. Not given in the
            paper; the last stage is our reading.
        head_hidden_sizes (`tuple[int]`, *optional*, defaults to `(512, 256, 128, 64)`):
            Channels of the groups of convolution and upsampling: four (section 5.1); the widths are not given.
        head_kernel_sizes (`tuple[int]`, *optional*, defaults to `(3, 3, 3, 3)`):
            Kernel of each group; not given in the paper.
        head_norm_groups (`int`, *optional*, defaults to 8):
            Groups of the head's group normalisation; not given in the paper. It does not depend on the batch, so that
            two processes with half a batch each learn what one process learns.
        output_stride (`int`, *optional*, defaults to 4):
            Pixels of the input for one pixel of the mask: 512 to 128 (section 4.1).
        contrastive_loss_weight, dice_loss_weight, focal_loss_weight (`float`, *optional*, defaults to 1, 4 and 20):
            The three lambdas of Eq. 3 (section 6.1).
        contrastive_temperature (`float`, *optional*, defaults to 0.1):
            Tau of Eq. 2; its value is not given in the paper.
        contrastive_mode (`"grid"` or `"sampled"`, *optional*, defaults to `"grid"`):
            `"grid"` evaluates Eq. 2 exactly: a feature cell counts as often as mask pixels fall into it. `"sampled"`
            draws at most `max_contrastive_vectors` mask pixels a region, as section 5.2 describes.
        max_contrastive_vectors (`int`, *optional*, defaults to 1024):
            The "predefined threshold" of section 5.2, used by `"sampled"`; its value is not given in the paper.
        normalize_negatives (`bool`, *optional*, defaults to `False`):
            Whether the denominator of Eq. 2 is a mean as its numerator is; `False` is the literal form.
        focal_gamma, focal_alpha (`float`, *optional*, defaults to 2.0 and 0.25):
            Focusing and class weight of the focal loss; not given in the paper, values of Lin et al. 2017.
            `focal_alpha=None` weighs both classes alike.
        dice_smooth (`float`, *optional*, defaults to 1.0):
            Added to numerator and denominator of the Dice coefficient; not given in the paper.
        label_ignore_index (`int`, *optional*, defaults to 255):
            Label of pixels that count in no loss, such as padding.
        score_top_fraction (`float`, *optional*, defaults to 0.01):
            The score of an image is the mean of this fraction of its highest pixel probabilities; not in the paper.
        mask_threshold (`float`, *optional*, defaults to 0.5):
            Pixel probability from which a pixel counts as forged.
        forged_threshold, authentic_threshold (`float`, *optional*, defaults to 0.5):
            Scores from which an image is called forged and below which it is called authentic; in between it is
            inconclusive. Not in the paper.
        false_alarm_rate (`float`, *optional*):
            Share of authentic images that `forged_threshold` was chosen to call forged; `None`: not calibrated.
        calibration_images (`int`, *optional*, defaults to 0):
            Number of authentic images that `forged_threshold` was chosen on.

    Raises:
        ValueError: For stages, widths or strides that do not fit together.
    """

    model_type = "iclnet"
    sub_configs_defaults = {"encoder_config": SubConfigSpec(config_class=SegformerConfig)}  # noqa: RUF012 (transformers reads this form)
    keys_to_ignore_at_inference = ["loss_contrastive", "loss_dice", "loss_focal"]  # noqa: RUF012

    encoder_config: dict | PreTrainedConfig | None = None
    use_noise_stream: bool = True
    use_frozen_stream: bool = True
    use_contrastive_loss: bool = True
    noise_filter: Literal["srm", "residual", "fft", "energy"] = "srm"
    noise_clip: float = 10.0
    noise_cutoff: float = 0.25
    image_std: list[float] | tuple[float, ...] = (0.229, 0.224, 0.225)
    feature_stages: list[int] | tuple[int, ...] = (3,)
    head_hidden_sizes: list[int] | tuple[int, ...] = (512, 256, 128, 64)
    head_kernel_sizes: list[int] | tuple[int, ...] = (3, 3, 3, 3)
    head_norm_groups: int = 8
    output_stride: int = 4
    contrastive_loss_weight: float = 1.0
    dice_loss_weight: float = 4.0
    focal_loss_weight: float = 20.0
    contrastive_temperature: float = 0.1
    contrastive_mode: Literal["grid", "sampled"] = "grid"
    max_contrastive_vectors: int = 1024
    normalize_negatives: bool = False
    focal_gamma: float = 2.0
    focal_alpha: float | None = 0.25
    dice_smooth: float = 1.0
    label_ignore_index: int = 255
    score_top_fraction: float = 0.01
    mask_threshold: float = 0.5
    forged_threshold: float = 0.5
    authentic_threshold: float = 0.5
    false_alarm_rate: float | None = None
    calibration_images: int = 0

    def __post_init__(self, **kwargs: Any) -> None:
        if self.encoder_config is None:
            self.encoder_config = dict(MIT_B4)
        if self.id2label is None:
            self.id2label = {0: "authentic", 1: "forged"}
        super().__post_init__(**kwargs)
        self.label2id = {name: index for index, name in self.id2label.items()}

    @property
    def feature_stride(self) -> int:
        """Pixels of the input for one cell of the finest feature map used."""
        stride = 1
        for stage_stride in self.encoder_config.strides[: min(self.feature_stages) + 1]:
            stride *= stage_stride
        return stride

    @property
    def feature_channels(self) -> int:
        """Channels of one stream's features, all used stages together."""
        return sum(self.encoder_config.hidden_sizes[stage] for stage in self.feature_stages)

    def validate_architecture(self) -> None:
        """Check that stages, head and strides fit together; called at construction and at save."""
        stages = self.encoder_config.num_encoder_blocks
        if not self.feature_stages or any(not 0 <= stage < stages for stage in self.feature_stages):
            raise ValueError(f"feature_stages must name stages 0 to {stages - 1}, got {tuple(self.feature_stages)}")
        if len(self.head_kernel_sizes) != len(self.head_hidden_sizes):
            raise ValueError(
                f"head_kernel_sizes and head_hidden_sizes must have one entry a group, got "
                f"{len(self.head_kernel_sizes)} and {len(self.head_hidden_sizes)}"
            )
        if any(width % self.head_norm_groups for width in self.head_hidden_sizes):
            raise ValueError(
                f"every entry of head_hidden_sizes must be a multiple of head_norm_groups={self.head_norm_groups}, "
                f"got {tuple(self.head_hidden_sizes)}"
            )
        factors = [self.output_stride * 2**steps for steps in range(len(self.head_hidden_sizes) + 1)]
        if self.feature_stride not in factors:
            raise ValueError(
                f"the head doubles the resolution at most {len(self.head_hidden_sizes)} times: with output_stride="
                f"{self.output_stride} the features may have stride {factors}, got {self.feature_stride}"
            )

    def validate_decision(self) -> None:
        """Check the decision rule; called at construction and at save."""
        check_decision(self)


__all__ = ["MIT_B4", "ICLNetConfig"]
