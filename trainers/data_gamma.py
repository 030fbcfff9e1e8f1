"""From GAMMA's images and masks to crops, the subset of an epoch, and batches (section 5.1)."""

from collections.abc import Iterator
from typing import Any

import datasets
import numpy as np
import torch
from PIL import Image
from transformers import BaseImageProcessor

from forgescope.processing.image_conversion import to_upright_rgb

from .augmentation_cnndetection import CNNDetectionAugmentation, degrade, flip, jitter, reach_of
from .crops import central_corner, crop, enlarge, random_corner, surroundings
from .rows_gamma import MASK_COLUMNS, GammaDataConfig, check_columns, chosen_rows, row_labels, row_name


class GammaDataset(torch.utils.data.Dataset):
    """Crops with a label and two masks, drawn anew in every epoch.

    The draw for an image depends on the seed, the epoch and its position alone, as that of `ForgeryDataset`.

    Args:
        rows: Dataset with the columns `image`, `label`, `manipulation_mask` (or `mask`) and `ai_mask`, and perhaps
            `task` and `id`; masks are None where nothing is forged.
        config: Which rows, their labels, and the crops.
        augmentation: What to draw; None gives central crops of the images as they are.
        seed: Seed of the draws.

    Raises:
        ValueError: If a column is missing, a row has no label or is fake without `ai_mask`, or no row is left.
    """

    def __init__(
        self,
        rows: datasets.Dataset,
        config: GammaDataConfig,
        augmentation: CNNDetectionAugmentation | None = None,
        seed: int = 0,
    ):
        self.columns = check_columns(rows)
        kept = chosen_rows(rows, config.tasks)
        self.labels = row_labels(rows, kept, config.labels)
        self.rows = rows if len(kept) == len(rows) else rows.select(kept)
        self.config = config
        self.augmentation = augmentation
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose draws are given; the data loader calls it."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """`image` (PIL, RGB), `label` (1 = fake) and the masks (crop_size, crop_size) uint8, 255 = padding."""
        row = self.rows[index]
        image = to_upright_rgb(row["image"])
        given = {name: row[column] for name, column in self.columns.items()}
        masks = {name: mask.convert("L") for name, mask in given.items() if mask is not None}
        for name, mask in masks.items():
            if mask.size != image.size:
                raise ValueError(
                    f"image {row_name(self.rows, index)} is {image.width} x {image.height}, its {name} {mask.width} x "
                    f"{mask.height}: expected masks of the image's size"
                )
        image, masks = enlarge(image, masks, self.config.crop_size)
        image, labels = self._view(image, {name: masks.get(name) for name in MASK_COLUMNS}, index)
        return {"image": image, "label": int(self.labels[index]), **labels}

    def _view(
        self, image: Image.Image, masks: dict[str, Image.Image | None], index: int
    ) -> tuple[Image.Image, dict[str, np.ndarray]]:
        """The central window, or with augmentation a random one."""
        size, padding = self.config.crop_size, self.config.crop_padding
        if self.augmentation is None:
            return crop(image, masks, central_corner(image, size, padding), size)
        rng = np.random.default_rng([self.seed, self.epoch, index])
        left, top = random_corner(image, size, padding, rng)
        # the same pixels as if all of the image were degraded, which takes long for a large photograph
        box = surroundings(image, (left, top), size, reach_of(self.augmentation))
        image = degrade(image.crop(box), self.augmentation, rng)
        masks = {name: None if mask is None else mask.crop(box) for name, mask in masks.items()}
        image, labels = crop(image, masks, (left - box[0], top - box[1]), size)
        image, labels = flip(image, labels, self.augmentation, rng)
        return jitter(image, self.augmentation, rng), labels


class EpochSubsetSampler(torch.utils.data.Sampler):
    """A random subset of a dataset in every epoch, without replacement (section 5.1).

    The subset and its order depend on the seed and the dataset's epoch alone. It holds whole batches, all processes
    together, since a last batch of another size would not be the same for every number of processes; a subset that is
    smaller than a batch is taken as it is.

    Args:
        dataset: Has the attribute `epoch`.
        fraction: Share of the images, in (0, 1].
        batch_size: Images of a step, in all processes together.
        seed: Seed of the draws.
    """

    def __init__(self, dataset: GammaDataset, fraction: float, batch_size: int, seed: int = 0):
        self.dataset = dataset
        self.seed = seed
        images = max(round(fraction * len(dataset)), 1)
        self.images = images // batch_size * batch_size or images

    def __len__(self) -> int:
        return self.images

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng([self.seed, self.dataset.epoch])
        return iter(rng.permutation(len(self.dataset))[: self.images].tolist())


class GammaCollator:
    """Turn rows of `GammaDataset` into the arguments of `GammaForDetection`.

    Args:
        processor: A `ForgeryImageProcessor` that keeps the size of the crops.
    """

    def __init__(self, processor: BaseImageProcessor):
        self.processor = processor

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """(B, 3, H, W) float32 pixel values, (B,) int64 labels, and two (B, H, W) uint8 masks at full resolution.

        Raises:
            ValueError: If the processor changes the size of the crops, so that the masks would not fit.
        """
        pixel_values = self.processor([row["image"] for row in rows], return_tensors="pt")["pixel_values"]
        batch = {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in MASK_COLUMNS}
        size = batch["manipulation_mask"].shape[1:]
        if pixel_values.shape[2:] != size:
            raise ValueError(
                f"the image processor makes {pixel_values.shape[2]} x {pixel_values.shape[3]} pixels of crops of "
                f"{size[0]} x {size[1]}: leave do_resize, smallest_edge and size_divisor out of the recipe"
            )
        labels = torch.tensor([row["label"] for row in rows])
        return {"pixel_values": pixel_values, "labels": labels, **batch}
