"""What the models with SegFormer encoders share: filling them from a checkpoint, and the sizes that they take."""

from math import prod
from typing import Any

import torch
from transformers import PreTrainedConfig, SegformerConfig, SegformerModel

from .modeling_forgescope import ForgescopePreTrainedModel


def load_segformer(name_or_path: str, **kwargs: Any) -> SegformerModel:
    """Read the encoder of a SegFormer checkpoint.

    Args:
        name_or_path: Hub id or folder of a bare encoder, ImageNet classifier or segmentation model, current or legacy
            key names.
        **kwargs: Passed on to `SegformerModel.from_pretrained`.

    Raises:
        ValueError: If there is no such checkpoint, or it holds another model.
    """
    expected = "expected a folder or Hub id of a SegFormer checkpoint such as nvidia/mit-b4, got"
    try:
        settings, _ = SegformerConfig.get_config_dict(name_or_path, **kwargs)
    except OSError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{expected} {name_or_path}: {reason}") from error
    model_type = settings.get("model_type")
    if model_type != SegformerConfig.model_type:
        raise ValueError(f"{expected} {name_or_path}, whose config.json has model_type {model_type!r}")
    encoder, report = SegformerModel.from_pretrained(name_or_path, output_loading_info=True, **kwargs)
    if report["missing_keys"]:
        raise ValueError(
            f"{name_or_path} is no complete SegFormer checkpoint: {len(report['missing_keys'])} encoder weights are "
            f"missing, the first is {min(report['missing_keys'])}; give one such as nvidia/mit-b4"
        )
    return encoder


def encoder_settings(encoder: SegformerModel) -> dict[str, Any]:
    """Configuration of an encoder as a dictionary, without the classes of the checkpoint that it came from."""
    settings = encoder.config.to_dict()
    return {name: value for name, value in settings.items() if name not in ("id2label", "label2id")}


def check_input_size(pixel_values: torch.Tensor, encoder_config: SegformerConfig) -> None:
    """Refuse images that the encoder's grid does not fit.

    Args:
        pixel_values: (B, 3, H, W).
        encoder_config: of the encoder.

    Raises:
        ValueError: If H or W is no multiple of the encoder's total stride.
    """
    stride = prod(encoder_config.strides)
    height, width = pixel_values.shape[-2:]
    if height % stride or width % stride:
        raise ValueError(
            f"height and width must be multiples of {stride}, got {height} x {width}; the image processor pads to "
            f"{-(-height // stride) * stride} x {-(-width // stride) * stride}"
        )


class SegformerEncoderModel(ForgescopePreTrainedModel):
    """A model with one or several encoders of one configuration, `config.encoder_config`.

    Its base model lists them in `streams()`.
    """

    main_input_name = "pixel_values"
    input_modalities = ("image",)
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True
    _no_split_modules = ["SegformerStage"]  # noqa: RUF012 (transformers reads this form)

    @classmethod
    def from_segformer(cls, name_or_path: str, config: PreTrainedConfig | None = None, **kwargs: Any):
        """Build the model and fill every encoder with the one of a SegFormer checkpoint.

        Args:
            name_or_path: Hub id or folder of a SegFormer checkpoint: bare encoder, ImageNet classifier or
                segmentation model, current or legacy key names.
            config: Everything but the encoder; its `encoder_config` is replaced by the checkpoint's. Default: the
                paper's settings.
            **kwargs: Passed on to `SegformerModel.from_pretrained` (`revision`, `token`, `dtype`, ...).

        Returns:
            The model in evaluation mode. All but the encoders is initialised afresh.

        Raises:
            ValueError: If there is no such checkpoint, or it holds another model.
        """
        encoder = load_segformer(name_or_path, **kwargs)
        settings = config.to_dict() if config is not None else {}
        settings["encoder_config"] = encoder_settings(encoder)
        model = cls(cls.config_class.from_dict(settings)).to(encoder.dtype)
        for stream in model.base_model.streams():
            stream.load_state_dict(encoder.state_dict())
        return model.eval()


__all__ = ["SegformerEncoderModel", "check_input_size", "encoder_settings", "load_segformer"]
