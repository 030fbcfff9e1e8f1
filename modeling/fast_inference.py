"""Faster CPU inference for models with SegFormer encoders, with the same numbers.

`transformers` hands the tokens of a single image to the convolutions of SegFormer in a layout that oneDNN does not
recognise as channels_last: for a batch of one, `transpose(1, 2).view(B, C, H, W)` has a batch stride of C. The
convolution is then surrounded by two reorders that cost up to thirty times its own work. On AMD processors, moreover,
PyTorch's float32 linear layers run MKL without AVX-512. [`optimize_for_inference`] cures both, and lets oneDNN apply
GELU while the convolution's result is still in cache. Measured gains are in docs/performance.md.
"""

import ctypes
import platform
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import nn
from transformers.activations import GELUActivation
from transformers.models.segformer.modeling_segformer import (
    SegformerDepthWiseConv,
    SegformerLayer,
    SegformerMixMLP,
    SegformerOverlapPatchEmbeddings,
    SegformerSequenceReduction,
    SegformerStage,
)

from .cross_attention import PooledCrossAttention
from .fast_attention import FastPooledCrossAttention
from .fast_decoder import FastMLPDecoder
from .high_pass import ENERGY_WINDOW, HighPassFilter
from .mlp_decoder import MLPDecoder

Model = TypeVar("Model", bound=nn.Module)

# Numbers of glibc's mallopt parameters, malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
# glibc's upper bound for M_MMAP_THRESHOLD is half a heap; larger values are refused.
KEEP_BELOW_BYTES = 2**30


def _onednn_runs(tokens: torch.Tensor) -> bool:
    """Whether oneDNN's fused operators may compute on these tokens: CPU, no gradient, no tracing, no autocast."""
    return (
        tokens.device.type == "cpu"
        and tokens.dtype in (torch.float32, torch.bfloat16)
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
    )


