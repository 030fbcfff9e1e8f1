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


class HighPassFilter(nn.Module):
    """Three maps of high frequencies in [-1, 1] from normalised pixels.

    Args:
        kind: "srm" (each map one kernel, averaged over the colours), "residual" (colour minus its blur) or "fft"
            (colour without the frequencies below `cutoff`).
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
        """Kernels that turn normalised pixels into residuals in grey levels: (3, 3, 5, 5) float32."""
        grey_levels = torch.tensor(self.image_std) * GREY_LEVELS
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
        return residual.clamp(-self.clip, self.clip) / self.clip

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
