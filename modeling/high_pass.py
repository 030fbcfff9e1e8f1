"""High-frequency input of the noise stream (PromptForge-350k, section 5.1; the filter is not given in the paper)."""

import torch
import torch.nn.functional as F
from torch import nn

# Three residual kernels of the spatial rich model (Fridrich & Kodovsky 2012), chosen and scaled as in
# Zhou et al., "Learning Rich Features for Image Manipulation Detection" (CVPR 2018), figure 3.
SRM_KERNELS = (
    ((0, 0, 0, 0, 0), (0, -1, 2, -1, 0), (0, 2, -4, 2, 0), (0, -1, 2, -1, 0), (0, 0, 0, 0, 0)),
    ((-1, 2, -2, 2, -1), (2, -6, 8, -6, 2), (-2, 8, -12, 8, -2), (2, -6, 8, -6, 2), (-1, 2, -2, 2, -1)),
    ((0, 0, 0, 0, 0), (0, 0, 0, 0, 0), (0, 1, -2, 1, 0), (0, 0, 0, 0, 0), (0, 0, 0, 0, 0)),
)
SRM_DIVISORS = (4, 12, 2)
# Binomial approximation of a Gaussian, sigma 1 pixel.
BLUR_KERNEL = (1, 4, 6, 4, 1)
GREY_LEVELS = 255.0
# ITU-R BT.601: luma, blue and red difference of R, G, B, as JPEG separates them.
LUMA = (0.299, 0.587, 0.114)
BLUE_DIFFERENCE = (-0.1687, -0.3313, 0.5)
RED_DIFFERENCE = (0.5, -0.4187, -0.0813)
ENERGY_WINDOW = 9  # pixels, side of the square in which energy is averaged
ENERGY_FLOOR = 0.05  # squared grey levels, added before the logarithm
ENERGY_SCALE = 2.0  # nats that become 1


class HighPassFilter(nn.Module):
    """Three maps of high frequencies in [-1, 1] from normalised pixels.

    Args:
        kind: "srm" (each map one kernel, averaged over the colours), "residual" (colour minus its blur), "fft"
            (colour without the frequencies below `cutoff`) or "energy" (how strong high frequencies are around a
            pixel, compared with the rest of the image, in nats / 2: of luma, of both colour differences, and of
            luma's middle band; unlike the others it is not cut off).
        image_std: What the image processor divided each colour by.
        clip: Grey levels (of 255) at which high frequencies are cut off; the output is divided by it.
        cutoff: For "fft", lowest frequency kept, in cycles a pixel.

    Shape:
        (B, 3, H, W) to (B, 3, H, W).
    """

    def __init__(self, kind: str, image_std: tuple[float, ...], clip: float, cutoff: float):
        super().__init__()
        self.kind, self.clip, self.cutoff = kind, clip, cutoff
        self.image_std = tuple(image_std)
        # Persistent, because transformers leaves other buffers uninitialised in from_pretrained.
        if kind != "fft":
            self.register_buffer("weight", self.initial_weight())

    def initial_weight(self) -> torch.Tensor:
        """Kernels that turn normalised pixels into residuals in grey levels: (3 or 4, 3, 5, 5) float32."""
        grey_levels = torch.tensor(self.image_std) * GREY_LEVELS
        if self.kind == "energy":
            return self._energy_weight() * grey_levels[None, :, None, None]
        if self.kind == "srm":
            kernels = torch.tensor(SRM_KERNELS, dtype=torch.float32) / torch.tensor(SRM_DIVISORS)[:, None, None]
            return kernels[:, None] * (grey_levels / len(grey_levels))[None, :, None, None]
        blur = torch.tensor(BLUR_KERNEL, dtype=torch.float32)
        blur = torch.outer(blur, blur) / blur.sum() ** 2
        residual = -blur
        residual[2, 2] += 1
        return torch.diag(grey_levels)[:, :, None, None] * residual

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Filter; borders are mirrored so that they do not look like edges."""
        if self.kind == "fft":
            residual = self._above_cutoff(pixel_values)
        else:
            residual = F.conv2d(F.pad(pixel_values, (2, 2, 2, 2), mode="reflect"), self.weight.to(pixel_values.dtype))
        if self.kind == "energy":
            return self._relative_energy(residual.float()).to(pixel_values.dtype)
        return residual.clamp(-self.clip, self.clip) / self.clip

    @staticmethod
    def _energy_weight() -> torch.Tensor:
        """Kernels for luma, blue and red difference, and luma's middle band: (4, 3, 5, 5)."""
        cross, square, _ = torch.tensor(SRM_KERNELS, dtype=torch.float32) / torch.tensor(SRM_DIVISORS)[:, None, None]
        narrow, wide = torch.tensor((0.0, 1.0, 2.0, 1.0, 0.0)), torch.tensor(BLUR_KERNEL, dtype=torch.float32)
        band = torch.outer(narrow, narrow) / narrow.sum() ** 2 - torch.outer(wide, wide) / wide.sum() ** 2
        kernels = torch.stack([square, cross, cross, band])
        colours = torch.tensor([LUMA, BLUE_DIFFERENCE, RED_DIFFERENCE, LUMA])
        return kernels[:, None] * colours[:, :, None, None]

    def _relative_energy(self, residual: torch.Tensor) -> torch.Tensor:
        """(B, 4, H, W) residuals to (B, 3, H, W): local log energy less its mean over the image."""
        margin = ENERGY_WINDOW // 2
        energy = self._window_means(F.pad(residual.square(), [margin] * 4, mode="reflect"))
        energy = torch.stack([energy[:, 0], energy[:, 1] + energy[:, 2], energy[:, 3]], dim=1)
        nats = (energy + ENERGY_FLOOR).log()
        return (nats - nats.mean(dim=(-2, -1), keepdim=True)) / ENERGY_SCALE

    @staticmethod
    def _window_means(energy: torch.Tensor) -> torch.Tensor:
        """Average over every square of `ENERGY_WINDOW` pixels: (B, C, H, W), no padding."""
        return F.avg_pool2d(energy, ENERGY_WINDOW, stride=1)

    def _above_cutoff(self, pixel_values: torch.Tensor) -> torch.Tensor:
        height, width = pixel_values.shape[-2:]
        spectrum = torch.fft.rfft2(pixel_values.float())
        vertical = torch.fft.fftfreq(height, device=pixel_values.device)[:, None]
        horizontal = torch.fft.rfftfreq(width, device=pixel_values.device)[None, :]
        keep = (vertical**2 + horizontal**2).sqrt() >= self.cutoff
        residual = torch.fft.irfft2(spectrum * keep, s=(height, width))
        scale = torch.tensor(self.image_std, device=residual.device)[:, None, None] * GREY_LEVELS
        return (residual * scale).to(pixel_values.dtype)


__all__ = ["HighPassFilter"]
