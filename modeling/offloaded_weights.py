"""Weights that are read while `device_map` keeps them elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def weights_at_hand(*modules: nn.Module) -> Iterator[None]:
    """Bring back weights that `device_map` keeps on the CPU or the disk: accelerate does so where a module is called.

    Args:
        *modules: whose own weights are read without calling them.
    """
    away = [one for one in modules if hasattr(one, "_hf_hook") and any(weight.is_meta for weight in one.parameters())]
    for module in away:
        module._hf_hook.pre_forward(module)
    try:
        yield
    finally:
        for module in away:
            module._hf_hook.post_forward(module, None)


__all__ = ["weights_at_hand"]
