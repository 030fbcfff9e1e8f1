"""From a folder of images and masks to batches, the same for any number of processes and workers."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import BaseImageProcessor, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from forgescope.processing.image_conversion import to_upright_rgb

from .augmentation import AugmentationConfig, augment, center_crop


class ForgeryDataset(torch.utils.data.Dataset):
    """Images and masks as PIL, augmented anew in every epoch.

    The draw for an image depends on the seed, the epoch and its position alone: neither the number of workers or
    processes nor a resume in the middle of an epoch changes it.

    Args:
        rows: Rows with `image` (PIL) and `mask` (PIL of the same size, or None for authentic).
        augmentation: What to draw; None gives the images as they are.
        eval_crop_size: Without augmentation, side of the middle window in pixels; None keeps the whole image.
        seed: Seed of the draws.
    """

    def __init__(
        self,
        rows: Sequence[dict[str, Any]],
        augmentation: AugmentationConfig | None = None,
        eval_crop_size: int | None = None,
        seed: int = 0,
    ):
        self.rows = rows
        self.augmentation = augmentation
        self.eval_crop_size = eval_crop_size
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose draws are given; the data loader calls it."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Image.Image | None]:
        row = self.rows[index]
        image, mask = to_upright_rgb(row["image"]), row["mask"]
        if self.augmentation is not None:
            rng = np.random.default_rng([self.seed, self.epoch, index])
            image, mask = augment(image, mask, self.augmentation, rng)
        elif self.eval_crop_size is not None:
            image, mask = center_crop(image, mask, self.eval_crop_size)
        return {"image": image, "mask": mask}


class ForgeryCollator:
    """Turn rows of `ForgeryDataset` into `pixel_values` and `labels`.

    Args:
        processor: A `ForgeryImageProcessor`.
        **settings: Attributes of the processor that differ in training, such as `mask_stride=1`.
    """

    def __init__(self, processor: BaseImageProcessor, **settings: Any):
        self.processor = processor
        self.settings = settings

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """(B, 3, H, W) float32 pixel values and (B, H / mask_stride, W / mask_stride) int64 labels, 255 = padding."""
        images = [row["image"] for row in rows]
        masks = [
            np.zeros((row["image"].height, row["image"].width), np.uint8) if row["mask"] is None else row["mask"]
            for row in rows
        ]
        return dict(self.processor(images, segmentation_maps=masks, return_tensors="pt", **self.settings))


class EpochCallback(TrainerCallback):
    """Tell the dataset which epoch begins; accelerate does so in a single process only.

    Args:
        dataset: Gets `set_epoch(epoch)`.
    """

    def __init__(self, dataset: Any):
        self.dataset = dataset

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """`state.epoch` counts finished epochs, with a fraction when a run is resumed within one."""
        self.dataset.set_epoch(math.floor(state.epoch or 0))