def _as_map(tokens: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """(B, H*W, C) tokens as a (B, C, H, W) map whose strides say channels_last, also for a batch of one."""
    return tokens.reshape(tokens.shape[0], height, width, tokens.shape[-1]).permute(0, 3, 1, 2)


class FastLinear(nn.Linear):
    """`nn.Linear` through oneDNN."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(..., in_features) to (..., out_features)."""
        if not _onednn_runs(input):
            return super().forward(input)
        return torch.ops.mkldnn._linear_pointwise(input, self.weight, self.bias, "none", [], "")


class FastPatchEmbeddings(SegformerOverlapPatchEmbeddings):
    """Patch embedding that takes pixels of any float dtype and works in channels_last."""

    def forward(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, int, int]:
        """(B, C, H, W) to (B, h*w, D) tokens, h and w."""
        weight = self.proj.weight
        return super().forward(pixel_values.to(weight.dtype, memory_format=torch.channels_last))


class FastSequenceReduction(SegformerSequenceReduction):
    """Sequence reduction with strides that oneDNN recognises."""

    def forward(self, hidden_states: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """(B, H*W, C) to (B, H*W / ratio^2, C)."""
        reduced = self.sequence_reduction(_as_map(hidden_states, height, width))
        return self.layer_norm(reduced.flatten(2).transpose(1, 2))


class FastDepthWiseConv(SegformerDepthWiseConv):
    """Depthwise convolution with strides that oneDNN recognises, GELU included on demand."""

    def forward(self, hidden_states: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """(B, H*W, C) to (B, H*W, C)."""
        return self.dwconv(_as_map(hidden_states, height, width)).flatten(2).transpose(1, 2)

    def gelu(self, hidden_states: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """Convolve, then GELU (erf form), in one pass: (B, H*W, C) to (B, H*W, C)."""
        if not _onednn_runs(hidden_states):
            return F.gelu(self(hidden_states, height, width))
        convolution = self.dwconv
        maps = torch.ops.mkldnn._convolution_pointwise(
            _as_map(hidden_states, height, width),
            convolution.weight,
            convolution.bias,
            convolution.padding,
            convolution.stride,
            convolution.dilation,
            convolution.groups,
            "gelu",
            [],
            "none",
        )
        return maps.flatten(2).transpose(1, 2)


class FastMixMLP(SegformerMixMLP):
    """Mix-FFN whose GELU happens inside the depthwise convolution."""

    def forward(self, hidden_states: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """(B, H*W, C) to (B, H*W, C)."""
        if self.training:
            return super().forward(hidden_states, height, width)
        return self.fc2(self.dwconv.gelu(self.fc1(hidden_states), height, width))


class FastLayer(SegformerLayer):
    """Transformer block that adds its residuals in place."""

    def forward(self, hidden_states: torch.Tensor, height: int, width: int, **kwargs: Any) -> torch.Tensor:
        """(B, H*W, C) to (B, H*W, C)."""
        if self.training or torch.is_grad_enabled():
            return super().forward(hidden_states, height, width, **kwargs)
        attention, _ = self.attention(self.layernorm_before(hidden_states), height, width, **kwargs)
        attention += hidden_states
        output = self.mlp(self.layernorm_after(attention), height, width)
        output += attention
        return output


class FastStage(SegformerStage):
    """Stage whose output map stays in channels_last, in which the next convolution works."""

    def forward(self, hidden_states: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        """(B, C, H, W) to (B, D, h, w), or to (B, h*w, D) where the encoder's last stage is not reshaped."""
        hidden_states, height, width = self.patch_embeddings(hidden_states)
        for block in self.blocks:
            hidden_states = block(hidden_states, height, width, **kwargs)
        hidden_states = self.layer_norm(hidden_states)
        return _as_map(hidden_states, height, width) if self.reshape else hidden_states


class FastHighPassFilter(HighPassFilter):
    """High-pass filter that computes in float32 whatever the pixels' dtype is, and averages rows, then columns."""

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) to (B, 3, H, W) float32."""
        return super().forward(pixel_values.float())

    @staticmethod
    def _window_means(energy: torch.Tensor) -> torch.Tensor:
        channels = energy.shape[1]
        energy = energy.contiguous(memory_format=torch.channels_last)
        column = energy.new_full((channels, 1, ENERGY_WINDOW, 1), 1 / ENERGY_WINDOW)
        return F.conv2d(F.conv2d(energy, column, groups=channels), column.transpose(2, 3), groups=channels)


# Only exact types are replaced, so that a subclass with a forward of its own keeps it.
REPLACEMENTS = {
    SegformerOverlapPatchEmbeddings: FastPatchEmbeddings,
    SegformerSequenceReduction: FastSequenceReduction,
    SegformerDepthWiseConv: FastDepthWiseConv,
    SegformerLayer: FastLayer,
    SegformerStage: FastStage,
    HighPassFilter: FastHighPassFilter,
    MLPDecoder: FastMLPDecoder,
    PooledCrossAttention: FastPooledCrossAttention,
}


def onednn_is_usable() -> bool:
    """Whether this PyTorch has the fused oneDNN operators and they compute what they should here."""
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    tokens, layer = torch.ones(1, 4, 8), nn.Linear(8, 8)
    convolution = FastDepthWiseConv(8)
    with torch.no_grad():
        try:
            linear = torch.ops.mkldnn._linear_pointwise(tokens, layer.weight, layer.bias, "none", [], "")
            gelu = convolution.gelu(tokens, 2, 2)
        except (RuntimeError, NotImplementedError):
            return False
        return torch.allclose(linear, layer(tokens), atol=1e-5) and torch.allclose(
            gelu, F.gelu(convolution(tokens, 2, 2)), atol=1e-5
        )


def optimize_for_inference(model: Model, dtype: torch.dtype = torch.float32) -> Model:
    """Make a model with SegFormer encoders faster on a CPU, in place.

    Modules change their class, never their parameters: names, `state_dict()` and `save_pretrained` stay as they were.
    Float32 logits agree to a few 1e-6, relative. Where gradients are needed the ordinary operators run.

    Args:
        model: Any model that contains SegFormer encoders; one on a GPU is returned untouched.
        dtype: `torch.float32` or `torch.bfloat16`. bfloat16 gains only on processors that compute in it (AVX512-BF16,
            AMX) and costs about two digits; the high-pass filter stays in float32, so keep `pixel_values` in float32.

    Returns:
        The same model in evaluation mode. A second call changes nothing more.

    Raises:
        ValueError: For another dtype.
    """
    if dtype not in (torch.float32, torch.bfloat16):
        raise ValueError(f"dtype must be torch.float32 or torch.bfloat16, got {dtype}")
    if any(parameter.device.type != "cpu" for parameter in model.parameters()):
        return model
    fused = onednn_is_usable()
    for module in model.modules():
        if type(module) in REPLACEMENTS:
            module.__class__ = REPLACEMENTS[type(module)]
        elif fused and type(module) is nn.Linear:
            module.__class__ = FastLinear
        elif fused and type(module) is SegformerMixMLP and _is_erf_gelu(module.activation_fn):
            module.__class__ = FastMixMLP
    kernels = {module: _exact_kernels(module) for module in model.modules() if isinstance(module, HighPassFilter)}
    model.to(dtype=dtype, memory_format=torch.channels_last).eval()
    for module, weight in kernels.items():
        if weight is not None:
            module.weight = weight
    return model


def _exact_kernels(module: HighPassFilter) -> torch.Tensor | None:
    """Kernels of a filter in float32: its own, or built anew where a conversion has rounded them already."""
    if module.kind == "fft":
        return None
    return module.weight if module.weight.dtype == torch.float32 else module.initial_weight()


def _is_erf_gelu(activation: nn.Module) -> bool:
    """Whether an activation is GELU by the error function, the form that oneDNN is asked for."""
    return isinstance(activation, nn.GELU | GELUActivation)


def keep_freed_memory() -> bool:
    """Let the C library keep large freed blocks for the next forward pass instead of returning them to the system.

    By default glibc returns blocks of more than 32 MB at once, and every layer pays for fresh pages again. The process
    stays at its peak memory. Opt-in, because it concerns the whole process.

    Returns:
        Whether it took effect: on Linux with glibc only.
    """
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    return bool(libc.mallopt(M_MMAP_THRESHOLD, KEEP_BELOW_BYTES) and libc.mallopt(M_TRIM_THRESHOLD, KEEP_BELOW_BYTES))


__all__ = ["keep_freed_memory", "optimize_for_inference"]
