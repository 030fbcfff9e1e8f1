"""SegFormer's decoder with its linear layers composed: the same numbers, a fraction of the arithmetic.

Between the per-stage projections (Eq. 1 of GAMMA), bilinear upsampling, concatenation (Eq. 2) and the fusing 1x1
convolution lies no non-linearity, and a 1x1 convolution commutes with bilinear interpolation. So

    fuse(concat_i(up(project_i(F_i)))) = sum_i up((W_fuse,i W_i) F_i + W_fuse,i b_i),

where W_fuse,i are the columns of the fusing convolution that meet stage i. The products are small and are formed on
the fly, so that training reaches the same parameters; each stage is then mapped at its own resolution.

Maps are kept in channels_last: a 1x1 convolution is then a matrix product, and upsampling several times as fast.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import SegformerConfig
from transformers.models.segformer.modeling_segformer import SegformerDecodeHead


class MLPDecoder(SegformerDecodeHead):
    """One segmentation head: parameters and results of transformers' `SegformerDecodeHead`.

    Args:
        encoder_config: of the encoder whose stages it reads.
        hidden_size: channels of the decoder.
        dropout: before the last convolution.
        num_labels: channels of the logits.
    """

    def __init__(self, encoder_config: SegformerConfig, hidden_size: int, dropout: float, num_labels: int = 1):
        settings: dict[str, Any] = encoder_config.to_dict() | {
            "decoder_hidden_size": hidden_size,
            "classifier_dropout_prob": dropout,
            "reshape_last_stage": True,
            "id2label": {index: str(index) for index in range(num_labels)},
        }
        settings.pop("label2id", None)
        super().__init__(SegformerConfig.from_dict(settings))
        self.activation = nn.ReLU(inplace=True)  # batch normalisation keeps its input, not its result

    def composed(self, scale: torch.Tensor | None = None) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Weight (D, C_i, 1, 1) of each stage, and the bias (D,) of all of them; `scale` (D,) multiplies both."""
        fuse = self.linear_fuse.weight.flatten(1)
        if scale is not None:
            fuse = scale[:, None] * fuse
        # the finest stage comes last in SegFormer's concatenation
        columns_of_stage = fuse.chunk(len(self.linear_projections), dim=1)[::-1]
        weights, biases = [], []
        for columns, projection in zip(columns_of_stage, self.linear_projections, strict=True):
            weights.append((columns @ projection.proj.weight)[:, :, None, None])
            biases.append(columns @ projection.proj.bias)
        return weights, torch.stack(biases).sum(dim=0)

    def forward(
        self, encoder_hidden_states: tuple[torch.Tensor, ...], return_features: bool = True, **kwargs: Any
    ) -> tuple[torch.Tensor | None, torch.Tensor]:
        """Decode the stages of the encoder.

        Args:
            encoder_hidden_states: (B, C_i, h_i, w_i) of every stage, finest first.
            return_features: whether the caller reads the features.
            **kwargs: Ignored.

        Returns:
            Features (B, D, h_1, w_1) after normalisation, ReLU and dropout (F_Dec, Eq. 3), or None where they are not
            wanted, and logits (B, num_labels, h_1, w_1).
        """
        weights, bias = self.composed()
        finest, *coarser = (maps.contiguous(memory_format=torch.channels_last) for maps in encoder_hidden_states)
        fused = F.conv2d(finest, weights[0], bias)
        for weight, hidden_states in zip(weights[1:], coarser, strict=True):
            mapped = F.conv2d(hidden_states, weight)
            # in place: nothing needs the sum as it was before
            fused += F.interpolate(mapped, size=fused.shape[-2:], mode="bilinear", align_corners=False)
        features = self.dropout(self.activation(self.batch_norm(fused)))
        return features if return_features else None, self.classifier(features)


__all__ = ["MLPDecoder"]
