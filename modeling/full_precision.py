"""A module that stays in 32 bits in a model of 16."""

from collections.abc import Callable

import torch
from torch import nn


class FullPrecisionModule(nn.Module):
    """Module whose parameters and buffers keep their dtype when a model is cast to float16 or bfloat16.

    For temperatures, which a learning rate of 1e-5 cannot move in 16 bits, and for features that are compared over
    many steps. Devices change as usual, and so does a cast to float64.
    """

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> nn.Module:
        def keep_dtype(tensor: torch.Tensor) -> torch.Tensor:
            result = fn(tensor)
            narrowed = result.is_floating_point() and result.itemsize < tensor.itemsize
            return tensor.to(result.device) if narrowed and result.itemsize < torch.float32.itemsize else result

        return super()._apply(keep_dtype, recurse)


__all__ = ["FullPrecisionModule"]
