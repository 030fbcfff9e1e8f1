"""A checkpoint as a function: photographs in, probability maps out, at any size."""

import os
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from transformers import PreTrainedModel
from transformers.modeling_outputs import SemanticSegmenterOutput

from forgescope.modeling.fast_inference import FastPatchEmbeddings, optimize_for_inference
from forgescope.processing.image_processing_forgery import ForgeryImageProcessor

from .hub import load_checkpoint
from .reading import as_read_image
from .tiling import DEFAULT_OVERLAP, Tile, plan_tiles, probabilities_in_strips, round_up, tiled_logits

DTYPES = {"auto": torch.float32, "float32": torch.float32, "bfloat16": torch.bfloat16}
CPU_BATCH_SIZE = 1
ACCELERATOR_BATCH_SIZE = 16


class Localizer:
    """A model and its processor, whole photographs or tiles.

    A processor that resizes (`do_resize=True`) shows the model every photograph whole, at one size. With one that does
    not, the model sees the photograph's own pixels: whole up to `tile` x `tile` pixels, in overlapping tiles above.

    Args:
        model: in evaluation mode, on its device.
        processor: its processor.
        batch_size: photographs or tiles in one forward pass; None: 1 on a CPU, where more gain nothing, else 16.
        tile: edge of a tile, pixels, a multiple of the processor's `size_divisor`; when given, a checkpoint that
            resizes also examines the photograph's own pixels. None: the processor's size.
        overlap: pixels that neighbouring tiles share.

    Raises:
        ValueError: a batch size, tile or overlap that does not fit.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        processor: ForgeryImageProcessor,
        batch_size: int | None = None,
        tile: int | None = None,
        overlap: int = DEFAULT_OVERLAP,
    ):
        default = CPU_BATCH_SIZE if model.device.type == "cpu" else ACCELERATOR_BATCH_SIZE
        self.batch_size = default if batch_size is None else batch_size
        if self.batch_size < 1:
            raise ValueError(f"expected a batch size of at least 1, got {batch_size}")
        self.model = model
        self.processor = processor
        self.tuned = any(isinstance(module, FastPatchEmbeddings) for module in model.modules())
        self.native = tile is not None or not processor.do_resize
        self.tile = processor.size["height"] if tile is None else tile
        self.overlap = overlap
        if self.native:
            self._plan(1, 1)

    def probability_maps(self, images: Sequence[Image.Image]) -> list[np.ndarray]:
        """Compute the probability of each pixel to be forged.

        Args:
            images: PIL images of any mode and size.

        Returns:
            One (H, W) float32 array an image, 0..1, of its size as displayed.

        Raises:
            ImageReadError: an image that cannot be converted to RGB.
        """
        photos = [as_read_image(image).image for image in images]
        maps: list[np.ndarray | None] = [None] * len(photos)
        groups: dict[tuple[int, int] | None, list[int]] = {}
        for index, photo in enumerate(photos):
            groups.setdefault(self._batch_key(photo), []).append(index)
        for key, members in groups.items():
            for start in range(0, len(members), self.batch_size):
                batch = members[start : start + self.batch_size]
                for index, one in zip(batch, self._map_batch([photos[i] for i in batch], key), strict=True):
                    maps[index] = one
        return [one for one in maps if one is not None]

    def _batch_key(self, photo: Image.Image) -> tuple[int, int] | None:
        """Photographs of one key run together: their padded size, or None when all are resized."""
        if not self.native:
            return None
        divisor = self.processor.size_divisor
        return round_up(photo.height, divisor), round_up(photo.width, divisor)

    def _map_batch(self, photos: list[Image.Image], padded: tuple[int, int] | None) -> list[np.ndarray]:
        sizes = [(photo.height, photo.width) for photo in photos]
        if padded is None:
            outputs = SemanticSegmenterOutput(logits=self._logits(photos, do_resize=True))
            return [one.numpy() for one in self.processor.post_process_probability_map(outputs, sizes)]
        if max(padded) <= self.tile:
            logits = list(self._logits(photos, do_resize=False))
        else:
            logits = [self._tiled_logits(photo) for photo in photos]
        stride = self.processor.mask_stride
        return [probabilities_in_strips(one, *size, stride) for one, size in zip(logits, sizes, strict=True)]

    def _tiled_logits(self, photo: Image.Image) -> torch.Tensor:
        return tiled_logits(
            photo,
            lambda crops: self._logits(crops, do_resize=False),
            tile=self.tile,
            overlap=self.overlap,
            stride=self.processor.mask_stride,
            multiple=self.processor.size_divisor,
            batch_size=self.batch_size,
        )

    @torch.inference_mode()
    def _logits(self, photos: Sequence[Image.Image], do_resize: bool) -> torch.Tensor:
        """Run the model once: (N, C, h, w) float32 on the CPU."""
        inputs = self.processor(list(photos), do_resize=do_resize, return_tensors="pt")
        # a tuned model casts by itself, after its high-pass filter has seen the exact pixels
        dtype = torch.float32 if self.tuned else self.model.dtype
        pixel_values = inputs["pixel_values"].to(device=self.model.device, dtype=dtype)
        return self.model(pixel_values=pixel_values).logits.float().cpu()

    def describe(self, photo: Image.Image) -> str:
        """Say in one sentence how a photograph is examined."""
        if not self.native:
            size = self.processor.size
            return f"Examined whole, resized to {size['width']} x {size['height']} pixels, not in tiles."
        if max(self._batch_key(photo) or ()) <= self.tile:
            return "Examined whole, at its own resolution."
        count = len(self._plan(photo.height, photo.width))
        return f"Examined at its own resolution in {count} tiles of {self.tile} pixels that overlap by {self.overlap}."

    def _plan(self, height: int, width: int) -> list[Tile]:
        return plan_tiles(height, width, self.tile, self.overlap, self.processor.size_divisor)


def load_for_inference(
    model: str | os.PathLike | None, device: str | torch.device | None, dtype: str
) -> tuple[PreTrainedModel, ForgeryImageProcessor]:
    """Load a checkpoint onto a device, tuned for inference where that is the CPU.

    Args:
        model: embedded name, folder or Hub id; None: the embedded checkpoint.
        device: torch device; None: a GPU when there is one.
        dtype: "auto" (float32), "float32" or "bfloat16".

    Returns:
        The model in evaluation mode, and its processor.

    Raises:
        ValueError: unknown or unsuitable checkpoint, device or dtype.
    """
    if dtype not in DTYPES:
        raise ValueError(f"expected dtype {', '.join(DTYPES)}, got {dtype!r}")
    loaded, processor = load_checkpoint(model, dtype=torch.float32)
    try:
        target = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        loaded = loaded.to(target)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {str(device)!r} cannot be used: {str(error).splitlines()[0]}") from error
    if target.type == "cpu":
        return optimize_for_inference(loaded, DTYPES[dtype]), processor
    return loaded.to(DTYPES[dtype]), processor
