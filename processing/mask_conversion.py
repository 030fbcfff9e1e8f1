"""Any form of a mask as labels: 0/1 pixels, or ids of editors. Polarity: 1 = forged pixel, an id = its editor."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as tvF

from .image_conversion import turned_upright

IGNORE_INDEX = 255
# What the pixels of a mask say, see `read_mask`.
MaskValues = Literal["binary", "ids", "any"]


def read_mask(
    segmentation_map: Any,
    height: int,
    width: int,
    mask_values: MaskValues = "binary",
    id2editor: Sequence[str] | None = None,
) -> torch.Tensor:
    """Read one mask.

    Args:
        segmentation_map: PIL image (mode 1, L or P), array or tensor (H, W) or (1, H, W); or None, an authentic image.
        height: height of the image it belongs to, pixels.
        width: width of that image, pixels.
        mask_values: what its pixels say. "binary": forged or not, as 0/1, 0/255 or bool. "ids": 0 authentic, else the
            id of the editor, 255 = does not count. "any": either of these, and every editor becomes 1.
        id2editor: names of the editors with the ids 1, 2, ...; None: any id below 255 will do.

    Returns:
        (1, H, W) uint8: 1 = forged, or the id; 255 = does not count.

    Raises:
        ValueError: another size than the image, more than one channel, or other values.
    """
    if segmentation_map is None:
        return torch.zeros(1, height, width, dtype=torch.uint8)
    mask = _pixels(segmentation_map, height, width)
    values = _values(mask)
    is_binary = values <= {0, 1} or values <= {0, IGNORE_INDEX}
    if mask_values == "binary" and not is_binary:
        raise ValueError(
            f"expected mask values 0 and 1, or 0 and 255 (forged), got {_listed(values)}: binarize the mask, and save "
            'it without JPEG compression; for ids of editors set mask_values to "any"'
        )
    if mask_values == "binary" or (mask_values == "any" and is_binary):
        return (mask > 0).to(torch.uint8)[None]
    _check_ids(values, id2editor)
    if mask_values == "any":
        mask = torch.where(mask == IGNORE_INDEX, IGNORE_INDEX, mask > 0)
    return mask.to(torch.uint8)[None]


def _pixels(segmentation_map: Any, height: int, width: int) -> torch.Tensor:
    """The values of a mask as displayed, (H, W)."""
    if isinstance(segmentation_map, Image.Image):
        segmentation_map = np.array(turned_upright(segmentation_map))
    mask = torch.as_tensor(segmentation_map)
    if mask.ndim == 3 and mask.shape[0] == 1:
        mask = mask[0]
    if tuple(mask.shape) != (height, width):
        raise ValueError(
            f"expected a mask of the image's size, (height, width) = ({height}, {width}), got {tuple(mask.shape)}: "
            "resize the mask with nearest neighbour, or pair it with its own image"
        )
    return mask


def _values(mask: torch.Tensor) -> set[float]:
    """The different values of a mask; bytes are counted, which is many times faster than sorting them."""
    if mask.dtype == torch.uint8:
        return set(mask.flatten().bincount().nonzero().flatten().tolist())
    return set(mask.unique().tolist())


def _check_ids(values: set[float], id2editor: Sequence[str] | None) -> None:
    """Refuse values that name no editor: they would be classes that a model does not have.

    Raises:
        ValueError: such values.
    """
    last = IGNORE_INDEX - 1 if id2editor is None else len(id2editor)
    unknown = values - {*range(last + 1), IGNORE_INDEX}
    if unknown:
        named = f" ({', '.join(id2editor)})" if id2editor is not None else ""
        raise ValueError(
            f"expected mask values 0 (authentic), 1 to {last}{named} and 255 (does not count), got "
            f"{_listed(unknown)}: id2editor must name the editor of every id, and a mask be saved without JPEG "
            "compression"
        )
    if values <= {0, IGNORE_INDEX} and IGNORE_INDEX in values:
        raise ValueError(
            "expected ids of editors, got a mask of 0 and 255, in which 255 would not count: it says what was edited "
            "and not by which editor, so it can train binary segmentation only"
        )


def _listed(values: set[float]) -> str:
    """The first values of a mask, for an error."""
    return f"{sorted(values)[:6]}{' and more' if len(values) > 6 else ''}"


def read_masks(
    segmentation_maps: Any,
    sizes: list[tuple[int, int]],
    mask_values: MaskValues = "binary",
    id2editor: Sequence[str] | None = None,
) -> list[torch.Tensor]:
    """Read the masks of a batch.

    Args:
        segmentation_maps: a list of masks, one array or tensor of them, or a single mask; see `read_mask`.
        sizes: (height, width) of the images, pixels.
        mask_values: as in `read_mask`.
        id2editor: as in `read_mask`.

    Returns:
        One (1, H, W) uint8 tensor an image.

    Raises:
        ValueError: another number of masks than images, or a mask that does not fit.
    """
    if not isinstance(segmentation_maps, list | tuple):
        is_batch = getattr(segmentation_maps, "ndim", 2) > 2
        segmentation_maps = list(segmentation_maps) if is_batch else [segmentation_maps]
    if len(segmentation_maps) != len(sizes):
        raise ValueError(f"expected one mask an image, got {len(segmentation_maps)} masks, {len(sizes)} images")
    return [read_mask(one, *size, mask_values, id2editor) for one, size in zip(segmentation_maps, sizes, strict=True)]


def read_phrase_masks(
    masks: Sequence[Any], counts: Sequence[int], sizes: Sequence[tuple[int, int]]
) -> list[torch.Tensor]:
    """Read the masks of each image's phrases.

    Args:
        masks: for each image a list of masks, see `read_mask`, or one array or tensor (n, H, W); None: no mask.
        counts: masks that are expected of each image: one for each `[SEG]` of its answer.
        sizes: (height, width) of the images, pixels.

    Returns:
        One (n, H, W) uint8 tensor an image, 1 = artifact.

    Raises:
        ValueError: another number of masks, or a mask that does not fit.
    """
    read = []
    for row, (given, count, size) in enumerate(zip(masks, counts, sizes, strict=True)):
        several = [read_mask(one, *size) for one in ([] if given is None else given)]
        if len(several) != count:
            raise ValueError(f"answer {row} has {count} [SEG] and {len(several)} masks: expected one mask each")
        read.append(torch.cat([torch.zeros(0, *size, dtype=torch.uint8), *several]))
    return read


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
