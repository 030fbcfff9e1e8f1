import math

import pytest
import torch
import torch.nn.functional as F

from forgescope.modeling.high_pass import (
    BLUE_DIFFERENCE,
    ENERGY_FLOOR,
    ENERGY_SCALE,
    LUMA,
    RED_DIFFERENCE,
    SRM_KERNELS,
    HighPassFilter,
)

STD = (0.229, 0.224, 0.225)


def normalised(grey: torch.Tensor) -> torch.Tensor:
    return grey / 255 / torch.tensor(STD)[:, None, None]


def noise(height: int, width: int) -> torch.Tensor:
    return torch.randint(90, 120, (1, 3, height, width), generator=torch.Generator().manual_seed(0)).float()


def response(grey: torch.Tensor, colour: tuple[float, ...], kernel: list[list[float]]) -> torch.Tensor:
    """Correlate one mixture of the colours with a 5 x 5 kernel, pixel by pixel: (H, W)."""
    plane = sum(weight * grey[0, channel] for channel, weight in enumerate(colour))
    padded = F.pad(plane[None, None], (2, 2, 2, 2), mode="reflect")[0, 0]
    height, width = plane.shape
    result = torch.zeros(height, width)
    for row in range(height):
        for column in range(width):
            result[row, column] = (padded[row : row + 5, column : column + 5] * torch.tensor(kernel)).sum()
    return result


def local_mean(values: torch.Tensor) -> torch.Tensor:
    padded = F.pad(values[None, None], (4, 4, 4, 4), mode="reflect")[0, 0]
    height, width = values.shape
    return torch.tensor([[padded[r : r + 9, c : c + 9].mean() for c in range(width)] for r in range(height)])


def test_energy_equals_a_loop_over_pixels():
    grey = noise(12, 11)
    square = [[value / 12 for value in row] for row in SRM_KERNELS[1]]
    cross = [[value / 4 for value in row] for row in SRM_KERNELS[0]]
    narrow, wide = (0, 1 / 4, 1 / 2, 1 / 4, 0), (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
    band = [[narrow[r] * narrow[c] - wide[r] * wide[c] for c in range(5)] for r in range(5)]
    energies = [
        response(grey, LUMA, square) ** 2,
        response(grey, BLUE_DIFFERENCE, cross) ** 2 + response(grey, RED_DIFFERENCE, cross) ** 2,
        response(grey, LUMA, band) ** 2,
    ]
    nats = torch.stack([(local_mean(energy) + ENERGY_FLOOR).log() for energy in energies])
    expected = (nats - nats.mean(dim=(1, 2), keepdim=True)) / ENERGY_SCALE
    torch.testing.assert_close(
        HighPassFilter("energy", STD, 10.0, 0.25)(normalised(grey))[0], expected, rtol=0, atol=1e-4
    )


def test_twice_the_noise_is_four_times_the_energy():
    grey = noise(256, 256) - 105
    grey[..., 128:] *= 2
    maps = HighPassFilter("energy", STD, 10.0, 0.25)(normalised(grey + 128))
    step = maps[..., 136:].mean(dim=(0, 2, 3)) - maps[..., :120].mean(dim=(0, 2, 3))
    assert step.tolist() == pytest.approx([math.log(4) / ENERGY_SCALE] * 3, abs=0.1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_constant_image_is_zero_and_the_dtype_stays(dtype):
    maps = HighPassFilter("energy", STD, 10.0, 0.25).to(dtype)(normalised(torch.full((1, 3, 32, 32), 77.0)).to(dtype))
    assert maps.dtype == dtype
    assert maps.abs().max() < 1e-6
