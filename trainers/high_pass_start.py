"""A start for encoders without pre-trained weights: some filters of the first layer begin as high-pass filters.

What an edit leaves behind are changes of a few grey levels from pixel to pixel. Random filters answer to brightness
and edges instead, a hundred times as strongly, and small training sets do not teach them otherwise; filters that were
pre-trained on photographs do not need this. Not given in any of the papers, which all start from ImageNet weights.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

# Second differences in both directions, once for each colour.
LAPLACIAN = ((0.0, -1.0, 0.0), (-1.0, 4.0, -1.0), (0.0, -1.0, 0.0))


@dataclass(frozen=True)
class StartConfig:
    """How weights that are not loaded begin.

    Args:
        high_pass_gain: Euclidean norm of each high-pass filter; `None` leaves the filters as the model draws them.
        high_pass_share: Share of the first layer's filters that begin as high-pass filters, in (0, 1].
    """

    high_pass_gain: float | None = None
    high_pass_share: float = 0.75

    def __post_init__(self) -> None:
        if self.high_pass_gain is not None and self.high_pass_gain <= 0:
            raise ValueError(f"start.high_pass_gain must be above 0 (or null), got {self.high_pass_gain}")
        if not 0 < self.high_pass_share <= 1:
            raise ValueError(f"start.high_pass_share must lie in (0, 1], got {self.high_pass_share}")


def first_convolution(network: nn.Module) -> nn.Conv2d:
    """The convolution that sees the image: of an encoder or of a backbone."""
    return next(module for module in network.modules() if isinstance(module, nn.Conv2d))


@torch.no_grad()
def start_with_high_pass(convolution: nn.Conv2d, config: StartConfig) -> None:
    """Make the last filters of a convolution random high-pass filters, in place.

    Each is white noise filtered by the Laplacian: its answer to a constant and to a linear ramp is zero. Nothing
    happens when `config.high_pass_gain` is None. The draw follows torch's global seed.

    Args:
        convolution: with filters of at least 3 x 3 pixels; see `first_convolution`.
        config: how many, and how strong.

    Raises:
        ValueError: If the filters are smaller than 3 x 3 pixels.
    """
    if config.high_pass_gain is None:
        return
    weight = convolution.weight
    filters, colours, height, width = weight.shape
    if min(height, width) < len(LAPLACIAN):
        raise ValueError(
            f"start.high_pass_gain needs a first layer with filters of at least 3 x 3 pixels, got {height} x {width}: "
            "leave it out"
        )
    count = round(filters * config.high_pass_share)
    # a margin of two pixels: "full" convolution with 3 x 3 then fills the filter exactly
    noise = F.pad(torch.randn(count, colours, height - 2, width - 2), (2, 2, 2, 2))
    kernel = torch.tensor(LAPLACIAN).expand(colours, 1, 3, 3)
    high_pass = F.conv2d(noise, kernel, groups=colours)
    norm = high_pass.flatten(1).norm(dim=1)[:, None, None, None]
    weight[filters - count :] = (config.high_pass_gain * high_pass / norm).to(weight)
