"""From a PyTorch model to an ONNX graph, by PyTorch's own exporter."""

import copy
from math import prod
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize
from transformers import PreTrainedModel

from forgescope.modeling.fast_inference import FastHighPassFilter
from forgescope.modeling.high_pass import HighPassFilter

from .exported import HIGH_FREQUENCIES, NetworkForm
from .network_runtimes import INSTALL, first_line

# Sides of the image that is traced where any size is wanted; different, so that none is taken for the other.
TRACED_SIZE = (128, 96)
TRACED_BATCH = 2


class NamedOutputs(nn.Module):
    """A model that returns the outputs of a `NetworkForm`, in its order."""

    def __init__(self, model: nn.Module, names: tuple[str, ...]):
        super().__init__()
        self.model, self.names = model, names

    def forward(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Pixels (B, 3, H, W) to the outputs."""
        outputs = self.model(pixel_values=pixel_values)
        return tuple(outputs[name] for name in self.names)


class WithoutHighPass(nn.Module):
    """ICL-Net behind its high-pass filter, whose output is a second input."""

    def __init__(self, model: Any):
        super().__init__()
        self.model = model

    def forward(self, pixel_values: torch.Tensor, high_frequencies: torch.Tensor) -> tuple[torch.Tensor]:
        """Pixels and high frequencies, both (B, 3, H, W), to logits (B, 1, H / 4, W / 4)."""
        streams = self.model.iclnet
        inputs = (pixel_values, high_frequencies, pixel_values)
        encoders = (streams.main_encoder, streams.noise_encoder, streams.frozen_encoder)
        pairs = [(one, given) for one, given in zip(encoders, inputs, strict=True) if one is not None]
        features = [streams._features(one, given) for one, given in pairs]
        return (self.model.head(torch.cat(features, dim=1)),)


class StoredInHalf(nn.Module):
    """Parametrization: a weight that lies in float16 and takes part in float32."""

    def forward(self, stored: torch.Tensor) -> torch.Tensor:
        """Give the weight to the layer."""
        return stored.float()


def filters_outside(model: PreTrainedModel, dtype: str) -> bool:
    """Whether the high-pass filter has to stay in PyTorch.

    In bfloat16 what it looks for is lost already in the pixels, and ONNX has no Fourier transform that PyTorch's
    exporter could use.
    """
    filters = [module for module in model.modules() if isinstance(module, HighPassFilter)]
    return any(dtype == "bfloat16" or one.kind == "fft" for one in filters)


def to_onnx(model: PreTrainedModel, form: NetworkForm) -> Any:
    """Trace a model.

    Args:
        model: in evaluation mode, float32; not changed.
        form: what the network takes and gives.

    Returns:
        `torch.onnx.ONNXProgram`, without the names of source files that PyTorch writes into it.

    Raises:
        ImportError: onnx or onnxscript is not installed.
        ValueError: PyTorch cannot convert the model.
    """
    try:
        from onnx_ir.passes.common import ClearMetadataAndDocStringPass
    except ImportError as error:
        raise ImportError(INSTALL) from error
    network = _prepared(model, form)
    size = TRACED_SIZE if form.height is None or form.width is None else (form.height, form.width)
    # a tensor of its own for each input: equal ones would become one input
    images = tuple(torch.randn(form.batch or TRACED_BATCH, 3, *size) for _ in form.inputs)
    names = {"input_names": list(form.inputs), "output_names": list(form.outputs)}
    try:
        with torch.no_grad():
            traced = torch.export.export(network, images, dynamic_shapes=_free_sizes(model, form))
            program: Any = torch.onnx.export(traced, dynamo=True, verbose=False, **names)
    except ModuleNotFoundError as error:
        raise ImportError(INSTALL) from error
    except RuntimeError as error:
        raise ValueError(f"PyTorch's exporter cannot convert this model: {first_line(error)}") from error
    ClearMetadataAndDocStringPass()(program.model)
    return program


def _prepared(model: PreTrainedModel, form: NetworkForm) -> nn.Module:
    """A copy of the model that takes and gives what the form says."""
    model = copy.deepcopy(model)
    for module in model.modules():
        if type(module) is HighPassFilter:
            # averages rows, then columns; ONNX Runtime takes several times as long for squares
            module.__class__ = FastHighPassFilter
    if form.dtype == "float16":
        store_in_half(model)
    if HIGH_FREQUENCIES in form.inputs:
        return WithoutHighPass(model)
    return NamedOutputs(model, form.outputs)


def store_in_half(model: nn.Module) -> None:
    """Keep all parameters in float16, in place; the model goes on computing in float32."""
    for module in list(model.modules()):
        for name, weight in list(module.named_parameters(recurse=False)):
            setattr(module, name, nn.Parameter(weight.detach().half(), requires_grad=False))
            parametrize.register_parametrization(module, name, StoredInHalf(), unsafe=True)


def _free_sizes(model: PreTrainedModel, form: NetworkForm) -> tuple[dict[int, Any], ...] | None:
    """Axes of the inputs that may have any length; sides are multiples of the encoder's stride."""
    stride = prod(model.config.encoder_config.strides)
    free: dict[int, Any] = {}
    if form.batch is None:
        free[0] = torch.export.Dim("batch")
    if form.height is None:
        free |= {2: stride * torch.export.Dim("rows"), 3: stride * torch.export.Dim("columns")}
    return (free,) * len(form.inputs) if free else None
