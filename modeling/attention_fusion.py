"""Two image encoders in one: DINOv2's features, fused into CLIP's under the guidance of DINOv2's attention.

This is the design of the checkpoint that the authors of FakeReasoning published; the paper has CLIP alone.
"""

import torch
import torch.nn.functional as F
from torch import nn
from transformers import Dinov2Config, Dinov2Model
from transformers.models.dinov2.modeling_dinov2 import Dinov2Embeddings


class InterpolatedDinov2Embeddings(Dinov2Embeddings):
    """DINOv2's embeddings with position embeddings resized as in its original code.

    There the grid's side plus an offset gives a scale factor; transformers gives the side itself, which moves the
    sample points. Features differ by 0.07 on a small network.
    """

    def __init__(self, config: Dinov2Config, offset: float):
        super().__init__(config)
        self.offset = offset

    def interpolate_pos_encoding(self, embeddings: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """Position embeddings (1, 1 + h * w, C) of an image of `height` x `width` pixels."""
        side = round((self.position_embeddings.shape[1] - 1) ** 0.5)
        rows, columns = height // self.patch_size, width // self.patch_size
        if (rows, columns) == (side, side):
            return self.position_embeddings
        grid = self.position_embeddings[:, 1:].unflatten(1, (side, side)).permute(0, 3, 1, 2)
        factors = ((rows + self.offset) / side, (columns + self.offset) / side)
        resized = F.interpolate(grid.float(), scale_factor=factors, mode="bicubic", align_corners=False)
        resized = resized.to(grid.dtype).flatten(2).transpose(1, 2)
        return torch.cat([self.position_embeddings[:, :1], resized], dim=1)


def dino_tower(config: Dinov2Config, offset: float) -> Dinov2Model:
    """DINOv2 with the position embeddings of its original code, random weights."""
    tower = Dinov2Model(config)
    tower.embeddings = InterpolatedDinov2Embeddings(config, offset)
    return tower


def dino_features(tower: Dinov2Model, pixel_values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Run DINOv2 and look into its last layer.

    Args:
        tower: the encoder.
        pixel_values: (B, 3, H, W).

    Returns:
        Patch features before the final normalisation (B, N, C), and the last layer's attention between patches, after
        the softmax over patches and class token (B, heads, N, N).
    """
    hidden = tower.embeddings(pixel_values)
    for layer in tower.encoder.layer[:-1]:
        hidden = layer(hidden)
    last = tower.encoder.layer[-1]
    # SDPA gives no probabilities, and those of the other layers are not wanted
    normalised, attention = last.norm1(hidden), last.attention
    heads = (attention.q_proj(normalised), attention.k_proj(normalised))
    query, key = (one.unflatten(-1, (-1, attention.head_dim)).transpose(1, 2) for one in heads)
    probabilities = (query @ key.transpose(2, 3) * attention.scaling).softmax(dim=-1)
    return last(hidden)[:, 1:], probabilities[:, :, 1:, 1:]


class AttentionBiasedFusion(nn.Module):
    """One post-norm block of cross-attention from CLIP's tokens to DINOv2's, biased by DINOv2's own attention.

    ```
    DINOv2's attention ─► log ─► 1x1 ─► GELU ─► 1x1 ─► bias
    CLIP tokens (query) ────────┐                       │
    DINOv2 tokens (key, value) ─┴─► attention ◄─────────┘ ─► add, norm ─► feed forward ─► add, norm
    ```

    Args:
        hidden_size: channels of the tokens.
        num_heads: heads; also maps of bias.
        dino_heads: heads of DINOv2.
        intermediate_size: width of the feed-forward network.
        bias_channels: channels between the 1x1 convolutions.
        dropout: of attention, feed-forward network and residuals.
        layer_norm_eps: of both norms.
        attention_eps: added to probabilities before the logarithm.
    """

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        dino_heads: int,
        intermediate_size: int,
        bias_channels: int,
        dropout: float,
        layer_norm_eps: float,
        attention_eps: float,
    ):
        super().__init__()
        self.num_heads, self.dropout, self.attention_eps = num_heads, dropout, attention_eps
        self.bias_1 = nn.Conv2d(dino_heads, bias_channels, 1)
        self.bias_2 = nn.Conv2d(bias_channels, num_heads, 1)
        self.query = nn.Linear(hidden_size, hidden_size)
        self.key = nn.Linear(hidden_size, hidden_size)
        self.value = nn.Linear(hidden_size, hidden_size)
        self.output = nn.Linear(hidden_size, hidden_size)
        self.feed_forward_1 = nn.Linear(hidden_size, intermediate_size)
        self.feed_forward_2 = nn.Linear(intermediate_size, hidden_size)
        self.norm_1 = nn.LayerNorm(hidden_size, eps=layer_norm_eps)
        self.norm_2 = nn.LayerNorm(hidden_size, eps=layer_norm_eps)

    def forward(
        self, clip_tokens: torch.Tensor, dino_tokens: torch.Tensor, dino_attention: torch.Tensor
    ) -> torch.Tensor:
        """Fuse.

        Args:
            clip_tokens: (B, N, C).
            dino_tokens: (B, N, C).
            dino_attention: (B, dino_heads, N, N), probabilities.

        Returns:
            (B, N, C).
        """
        bias = self.bias_2(F.gelu(self.bias_1((dino_attention + self.attention_eps).log())))
        tokens = (self.query(clip_tokens), self.key(dino_tokens), self.value(dino_tokens))
        query, key, value = (one.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for one in tokens)
        attended = F.scaled_dot_product_attention(
            query, key, value, attn_mask=bias, dropout_p=self.dropout if self.training else 0.0
        )
        attended = self.output(attended.transpose(1, 2).flatten(2))
        fused = self.norm_1(clip_tokens + self._drop(attended))
        expanded = self.feed_forward_2(self._drop(self.feed_forward_1(fused).relu()))
        return self.norm_2(fused + self._drop(expanded))

    def _drop(self, tokens: torch.Tensor) -> torch.Tensor:
        return F.dropout(tokens, self.dropout, self.training)


__all__ = ["AttentionBiasedFusion", "InterpolatedDinov2Embeddings", "dino_features", "dino_tower"]
