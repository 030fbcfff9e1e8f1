import pytest
import torch
import torch.nn.functional as F

from forgescope.modeling.high_pass import HighPassFilter

STD = (0.229, 0.224, 0.225)
CLIP = 10.0
# figure 3 of Zhou et al. 2018, written down again
SRM = (
    torch.tensor([[0, 0, 0, 0, 0], [0, -1, 2, -1, 0], [0, 2, -4, 2, 0], [0, -1, 2, -1, 0], [0, 0, 0, 0, 0]]) / 4,
    torch.tensor([[-1, 2, -2, 2, -1], [2, -6, 8, -6, 2], [-2, 8, -12, 8, -2], [2, -6, 8, -6, 2], [-1, 2, -2, 2, -1]])
    / 12,
    torch.tensor([[0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 1, -2, 1, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]]) / 2,
)


def normalised(grey: torch.Tensor) -> torch.Tensor:
    """Grey levels 0..255 (B, 3, H, W) as the image processor hands them over; the mean does not matter here."""
    return grey / 255 / torch.tensor(STD)[:, None, None]


def make(kind: str, clip: float = CLIP, cutoff: float = 0.25) -> HighPassFilter:
    return HighPassFilter(kind, STD, clip, cutoff)


@pytest.fixture
def grey():
    return torch.randint(100, 110, (2, 3, 9, 8), generator=torch.Generator().manual_seed(0)).float()


def test_srm_equals_a_loop_over_pixels(grey):
    padded = F.pad(grey, (2, 2, 2, 2), mode="reflect")
    expected = torch.zeros(2, 3, 9, 8)
    for image in range(2):
        for kernel, weights in enumerate(SRM):
            for row in range(9):
                for column in range(8):
                    window = padded[image, :, row : row + 5, column : column + 5].mean(dim=0)
                    expected[image, kernel, row, column] = (window * weights).sum().clamp(-CLIP, CLIP) / CLIP
    torch.testing.assert_close(make("srm")(normalised(grey)), expected, rtol=0, atol=1e-5)


def test_residual_equals_a_loop_over_pixels(grey):
    weights = torch.tensor([1.0, 4, 6, 4, 1]) / 16
    padded = F.pad(grey, (2, 2, 2, 2), mode="reflect")
    expected = torch.zeros_like(grey)
    for row in range(9):
        for column in range(8):
            window = padded[:, :, row : row + 5, column : column + 5]
            blur = torch.einsum("bcij,i,j->bc", window, weights, weights)
            expected[:, :, row, column] = (grey[:, :, row, column] - blur).clamp(-CLIP, CLIP) / CLIP
    torch.testing.assert_close(make("residual")(normalised(grey)), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("period", "kept"), [(8, False), (3, True)])
def test_fft_keeps_waves_above_the_cutoff_only(period, kept):
    # a cosine of `period` pixels has the frequency 1 / period
    wave = 4 * torch.cos(2 * torch.pi * torch.arange(24.0) / period).expand(1, 3, 24, 24)
    residual = make("fft")(normalised(128 + wave))
    torch.testing.assert_close(residual, wave / CLIP if kept else torch.zeros_like(wave), rtol=0, atol=1e-5)


def test_fft_accepts_odd_sizes(grey):
    assert make("fft")(normalised(grey[:, :, :7, :5])).shape == (2, 3, 7, 5)


@pytest.mark.parametrize("kind", ["srm", "residual", "fft", "energy"])
@pytest.mark.parametrize("level", [0.0, 255.0])
def test_a_constant_image_has_no_high_frequencies(kind, level):
    residual = make(kind)(normalised(torch.full((1, 3, 32, 32), level)))
    assert residual.abs().max() < 1e-5


@pytest.mark.parametrize("kind", ["srm", "residual", "fft"])
def test_output_is_clipped_and_keeps_the_dtype(kind):
    noise = 255 * torch.randint(0, 2, (1, 3, 32, 32), generator=torch.Generator().manual_seed(0)).float()
    residual = make(kind)(normalised(noise))
    assert residual.abs().max() == 1
    assert make(kind).to(torch.bfloat16)(normalised(noise).to(torch.bfloat16)).dtype == torch.bfloat16


def test_srm_kernels_are_scaled_to_grey_levels():
    weight = make("srm").weight
    assert weight.shape == (3, 3, 5, 5)
    # third kernel, centre, red: -2 / 2, one third of a colour, deviation in grey levels
    assert weight[2, 0, 2, 2].item() == pytest.approx(-1 / 3 * 0.229 * 255, rel=1e-6)
    assert weight.sum(dim=(2, 3)).abs().max() < 1e-5
