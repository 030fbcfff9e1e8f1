"""How far an exported network is from the PyTorch model that it was made of."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from transformers import PreTrainedModel

from forgescope.processing.image_processing_forgery import ForgeryImageProcessor

from .exported import load_exported

# Pictures that networks are compared on: smooth colours of this many pixels a cell, with noise of some grey levels.
CELL, NOISE = 32, 4.0
# Height and width that a network of any size is compared at, beside the usual ones.
OTHER_SIZE = (64, 160)


@dataclass(frozen=True)
class Difference:
    """What an output of the exported network differs by from PyTorch's.

    Args:
        output: name.
        shape: of the input, (B, 3, H, W).
        largest: largest difference of a value.
        relative: Euclidean norm of all differences, divided by that of PyTorch's values.
    """

    output: str
    shape: tuple[int, ...]
    largest: float
    relative: float

    def accepted(self, tolerance: float) -> bool:
        """Whether `relative` is within the tolerance, or `largest` is, for outputs near zero."""
        return self.relative <= tolerance or self.largest <= tolerance

    def __str__(self) -> str:
        size = " x ".join(map(str, self.shape))
        return f"{self.output} for {size}: largest {self.largest:.1e}, relative {self.relative:.1e}"


def compare(
    model: PreTrainedModel, folder: str | os.PathLike, processor: ForgeryImageProcessor
) -> Iterator[Difference]:
    """Run an exported network and its PyTorch model on the same pictures.

    Args:
        model: in evaluation mode, float32, on the CPU.
        folder: with the exported network.
        processor: of both.

    Yields:
        One difference for each size, number of images and output.
    """
    exported, _ = load_exported(folder)
    form = exported.form
    usual = (form.height or processor.size["height"], form.width or processor.size["width"])
    sizes = [usual] if form.height else [usual, OTHER_SIZE]
    for height, width in sizes:
        for batch in (1, 2) if form.batch is None else (1,):
            pixels = pictures(batch, height, width, processor)
            found = exported(pixels)
            with torch.inference_mode():
                expected = model(pixel_values=pixels)
            for name in form.outputs:
                gap = found[name].double() - expected[name].double()
                relative = gap.norm() / expected[name].double().norm()
                yield Difference(name, tuple(pixels.shape), gap.abs().max().item(), relative.item())


def pictures(batch: int, height: int, width: int, processor: ForgeryImageProcessor) -> torch.Tensor:
    """Make smooth pictures with weak noise, as a processor gives them.

    White noise would not do: what a high-pass filter looks for is weak in photographs, and is lost first.

    Returns:
        (batch, 3, height, width) float32, the same at every call.
    """
    generator = torch.Generator().manual_seed(0)
    cells = torch.rand(batch, 3, height // CELL + 1, width // CELL + 1, generator=generator)
    smooth = F.interpolate(cells, size=(height, width), mode="bicubic") * 255
    noise = NOISE * torch.randn(batch, 3, height, width, generator=generator)
    grey_levels = (smooth + noise).round().clamp(0, 255)
    mean, std = (torch.tensor(values)[:, None, None] for values in (processor.image_mean, processor.image_std))
    return (grey_levels / 255 - mean) / std
