"""Configuration of DiffSeg30k's baselines (section 4.1)."""

from typing import Any, Literal

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig, SegformerConfig
from transformers.configuration_utils import SubConfigSpec

from .configuration_parts import MIT_B2, check_decision

# Names in the order of the legend of Figure 6; nobody has published which id means which editor.
FIGURE_6_EDITORS = ("sd2", "kolors", "sd3.5-medium", "flux.1", "sdxl", "glide", "hunyuandit", "kandinsky2.2")
# timm names of the paper's CNN backbones: VGG-16 is FCN-8s' own, ResNet-50 is named in section 4.1.
BACKBONES = {"fcn8s": "vgg16", "deeplabv3plus": "resnet50"}
# Pixels of the input for one pixel of the logits.
MASK_STRIDES = {"fcn8s": 1, "deeplabv3plus": 4, "segformer": 4}


@strict
class DiffSegConfig(PreTrainedConfig):
    r"""Configuration of [`DiffSegForEditSegmentation`]; the defaults are the paper's networks.

    "Section", "Figure" and "Table" refer to "DiffSeg30k: A Multi-Turn Diffusion Editing Benchmark for Localized AIGC
    Detection". It trains three networks "using default hyperparameters from open-source implementations" and does not
    say which; what follows are the values of the networks' own papers.

    Args:
        architecture (`"segformer"`, `"deeplabv3plus"` or `"fcn8s"`, *optional*, defaults to `"segformer"`):
            The baseline (Table 2).
        task (`"semantic"` or `"binary"`, *optional*, defaults to `"semantic"`):
            `"semantic"`: which editor made a pixel; `"binary"`: whether a pixel was edited (section 4.1).
        id2editor (`tuple[str]`, *optional*, defaults to the order of Figure 6's legend):
            Names of the editors with the ids 1, 2, ... in the masks. The order is unverified: check it against the
            masks that you train on.
        encoder_config (`dict` or `SegformerConfig`, *optional*, defaults to MiT-B2):
            Encoder of `"segformer"`.
        backbone (`str`, *optional*):
            timm model of the other two; `None`: VGG-16 for `"fcn8s"`, ResNet-50 for `"deeplabv3plus"`.
        decoder_hidden_size (`int`, *optional*, defaults to 768):
            Channels of SegFormer's decoder (SegFormer-B2's own).
        decoder_dropout (`float`, *optional*, defaults to 0.1):
            Dropout before the last convolution of `"segformer"` and `"deeplabv3plus"`.
        backbone_output_stride (`int`, *optional*, defaults to 16):
            Stride of `"deeplabv3plus"`'s last features; 16 is that paper's training value.
        atrous_rates (`tuple[int]`, *optional*, defaults to `(6, 12, 18)`):
            Dilations of its pyramid; the values for stride 16.
        pyramid_hidden_size (`int`, *optional*, defaults to 256):
            Channels of its pyramid and decoder.
        low_level_hidden_size (`int`, *optional*, defaults to 48):
            Channels that the stride-4 features are reduced to.
        fully_connected_size (`int`, *optional*, defaults to 4096):
            Channels of `"fcn8s"`'s two convolutions that were VGG's fully connected layers.
        fully_connected_dropout (`float`, *optional*, defaults to 0.5):
            Dropout behind each of them.
        initializer_range (`float`, *optional*, defaults to 0.02):
            Standard deviation of SegFormer's new layers and of those that give the logits; all others of the CNNs are
            drawn by He et al.'s rule.
        label_ignore_index (`int`, *optional*, defaults to 255):
            Value of mask pixels that count in no loss, such as padding.
        mask_threshold (`float`, *optional*, defaults to 0.5):
            Probability from which a pixel counts as edited where one mask of edited pixels is asked for.
        score_top_fraction (`float`, *optional*, defaults to 0.01):
            The score of an image is the mean of this fraction of its highest probabilities of being edited. The paper
            calls an image edited if more than 1 % of its pixels are; where that holds, the score is above 0.5.
        forged_threshold, authentic_threshold (`float`, *optional*, defaults to 0.5):
            Scores from which an image is called forged and below which it is called authentic.
        false_alarm_rate (`float`, *optional*):
            Share of authentic images that `forged_threshold` was chosen to call forged; `None`: not calibrated.
        calibration_images (`int`, *optional*, defaults to 0):
            Number of authentic images that `forged_threshold` was chosen on.

    Raises:
        ValueError: For editors, strides or thresholds that do not fit together.
    """

    model_type = "diffseg"
    sub_configs_defaults = {"encoder_config": SubConfigSpec(config_class=SegformerConfig)}  # noqa: RUF012 (transformers reads this form)

    architecture: Literal["segformer", "deeplabv3plus", "fcn8s"] = "segformer"
    task: Literal["semantic", "binary"] = "semantic"
    id2editor: list[str] | tuple[str, ...] = FIGURE_6_EDITORS
    encoder_config: dict | PreTrainedConfig | None = None
    backbone: str | None = None
    decoder_hidden_size: int = 768
    decoder_dropout: float = 0.1
    backbone_output_stride: int = 16
    atrous_rates: list[int] | tuple[int, ...] = (6, 12, 18)
    pyramid_hidden_size: int = 256
    low_level_hidden_size: int = 48
    fully_connected_size: int = 4096
    fully_connected_dropout: float = 0.5
    initializer_range: float = 0.02
    label_ignore_index: int = 255
    mask_threshold: float = 0.5
    score_top_fraction: float = 0.01
    forged_threshold: float = 0.5
    authentic_threshold: float = 0.5
    false_alarm_rate: float | None = None
    calibration_images: int = 0

    def __post_init__(self, **kwargs: Any) -> None:
        if self.encoder_config is None:
            self.encoder_config = dict(MIT_B2)
        if self.backbone is None:
            self.backbone = BACKBONES.get(self.architecture)
        # the classes follow from task and editors; what a file says beside them is not read
        names = ("authentic", "edited") if self.task == "binary" else ("authentic", *self.id2editor)
        if kwargs.pop("num_labels", len(names)) != len(names):
            raise ValueError(f"num_labels follows from task and id2editor: {len(names)}; name other editors instead")
        self.id2label = dict(enumerate(names))
        super().__post_init__(**kwargs)
        self.label2id = {name: index for index, name in self.id2label.items()}

    @property
    def mask_stride(self) -> int:
        """Pixels of the input for one pixel of the logits; the image processor needs the same number."""
        return MASK_STRIDES[self.architecture]

    @property
    def processor_settings(self) -> dict[str, Any]:
        """What `ForgeryImageProcessor` has to know of the model: grid of the labels, and what masks hold."""
        return {
            "mask_stride": self.mask_stride,
            "mask_values": "any" if self.task == "binary" else "ids",
            "id2editor": list(self.id2editor),
        }

    def validate_architecture(self) -> None:
        """Check editors and strides; called at construction and at save."""
        if not self.id2editor or len(set(self.id2editor)) != len(self.id2editor):
            raise ValueError(f"id2editor must name at least one editor and none twice, got {tuple(self.id2editor)}")
        if "authentic" in self.id2editor:
            raise ValueError("id2editor must not hold 'authentic': that is the class with the id 0")
        if 0 <= self.label_ignore_index <= len(self.id2editor):
            ids = f"0 to {len(self.id2editor)}"
            raise ValueError(f"label_ignore_index must be no id of a class, {ids}, got {self.label_ignore_index}")
        if self.backbone_output_stride not in (8, 16, 32):
            raise ValueError(f"backbone_output_stride must be 8, 16 or 32, got {self.backbone_output_stride}")

    def validate_decision(self) -> None:
        """Check the decision rule; called at construction and at save."""
        check_decision(self)


__all__ = ["BACKBONES", "FIGURE_6_EDITORS", "MIT_B2", "DiffSegConfig"]
