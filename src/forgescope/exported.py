"""An exported network in the place of its PyTorch model, as `forgescope detect` and `forgescope.analyze` use it."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedConfig
from transformers.modeling_outputs import SemanticSegmenterOutput
from transformers.utils import ModelOutput

from forgescope.modeling.fast_inference import FastHighPassFilter
from forgescope.modeling.modeling_gamma import GammaDetectionOutput
from forgescope.modeling.modeling_iclnet import ICLNetSegmentationOutput
from forgescope.processing.image_processing_forgery import ForgeryImageProcessor

from .auto import MODELS
from .hub import CONFIG_FILE, EXPORT_FILE
from .network_runtimes import NETWORK_FILES, load_runtime

# Families that can be exported, and what their models return.
OUTPUTS: dict[str, type[ModelOutput]] = {
    "iclnet": ICLNetSegmentationOutput,
    "gamma": GammaDetectionOutput,
    "diffseg": SemanticSegmenterOutput,
}
PIXELS, HIGH_FREQUENCIES = "pixel_values", "high_frequencies"
# Arithmetic of the networks; "float16" keeps weights in half precision and computes in float32.
ARITHMETIC = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float32}


@dataclass(frozen=True)
class NetworkForm:
    """What an exported network takes and gives.

    Args:
        to: "onnx" or "openvino".
        dtype: one of `ARITHMETIC`.
        height: of the images, pixels; None: any multiple of the model's stride.
        width: likewise; None exactly when `height` is.
        batch: images at once; None: any number.
        inputs: names, (B, 3, H, W) float32 each; `high_frequencies` are computed by the model's filter in PyTorch.
        outputs: names, fields of the model's output.
    """

    to: str
    dtype: str
    height: int | None
    width: int | None
    batch: int | None
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The fields, for JSON."""
        return asdict(self)

    @classmethod
    def read(cls, folder: Path) -> "NetworkForm":
        """Read the form from the report beside a network.

        Raises:
            ValueError: an incomplete or damaged report.
        """
        file = folder / EXPORT_FILE
        try:
            settings = json.loads(file.read_text(encoding="utf-8"))["network"]
            form = cls(**settings | {name: tuple(settings[name]) for name in ("inputs", "outputs")})
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"'{file}' does not describe a network: export the checkpoint again") from error
        if form.to not in NETWORK_FILES or form.dtype not in ARITHMETIC:
            raise ValueError(f"'{file}' names a network of {form.dtype} for {form.to}, which are unknown here")
        return form


class ExportedModel:
    """A network in ONNX Runtime or OpenVINO with the forward pass of the model that it was exported from.

    Args:
        folder: written by `forgescope export`.
        usual_size: height and width, pixels, that a network of any size is compiled for in particular.

    Raises:
        ImportError: the runtime is not installed.
        ValueError: a file is missing or damaged.
    """

    device = torch.device("cpu")

    def __init__(self, folder: Path, usual_size: tuple[int, int]):
        self.form = NetworkForm.read(folder)
        self.config: PreTrainedConfig = _config(folder)
        self.name_or_path = str(folder)
        self.dtype = ARITHMETIC[self.form.dtype]
        height, width = self.form.height or usual_size[0], self.form.width or usual_size[1]
        usual_shapes = {name: [1, 3, height, width] for name in self.form.inputs}
        self.runtime = load_runtime(self.form.to, folder, self.dtype, usual_shapes)
        self.high_pass = None
        if HIGH_FREQUENCIES in self.form.inputs:
            config = self.config
            self.high_pass = FastHighPassFilter(
                config.noise_filter, tuple(config.image_std), config.noise_clip, config.noise_cutoff
            )

    @torch.inference_mode()
    def __call__(self, pixel_values: torch.Tensor) -> ModelOutput:
        """Run the network.

        Args:
            pixel_values: (B, 3, H, W) float32 on the CPU, normalised.

        Returns:
            The output of the PyTorch model: its class, names and shapes; float32, without losses.

        Raises:
            ValueError: a size that the network does not take.
        """
        self.check_size(*pixel_values.shape[-2:])
        inputs = {PIXELS: pixel_values.contiguous().numpy()}
        if self.high_pass is not None:
            inputs[HIGH_FREQUENCIES] = self.high_pass(pixel_values).contiguous().numpy()
        found = self._run(inputs)
        tensors = {name: torch.from_numpy(one) for name, one in zip(self.form.outputs, found, strict=True)}
        return OUTPUTS[self.config.model_type](**tensors)

    def _run(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Run a batch; image by image in a network for one."""
        count = len(inputs[PIXELS])
        if self.form.batch is None or count == self.form.batch:
            return self.runtime(inputs)
        singles = [
            self.runtime({name: one[index : index + 1] for name, one in inputs.items()}) for index in range(count)
        ]
        return [np.concatenate(arrays) for arrays in zip(*singles, strict=True)]

    def check_size(self, height: int, width: int) -> None:
        """Refuse images of another size than the network was exported for.

        Raises:
            ValueError: says which sizes it takes.
        """
        size = (self.form.height, self.form.width)
        if size not in ((None, None), (height, width)):
            raise ValueError(
                f"the network in '{self.name_or_path}' was exported for {size[1]} x {size[0]} pixels alone, got "
                f"{width} x {height}; a checkpoint that keeps the pixels of photographs, exported without --size, "
                "takes any size and tile"
            )


def is_exported(folder: str | os.PathLike | None) -> bool:
    """Whether this is a folder that `forgescope export` wrote."""
    return folder is not None and (Path(folder).expanduser() / EXPORT_FILE).is_file()


def load_exported(
    folder: str | os.PathLike, device: str | torch.device | None = None, dtype: str = "auto"
) -> tuple[ExportedModel, ForgeryImageProcessor]:
    """Load an exported network and its processor.

    Args:
        folder: written by `forgescope export`.
        device: None or the CPU.
        dtype: "auto", or that of the network's arithmetic.

    Returns:
        The network in the place of a model, and its processor.

    Raises:
        ImportError: the runtime is not installed.
        ValueError: another device or dtype, or a file that is missing or damaged.
    """
    place = Path(folder).expanduser()
    if device is not None and str(device).split(":")[0] != "cpu":
        raise ValueError(f"exported networks run on the CPU, got device '{device}': give the PyTorch checkpoint")
    processor = _processor(place)
    model = ExportedModel(place, (processor.size["height"], processor.size["width"]))
    if dtype not in ("auto", str(model.dtype).removeprefix("torch.")):
        raise ValueError(
            f"the network in '{folder}' was exported in {model.form.dtype}, got dtype {dtype!r}: leave it out, or "
            f"export the checkpoint again with --dtype {dtype}"
        )
    return model, processor


def _config(folder: Path) -> PreTrainedConfig:
    try:
        model_type = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))["model_type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"'{folder / CONFIG_FILE}' is missing or damaged: export the checkpoint again") from error
    if model_type not in OUTPUTS:
        raise ValueError(f"'{folder}' has model type '{model_type}', expected {', '.join(OUTPUTS)}")
    return MODELS[model_type].config.from_pretrained(folder)


def _processor(folder: Path) -> ForgeryImageProcessor:
    try:
        return ForgeryImageProcessor.from_pretrained(folder)
    except OSError as error:
        raise ValueError(f"'{folder}' has no processor: export the checkpoint again") from error
