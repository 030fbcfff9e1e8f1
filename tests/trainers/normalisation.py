"""A step of batch normalisation in one process or in two; a module of its own, since processes import it by name."""

import torch
import torch.distributed as dist
from torch import nn

from forgescope.trainers.synchronized_norm import synchronize_batch_norm

BATCH, SPLIT = 5, 3  # the processes have 3 and 2 images


def inputs():
    """Images, and targets that give every pixel a gradient of its own."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(BATCH, 4, 6, 7, generator=generator) * 3 + 10
    return images, torch.randn(BATCH, 4, 6, 7, generator=generator)


def normalise(norm, images, targets):
    """A training step's worth of numbers: output, gradients of input and parameters, running statistics."""
    images = images.clone().requires_grad_()
    output = norm(images)
    ((output - targets) ** 2).sum().backward()
    norm.eval()
    return {
        "output": output.detach(),
        "input gradient": images.grad,
        "weight gradient": norm.weight.grad,
        "bias gradient": norm.bias.grad,
        "mean": norm.running_mean,
        "variance": norm.running_var,
        "evaluated": norm(images).detach(),
    }


def run_process(rank, store, results):
    """Normalise one process's images and save the numbers."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    images, targets = inputs()
    part = slice(0, SPLIT) if rank == 0 else slice(SPLIT, BATCH)
    norm = synchronize_batch_norm(nn.BatchNorm2d(4), torch.device("cpu"))
    torch.save(normalise(norm, images[part], targets[part]), f"{results}{rank}")
    dist.destroy_process_group()
