"""A checkpoint as a function: photographs in, probability maps and scores out, at any size."""

import os
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from PIL import Image
from torchvision.transforms.v2.functional import pil_to_tensor, to_pil_image
from transformers import PreTrainedModel
from transformers.modeling_outputs import SemanticSegmenterOutput

from forgescope.modeling.fast_inference import FastPatchEmbeddings, optimize_for_inference
from forgescope.processing.image_enlarging import enlarged_size
from forgescope.processing.image_processing_forgery import ForgeryImageProcessor

from .editor_maps import class_maps
from .examination import Examination
from .exported import ExportedModel, is_exported, load_exported
from .hub import load_checkpoint
from .reading import as_read_image
from .tiling import DEFAULT_OVERLAP, plan_tiles, probabilities_in_strips, round_up, tiled_logits

DTYPES = {"auto": torch.float32, "float32": torch.float32, "bfloat16": torch.bfloat16}
CPU_BATCH_SIZE = 1
ACCELERATOR_BATCH_SIZE = 16
# Class of the classifier's logits, of real and fake.
FAKE = 1


class Localizer:
    """A model and its processor, whole photographs or tiles.

    A processor that resizes (`do_resize=True`) shows the model every photograph whole, at one size. With one that does
    not, the model sees the photograph's own pixels, enlarged where it is below the processor's `smallest_edge`: whole
    up to `tile` x `tile` pixels, in overlapping tiles above. The configuration's `score_reduction` makes one score of
    a classifier's probabilities for the tiles.

    Args:
        model: in evaluation mode, on its device; or an exported network.
        processor: its processor.
        batch_size: photographs or tiles in one forward pass; None: 1 on a CPU, where more gain nothing, else 16.
        tile: edge of a tile, pixels, a multiple of the processor's `size_divisor`; when given, a checkpoint that
            resizes also examines the photograph's own pixels. None: the processor's size.
        overlap: pixels that neighbouring tiles share.

    Raises:
        ValueError: a batch size, tile or overlap that does not fit, or a processor of another grid than the model's.
    """

    def __init__(
        self,
        model: PreTrainedModel | ExportedModel,
        processor: ForgeryImageProcessor,
        batch_size: int | None = None,
        tile: int | None = None,
        overlap: int = DEFAULT_OVERLAP,
    ):
        default = CPU_BATCH_SIZE if model.device.type == "cpu" else ACCELERATOR_BATCH_SIZE
        self.batch_size = default if batch_size is None else batch_size
        if self.batch_size < 1:
            raise ValueError(f"expected a batch size of at least 1, got {batch_size}")
        stride = getattr(model.config, "mask_stride", processor.mask_stride)
        if processor.mask_stride != stride:
            raise ValueError(
                f"the model has one value for {stride} pixels in each direction, the processor's mask_stride is "
                f"{processor.mask_stride}: save the processor with mask_stride={stride} beside the model"
            )
        self.model = model
        self.processor = processor
        # such a model casts by itself, after its high-pass filter has seen the exact pixels
        self.takes_float32 = isinstance(model, ExportedModel) or any(
            isinstance(module, FastPatchEmbeddings) for module in model.modules()
        )
        self.native = tile is not None or not processor.do_resize
        self.tile = processor.size["height"] if tile is None else tile
        self.overlap = overlap
        if self.native:
            plan_tiles(1, 1, self.tile, overlap, processor.size_divisor)
        if isinstance(model, ExportedModel):
            size = processor.size
            model.check_size(*((self.tile, self.tile) if self.native else (size["height"], size["width"])))
        self.smallest_edge = None if processor.do_resize else processor.smallest_edge
        self.score_reduction = getattr(model.config, "score_reduction", None)
        self.heads = [name for name in ("manipulation", "ai") if getattr(model.config, f"use_{name}_head", False)]
        # names of the classes above 0, where they are editors
        self.editors = tuple(model.config.id2editor) if getattr(model.config, "task", None) == "semantic" else ()
        # tiles for a classifier end with the photograph: a padded strip would be part of what it judges
        self.alignment = processor.size_divisor if self.score_reduction is None else processor.mask_stride

    def examine(self, images: Sequence[Image.Image], classes: bool = False) -> list[Examination]:
        """Run the model over photographs.

        Args:
            images: PIL images of any mode and size.
            classes: also give the class of every pixel, where the model has several.

        Returns:
            One examination an image, with maps of its size as displayed.

        Raises:
            ImageReadError: an image that cannot be converted to RGB.
        """
        photos = [as_read_image(image).image for image in images]
        found: dict[int, Examination] = {}
        groups: dict[tuple[int, int] | None, list[int]] = {}
        for index, photo in enumerate(photos):
            groups.setdefault(self._batch_key(photo), []).append(index)
        for key, members in groups.items():
            for start in range(0, len(members), self.batch_size):
                batch = members[start : start + self.batch_size]
                examinations = self._examine_batch([photos[index] for index in batch], key, classes)
                found |= zip(batch, examinations, strict=True)
        return [found[index] for index in range(len(photos))]

    def _shown_size(self, photo: Image.Image) -> tuple[int, int]:
        """Height and width at which a photograph is examined."""
        return enlarged_size(photo.height, photo.width, self.smallest_edge)

    def _batch_key(self, photo: Image.Image) -> tuple[int, int] | None:
        """Photographs of one key run together: their padded size, or None when all are resized."""
        if not self.native:
            return None
        height, width = self._shown_size(photo)
        divisor = self.processor.size_divisor
        return round_up(height, divisor), round_up(width, divisor)

    def _examine_batch(
        self, photos: list[Image.Image], padded: tuple[int, int] | None, classes: bool
    ) -> list[Examination]:
        if padded is None or max(padded) <= self.tile:
            logits, fake = self._forward(photos, do_resize=padded is None, smallest_edge=self.smallest_edge)
            fakes = [None] * len(photos) if fake is None else list(fake)
            passes = list(zip(logits, fakes, strict=True))
        else:
            passes = [self._tiled(photo) for photo in photos]
        return [self._examination(photo, *one, classes) for photo, one in zip(photos, passes, strict=True)]

    def _examination(
        self, photo: Image.Image, logits: torch.Tensor, fake: torch.Tensor | None, classes: bool
    ) -> Examination:
        if fake is None:
            class_map = self._class_map(logits, photo) if classes and len(logits) > 1 else None
            if not self.editors:
                return Examination(self._probabilities(logits, photo), class_map=class_map)
            probabilities, editors = self._editor_maps(logits, photo)
            return Examination(probabilities, class_map=class_map, editor_map=editors)
        maps = {head: self._probabilities(one[None], photo) for head, one in zip(self.heads, logits, strict=True)}
        return Examination(maps.get("manipulation", maps.get("ai")), maps.get("ai"), float(fake))

    def _probabilities(self, logits: torch.Tensor, photo: Image.Image) -> np.ndarray:
        """Turn the logits (C, h, w) of one map into probabilities of the photograph's size."""
        size = (photo.height, photo.width)
        if self.native and self._shown_size(photo) == size:
            return probabilities_in_strips(logits, *size, self.processor.mask_stride)
        outputs = SemanticSegmenterOutput(logits=logits[None])
        return self.processor.post_process_probability_map(outputs, [size])[0].numpy()

    def _editor_maps(self, logits: torch.Tensor, photo: Image.Image) -> tuple[np.ndarray, np.ndarray]:
        """Turn logits (C, h, w) into probabilities and ids of the likeliest editors, both of the photograph's size."""
        size = (photo.height, photo.width)
        stride = self.processor.mask_stride
        grid = (logits.shape[-2] * stride, logits.shape[-1] * stride) if self.native else size
        if self._shown_size(photo) == size:
            return class_maps(logits, grid, size)
        shown = class_maps(logits, grid, self._shown_size(photo))[1]
        editors = cv2.resize(shown, (photo.width, photo.height), interpolation=cv2.INTER_NEAREST)
        return self._probabilities(logits, photo), editors

    def _class_map(self, logits: torch.Tensor, photo: Image.Image) -> np.ndarray:
        """Turn logits (C, h, w) into the likeliest class of every pixel of the photograph."""
        outputs = SemanticSegmenterOutput(logits=logits[None])
        (class_map,) = self.processor.post_process_semantic_segmentation(outputs, [(photo.height, photo.width)])
        return class_map.numpy().astype(np.uint8)

    def _tiled(self, photo: Image.Image) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Logits (C, h, w) of a large photograph, and the classifier's probability () where there is one."""
        if self._shown_size(photo) != (photo.height, photo.width):
            pixels = self.processor.enlarge(pil_to_tensor(photo), self.smallest_edge, self.processor.resample)
            photo = to_pil_image(pixels)
        fakes: list[torch.Tensor] = []

        def forward(crops: Sequence[Image.Image]) -> torch.Tensor:
            logits, fake = self._forward(crops, do_resize=False)
            if fake is not None:
                fakes.append(fake)
            return logits

        logits = tiled_logits(
            photo,
            forward,
            tile=self.tile,
            overlap=self.overlap,
            stride=self.processor.mask_stride,
            multiple=self.alignment,
            batch_size=self.batch_size,
        )
        if self.score_reduction is None:
            return logits, None
        if self.score_reduction == "center":
            return logits, self._forward([center_crop(photo, self.tile)], do_resize=False)[1][0]
        probabilities = torch.cat(fakes)
        return logits, probabilities.mean() if self.score_reduction == "mean" else probabilities.amax()

    @torch.inference_mode()
    def _forward(
        self, photos: Sequence[Image.Image], do_resize: bool, smallest_edge: int | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Run the model once.

        Returns:
            Logits of the pixels (N, C, h, w), and a classifier's probabilities to be fake (N,) or None, both float32
            on the CPU. With a classifier there is one channel for each of `heads`.
        """
        inputs = self.processor(list(photos), do_resize=do_resize, smallest_edge=smallest_edge, return_tensors="pt")
        dtype = torch.float32 if self.takes_float32 else self.model.dtype
        pixel_values = inputs["pixel_values"].to(device=self.model.device, dtype=dtype)
        outputs = self.model(pixel_values=pixel_values)
        if self.score_reduction is None:
            return outputs.logits.float().cpu(), None
        fake = outputs.logits.float().softmax(dim=-1)[:, FAKE].cpu()
        if not self.heads:
            grid = [edge // self.processor.mask_stride for edge in pixel_values.shape[-2:]]
            return torch.empty(len(photos), 0, *grid), fake
        return torch.cat([outputs[f"{name}_logits"] for name in self.heads], dim=1).float().cpu(), fake

    def describe(self, photo: Image.Image) -> str:
        """Say in one sentence how a photograph is examined."""
        if not self.native:
            size = self.processor.size
            return f"Examined whole, resized to {size['width']} x {size['height']} pixels, not in tiles."
        height, width = self._shown_size(photo)
        if (height, width) == (photo.height, photo.width):
            how = ("Examined whole, at its own resolution.", "Examined at its own resolution in")
        else:
            enlarged = f"Enlarged to {width} x {height} pixels and examined"
            how = (f"{enlarged} whole.", f"{enlarged} in")
        if max(self._batch_key(photo) or ()) <= self.tile:
            return how[0]
        count = len(plan_tiles(height, width, self.tile, self.overlap, self.alignment))
        return f"{how[1]} {count} tiles of {self.tile} pixels that overlap by {self.overlap}."


def center_crop(photo: Image.Image, edge: int) -> Image.Image:
    """Cut the middle of a photograph, at most `edge` x `edge` pixels."""
    width, height = min(photo.width, edge), min(photo.height, edge)
    left, top = round((photo.width - width) / 2), round((photo.height - height) / 2)
    return photo.crop((left, top, left + width, top + height))


def load_for_inference(
    model: str | os.PathLike | None, device: str | torch.device | None, dtype: str
) -> tuple[PreTrainedModel | ExportedModel, ForgeryImageProcessor]:
    """Load a checkpoint onto a device, tuned for inference where that is the CPU.

    Args:
        model: embedded name, folder or Hub id; None: the embedded checkpoint. A folder that `forgescope export` wrote
            gives the exported network, on the CPU.
        device: torch device; None: a GPU when there is one.
        dtype: "auto" (float32), "float32" or "bfloat16"; "auto" is that of an exported network.

    Returns:
        The model in evaluation mode, and its processor.

    Raises:
        ValueError: unknown or unsuitable checkpoint, device or dtype.
    """
    if dtype not in DTYPES:
        raise ValueError(f"expected dtype {', '.join(DTYPES)}, got {dtype!r}")
    if model is not None and is_exported(model):
        return load_exported(model, device, dtype)
    loaded, processor = load_checkpoint(model, dtype=torch.float32)
    loaded = to_device(loaded, device)
    if loaded.device.type == "cpu":
        return optimize_for_inference(loaded, DTYPES[dtype]), processor
    return loaded.to(DTYPES[dtype]), processor


def to_device(model: PreTrainedModel, device: str | torch.device | None) -> PreTrainedModel:
    """Move a model to a device; None: a GPU when there is one.

    Raises:
        ValueError: no such device.
    """
    try:
        return model.to(torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu")))
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {str(device)!r} cannot be used: {str(error).splitlines()[0]}") from error
