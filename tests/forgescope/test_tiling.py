"""Tiles: placement, blending against an untiled run of a local network, strips against one upsampling."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from forgescope.tiling import edge_window, plan_tiles, probabilities_in_strips, tile_starts, tiled_logits

# a mean over 7 x 7 cells of 4 pixels: it sees 12 pixels to each side, less than the quarter of an overlap of 64
RADIUS = 3


def local_network(crops):
    """Return logits (N, 1, h/4, w/4): mean grey level of the cells around, edges repeated as the processor pads."""
    pixels = torch.stack([torch.from_numpy(np.array(crop.convert("L"))).float()[None] for crop in crops])
    pad = [-(-edge // 32) * 32 - edge for edge in pixels.shape[-2:]]
    cells = F.avg_pool2d(F.pad(pixels, (0, pad[1], 0, pad[0]), mode="replicate"), 4)
    around = F.pad(cells, [RADIUS] * 4, mode="replicate")
    return F.avg_pool2d(around, 2 * RADIUS + 1, stride=1) / 255


@pytest.fixture(scope="module")
def photo():
    noise = np.random.default_rng(0).integers(0, 256, (413, 650, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def test_starts_cover_the_axis_and_share_the_overlap():
    assert tile_starts(512, 512, 64, 32) == [0]
    assert tile_starts(100, 512, 64, 32) == [0]
    assert tile_starts(513, 512, 64, 32) == [0, 32]
    assert tile_starts(1400, 512, 64, 32) == [0, 448, 896]
    assert tile_starts(1409, 512, 64, 32) == [0, 448, 896, 928]
    for length in range(1, 900, 7):
        starts = tile_starts(length, 128, 40, 32)
        assert starts[-1] + 128 >= length
        assert all(second - first <= 128 - 40 for first, second in itertools.pairwise(starts))


@pytest.mark.parametrize(
    ("tile", "overlap", "message"),
    [
        (100, 10, "a positive multiple of 32, got 100"),
        (0, 0, "a positive multiple of 32, got 0"),
        (128, 97, "an overlap from 0 to 96 for tiles of 128, got 97"),
        (128, -1, "an overlap from 0 to 96 for tiles of 128, got -1"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(tile, overlap, message):
    with pytest.raises(ValueError, match=message):
        plan_tiles(500, 500, tile, overlap, 32)


def test_window_ignores_the_outer_quarter_and_stays_whole_at_the_border():
    window = edge_window(128, 16, at_start=False, at_end=True)
    assert window[:4].tolist() == [0] * 4
    assert window[16:].tolist() == [1] * 112
    assert window[4:12].diff().gt(0).all()
    mirrored = edge_window(128, 16, at_start=True, at_end=False)
    assert torch.allclose(window[:16] + mirrored[-16:], torch.ones(16), atol=1e-6)


@pytest.mark.parametrize("size", [(413, 650), (411, 301), (190, 700), (33, 413)])
def test_tiles_that_end_with_the_photograph_equal_one_pass(photo, size):
    """Starts of 4 instead of 32: `local_network` pads crops further than the logits reach, also those of a strip."""
    height, width = size
    whole = photo.crop((0, 0, width, height)) if width <= photo.width else photo.resize((width, height))
    tiled = tiled_logits(whole, local_network, tile=192, overlap=64, multiple=4)
    assert tiled.shape == (1, -(-height // 4), -(-width // 4))
    expected = local_network([whole])[0, :, : tiled.shape[1], : tiled.shape[2]]
    # the last cells see the padding, of which one pass has up to 31 pixels and a tile up to 3
    seen = (..., slice(-RADIUS - 1), slice(-RADIUS - 1))
    assert torch.allclose(tiled[seen], expected[seen], atol=1e-5)


def test_a_network_without_masks_gives_logits_without_channels(photo):
    tiled = tiled_logits(photo, lambda crops: local_network(crops)[:, :0], tile=192, multiple=4)
    assert tiled.shape == (0, 104, 163)


@pytest.mark.parametrize("overlap", [48, 64, 96])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_tiles_equal_one_pass_of_a_local_network(photo, overlap, batch_size):
    tiled = tiled_logits(photo, local_network, tile=192, overlap=overlap, batch_size=batch_size)
    whole = local_network([photo])[0]
    assert tiled.shape == whole.shape == (1, 104, 168)
    assert (tiled - whole).abs().max() < 1e-5


def test_seams_stay_smooth_when_every_tile_disagrees(photo):
    counter = iter(range(100))

    def constant(crops):
        return torch.stack([torch.full((1, 48, 48), float(next(counter) % 2)) for _ in crops])

    tiled = tiled_logits(photo.resize((384, 192)), constant, tile=192, overlap=64)
    # 8 cells of raised cosine from 0 to 1: the steepest step is pi / 2 / 8
    assert tiled.min() == 0
    assert tiled.max() == 1
    assert tiled.diff(dim=-1).abs().max() < 0.21


def test_a_pixel_and_a_strip_of_pixels_run():
    assert tiled_logits(Image.new("RGB", (1, 1)), local_network, tile=64, overlap=16).shape == (1, 8, 8)
    assert tiled_logits(Image.new("RGB", (1, 300)), local_network, tile=64, overlap=16).shape == (1, 80, 8)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (255, 130), (1021, 400), (1024, 416)])
def test_strips_equal_one_upsampling(height, width):
    logits = torch.randn(1, 256, 104, generator=torch.Generator().manual_seed(1))
    whole = F.interpolate(logits[None], scale_factor=4, mode="bilinear", align_corners=False)[0, 0].sigmoid()
    strips = probabilities_in_strips(logits, height, width)
    assert strips.dtype == np.float32
    np.testing.assert_allclose(strips, whole[:height, :width].numpy(), atol=1e-6)


def test_strips_of_several_classes_are_one_minus_authentic():
    logits = torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(2))
    upsampled = F.interpolate(logits[None], scale_factor=4, mode="bilinear", align_corners=False)[0]
    np.testing.assert_allclose(probabilities_in_strips(logits, 32, 32), 1 - upsampled.softmax(0)[0], atol=1e-6)


def test_strips_refuse_more_pixels_than_there_are():
    with pytest.raises(ValueError, match="at most 32 x 32 pixels, got 33 x 32"):
        probabilities_in_strips(torch.zeros(1, 8, 8), 33, 32)
