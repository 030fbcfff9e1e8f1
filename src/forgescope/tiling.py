"""Logits of a photograph of any size from overlapping tiles, with memory that does not grow with a tile's context."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

DEFAULT_OVERLAP = 64
# Share of the overlap, at each end, in which the nearer tile decides alone: a tile's last pixels have seen padding.
MARGIN_SHARE = 0.25
# Output rows that are upsampled at a time: 256 rows of 10,000 pixels are 10 MB.
STRIP_ROWS = 256


@dataclass(frozen=True)
class Tile:
    """Rectangle of a photograph, pixels; `bottom` and `right` are exclusive."""

    top: int
    left: int
    bottom: int
    right: int


def round_up(length: int, multiple: int) -> int:
    """Return the smallest multiple that is not below `length`."""
    return -(-length // multiple) * multiple


def tile_starts(length: int, tile: int, overlap: int, multiple: int) -> list[int]:
    """Place tiles along one axis.

    Args:
        length: pixels of the axis.
        tile: pixels of a tile, a multiple of `multiple`.
        overlap: pixels that neighbours share at least.
        multiple: starts are multiples of this, the stride of the encoder.

    Returns:
        First pixel of each tile; the last tile ends at or after the end of the axis, by less than `multiple`.

    Raises:
        ValueError: sizes that do not fit together.
    """
    if tile <= 0 or tile % multiple:
        raise ValueError(f"expected a tile size that is a positive multiple of {multiple}, got {tile}")
    if not 0 <= overlap <= tile - multiple:
        raise ValueError(f"expected an overlap from 0 to {tile - multiple} for tiles of {tile}, got {overlap}")
    padded = round_up(length, multiple)
    step = (tile - overlap) // multiple * multiple
    starts = list(range(0, max(padded - tile, 0), step))
    return [*starts, max(padded - tile, 0)]


def plan_tiles(height: int, width: int, tile: int, overlap: int, multiple: int) -> list[Tile]:
    """Cover a photograph with tiles, row by row; those at the lower and right border may be smaller.

    Raises:
        ValueError: see `tile_starts`.
    """
    return [
        Tile(top, left, min(top + tile, height), min(left + tile, width))
        for top in tile_starts(height, tile, overlap, multiple)
        for left in tile_starts(width, tile, overlap, multiple)
    ]


def edge_window(length: int, ramp: int, at_start: bool, at_end: bool) -> torch.Tensor:
    """Weight of a tile's cells along one axis.

    Where a neighbour overlaps, the weight is 0 for the outer quarter of the overlap, a raised cosine over its middle
    half and 1 after it; at the border of the photograph it stays 1.

    Args:
        length: cells of the tile.
        ramp: cells of the overlap, less than `length`.
        at_start: the tile begins at the photograph's border.
        at_end: the tile ends there.

    Returns:
        (length,) float32, 0..1.
    """
    margin = int(ramp * MARGIN_SHARE)
    rising = ramp - 2 * margin
    curve = torch.zeros(ramp)
    curve[margin : margin + rising] = 0.5 - 0.5 * torch.cos(math.pi * (torch.arange(rising) + 0.5) / max(rising, 1))
    curve[margin + rising :] = 1
    window = torch.ones(length)
    if not at_start:
        window[:ramp] *= curve
    if not at_end:
        window[length - ramp :] *= curve.flip(0)
    return window


def tiled_logits(
    image: Image.Image,
    forward: Callable[[Sequence[Image.Image]], torch.Tensor],
    tile: int = 512,
    overlap: int = DEFAULT_OVERLAP,
    stride: int = 4,
    multiple: int = 32,
    batch_size: int = 1,
) -> torch.Tensor:
    """Run a network over overlapping tiles and blend its logits.

    Only `batch_size` tiles are ever converted to float; the result has one value for `stride` x `stride` pixels.

    Args:
        image: mode RGB.
        forward: takes crops of one size, pads them at the bottom and right, and returns logits (N, C, h, w) that cover
            at least the crops.
        tile: edge of a tile, pixels, a multiple of `multiple`.
        overlap: pixels that neighbours share at least.
        stride: pixels for one logit.
        multiple: tiles start at multiples of this many pixels, itself a multiple of `stride`.
        batch_size: tiles a call.

    Returns:
        (C, h, w) float32 on the CPU, where h and w cover the photograph padded to `multiple`.

    Raises:
        ValueError: sizes that do not fit together.
    """
    width, height = image.size
    total = weight = None
    for batch in _batches_of_one_size(plan_tiles(height, width, tile, overlap, multiple), batch_size):
        logits = forward([image.crop((one.left, one.top, one.right, one.bottom)) for one in batch]).float().cpu()
        if total is None or weight is None:
            grid = (round_up(height, multiple) // stride, round_up(width, multiple) // stride)
            total, weight = torch.zeros(logits.shape[1], *grid), torch.zeros(grid)
        for one, values in zip(batch, logits, strict=True):
            top, left = one.top // stride, one.left // stride
            # `forward` may have padded by more than `multiple`
            values = values[:, : total.shape[-2] - top, : total.shape[-1] - left]
            rows, columns = slice(top, top + values.shape[-2]), slice(left, left + values.shape[-1])
            window = torch.outer(
                edge_window(values.shape[-2], overlap // stride, one.top == 0, one.bottom == height),
                edge_window(values.shape[-1], overlap // stride, one.left == 0, one.right == width),
            )
            total[:, rows, columns] += values * window
            weight[rows, columns] += window
    if total is None or weight is None:
        raise ValueError(f"expected an image with pixels, got {width} x {height}")
    return total / weight


def _batches_of_one_size(tiles: list[Tile], batch_size: int) -> Iterator[list[Tile]]:
    groups: dict[tuple[int, int], list[Tile]] = {}
    for one in tiles:
        groups.setdefault((one.bottom - one.top, one.right - one.left), []).append(one)
    for group in groups.values():
        for start in range(0, len(group), batch_size):
            yield group[start : start + batch_size]


def probabilities_in_strips(logits: torch.Tensor, height: int, width: int, stride: int = 4) -> np.ndarray:
    """Upsample logits to pixels a few rows at a time, equal to one bilinear upsampling of the whole.

    Args:
        logits: (C, h, w) float32; C = 1 is a sigmoid, C > 1 a softmax whose class 0 is authentic.
        height: rows wanted, at most h x stride.
        width: columns wanted, at most w x stride.
        stride: pixels for one logit.

    Returns:
        (height, width) float32, 0..1: probability of a pixel to be forged.

    Raises:
        ValueError: more pixels than the logits cover.
    """
    covered = (logits.shape[-2] * stride, logits.shape[-1] * stride)
    if height > covered[0] or width > covered[1]:
        raise ValueError(f"expected at most {covered[0]} x {covered[1]} pixels, got {height} x {width}")
    result = np.empty((height, width), np.float32)
    rows = max(STRIP_ROWS // stride, 1)
    for first in range(0, -(-height // stride), rows):
        last = min(first + rows, logits.shape[-2])
        # one more grid row on each side, which the bilinear filter reaches
        low, high = max(first - 1, 0), min(last + 1, logits.shape[-2])
        strip = F.interpolate(logits[None, :, low:high], scale_factor=stride, mode="bilinear", align_corners=False)[0]
        strip = strip[:, (first - low) * stride : (last - low) * stride, :width]
        strip = strip[0].sigmoid_() if len(strip) == 1 else 1 - strip.softmax(dim=0)[0]
        stop = min(last * stride, height)
        result[first * stride : stop] = strip[: stop - first * stride].numpy()
    return result
