"""Batch normalisation over the batches of all processes, for devices that torch's own does not know (CPU)."""

from typing import Any

import torch
import torch.distributed as dist
from torch import nn


class _SumOfProcesses(torch.autograd.Function):
    """Sum of a tensor over the processes; the gradient of a sum is summed likewise."""

    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor) -> torch.Tensor:
        total = tensor.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return _SumOfProcesses.forward(ctx, gradient)


class SynchronizedBatchNorm2d(nn.BatchNorm2d):
    """A `BatchNorm2d` that takes mean and variance over the images of all processes while it trains.

    Every process must run it equally often. Parameters, buffers and evaluation are those of `BatchNorm2d`.
    """

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Normalise (B, C, h, w); B may differ between the processes."""
        if not self.training:
            return super().forward(hidden_states)
        values = hidden_states.float()
        count = values.new_tensor([values.numel() / self.num_features], dtype=torch.float64)
        total = _SumOfProcesses.apply(torch.cat([values.sum(dim=(0, 2, 3), dtype=torch.float64), count]))
        count = total[-1].detach()
        mean = (total[:-1] / count).float()
        centred = values - mean[:, None, None]
        # a second round for the variance: mean of squares minus square of the mean would lose digits
        squares = centred.square().sum(dim=(0, 2, 3), dtype=torch.float64)
        variance = (_SumOfProcesses.apply(squares) / count).float()
        self._update_running_statistics(mean.detach(), (variance.detach() * count / (count - 1)).float())
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(hidden_states.dtype)

    def _update_running_statistics(self, mean: torch.Tensor, unbiased_variance: torch.Tensor) -> None:
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
        self.running_var.lerp_(unbiased_variance.to(self.running_var.dtype), self.momentum)


def synchronize_batch_norm(model: nn.Module, device: torch.device) -> nn.Module:
    """Let the batch normalisation of a model run over all processes.

    Args:
        model: Changed in place; the keys of its `state_dict` stay.
        device: Where it will train; on CUDA torch's own `SyncBatchNorm` is used.

    Returns:
        The model.
    """
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SynchronizedBatchNorm2d  # it has no state of its own
    return model
