"""The composed decoder for CPU inference: batch normalisation folded in, and its wide map never whole in memory.

In evaluation mode batch normalisation is affine and joins the composed weights. The D channels of the fused map meet
again only in the last convolution, which sums over them. So they are formed a block at a time, each block small enough
for the cache: the map of 768 channels, 50 MB for a 512 x 512 image in float32, does not exist.
"""

from typing import Any

import torch
import torch.nn.functional as F

from .mlp_decoder import MLPDecoder

# A block of the fused map, its upsampled addends and the stages should stay in a core's second and third level cache;
# between 2 and 8 MiB the time was flat where it was measured (docs/performance.md).
BLOCK_BYTES = 2**22
# Channels of a block are a multiple of what one AVX-512 register holds in float32.
CHANNEL_STEP = 16


class FastMLPDecoder(MLPDecoder):
    """`MLPDecoder` for evaluation without gradients; otherwise it computes as its parent does.

    Folded weights are formed at every call, from the parameters as they are then.
    """

    def folded(self) -> tuple[list[torch.Tensor], torch.Tensor]:
        """`composed()` followed by batch normalisation with its running statistics."""
        norm = self.batch_norm
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        weights, bias = self.composed(scale)
        return weights, bias + norm.bias - scale * norm.running_mean

    def forward(
        self, encoder_hidden_states: tuple[torch.Tensor, ...], return_features: bool = True, **kwargs: Any
    ) -> tuple[torch.Tensor | None, torch.Tensor]:
        """As the parent's."""
        if self.training or torch.is_grad_enabled():
            return super().forward(encoder_hidden_states, return_features, **kwargs)
        stages = [maps.contiguous(memory_format=torch.channels_last) for maps in encoder_hidden_states]
        weights, bias = self.folded()
        if return_features:
            features = self._features(stages, weights, bias)
            return features, self.classifier(features)
        images = [[maps[index : index + 1] for maps in stages] for index in range(len(stages[0]))]
        return None, torch.cat([self._logits(image, weights, bias) for image in images])

    def _logits(self, image: list[torch.Tensor], weights: list[torch.Tensor], bias: torch.Tensor) -> torch.Tensor:
        """Logits (1, num_labels, h_1, w_1) of one image, the sum of what the blocks of channels contribute."""
        channels = _block_channels(image[0])
        blocks = [slice(start, start + channels) for start in range(0, len(bias), channels)]
        # a sum of many blocks, so at least in float32
        logits = self.classifier.bias[:, None, None].to(torch.promote_types(bias.dtype, torch.float32))
        for block in blocks:
            features = self._features(image, [weight[block] for weight in weights], bias[block])
            logits = logits + F.conv2d(features, self.classifier.weight[:, block])
        return logits.to(bias.dtype)

    @staticmethod
    def _features(stages: list[torch.Tensor], weights: list[torch.Tensor], bias: torch.Tensor) -> torch.Tensor:
        """Features of a block of channels: (B, block, h_1, w_1)."""
        features = F.conv2d(stages[0], weights[0], bias)
        for maps, weight in zip(stages[1:], weights[1:], strict=True):
            mapped = F.conv2d(maps, weight)
            features += F.interpolate(mapped, size=features.shape[-2:], mode="bilinear", align_corners=False)
        return features.relu_()


def _block_channels(finest: torch.Tensor) -> int:
    """Channels of one image's fused map that take about `BLOCK_BYTES`, for its finest stage (1, C_1, h_1, w_1)."""
    bytes_a_channel = finest[0, 0].numel() * finest.element_size()
    return max(BLOCK_BYTES // bytes_a_channel // CHANNEL_STEP, 1) * CHANNEL_STEP


__all__ = ["FastMLPDecoder"]
