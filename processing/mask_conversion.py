"""Any form of a mask as 0/1 pixels, and pixels as labels. Polarity: 1 = forged pixel."""

from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torchvision.transforms.v2 import functional as tvF

from .image_conversion import orientation_of

IGNORE_INDEX = 255


def to_binary_mask(segmentation_map: Any, height: int, width: int) -> torch.Tensor:
    """Read one mask as 0/1.

    Args:
        segmentation_map: PIL image (mode 1, L or P), array or tensor (H, W) or (1, H, W), with values 0/1, 0/255 or
            bool; or None, an authentic image.
        height: height of the image it belongs to, pixels.
        width: width of that image, pixels.

    Returns:
        (1, H, W) uint8, 1 = forged.

    Raises:
        ValueError: another size than the image, more than one channel, or other values.
    """
    if segmentation_map is None:
        return torch.zeros(1, height, width, dtype=torch.uint8)
    if isinstance(segmentation_map, Image.Image):
        if orientation_of(segmentation_map) != 1:
            segmentation_map = ImageOps.exif_transpose(segmentation_map)
        segmentation_map = np.array(segmentation_map)
    mask = torch.as_tensor(segmentation_map)
    if mask.ndim == 3 and mask.shape[0] == 1:
        mask = mask[0]
    if tuple(mask.shape) != (height, width):
        raise ValueError(
            f"expected a mask of the image's size, (height, width) = ({height}, {width}), got {tuple(mask.shape)}: "
            "resize the mask with nearest neighbour, or pair it with its own image"
        )
    values = set(torch.unique(mask).tolist())
    if not (values <= {0, 1} or values <= {0, IGNORE_INDEX}):
        raise ValueError(
            f"expected mask values 0 and 1, or 0 and 255 (forged), got {sorted(values)[:6]}"
            f"{' and more' if len(values) > 6 else ''}: binarize the mask, and save it without JPEG compression"
        )
    return (mask > 0).to(torch.uint8)[None]


def read_masks(segmentation_maps: Any, sizes: list[tuple[int, int]]) -> list[torch.Tensor]:
    """Read the masks of a batch.

    Args:
        segmentation_maps: a list of masks, one array or tensor of them, or a single mask; see `to_binary_mask`.
        sizes: (height, width) of the images, pixels.

    Returns:
        One (1, H, W) uint8 tensor an image, 1 = forged.

    Raises:
        ValueError: another number of masks than images, or a mask that does not fit.
    """
    if not isinstance(segmentation_maps, list | tuple):
        is_batch = getattr(segmentation_maps, "ndim", 2) > 2
        segmentation_maps = list(segmentation_maps) if is_batch else [segmentation_maps]
    if len(segmentation_maps) != len(sizes):
        raise ValueError(f"expected one mask an image, got {len(segmentation_maps)} masks, {len(sizes)} images")
    return [to_binary_mask(one, *size) for one, size in zip(segmentation_maps, sizes, strict=True)]


def sample_labels(mask: torch.Tensor, pixel_values: torch.Tensor, do_resize: bool, mask_stride: int) -> torch.Tensor:
    """Sample a mask on the grid of the logits, nearest neighbour.

    Args:
        mask: (1, H, W) uint8.
        pixel_values: (3, h, w) that the image became.
        do_resize: the image was resized to h x w; else it was padded at the bottom and right.
        mask_stride: pixels of `pixel_values` for one label.

    Returns:
        (h / mask_stride, w / mask_stride) int64 on the device of `pixel_values`; padded pixels are 255.
    """
    height, width = pixel_values.shape[-2:]
    if not do_resize:
        mask = tvF.pad(mask, [0, 0, width - mask.shape[-1], height - mask.shape[-2]], fill=IGNORE_INDEX)
    grid = [height // mask_stride, width // mask_stride]
    mask = tvF.resize(mask, grid, interpolation=tvF.InterpolationMode.NEAREST_EXACT)
    return mask[0].to(device=pixel_values.device, dtype=torch.int64)
