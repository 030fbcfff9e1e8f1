"""Cross-attention whose result is pooled over the queries (GAMMA, Eq. 7 and 8)."""

import torch
import torch.nn.functional as F
from torch import nn


class PooledCrossAttention(nn.Module):
    """Pool(Attn(Q, K, V)): multi-head attention, averaged over the queries.

    The paper names the head dimension in Eq. 7 and nothing else; projections of query, key, value and output are the
    usual ones. Pooling is the mean, which commutes with the output projection, so that is applied once.

    Args:
        hidden_size: channels of queries and of keys.
        num_attention_heads: heads; a divisor of `hidden_size`.
    """

    def __init__(self, hidden_size: int, num_attention_heads: int):
        super().__init__()
        self.num_attention_heads = num_attention_heads
        self.q_proj = nn.Linear(hidden_size, hidden_size)
        self.k_proj = nn.Linear(hidden_size, hidden_size)
        self.v_proj = nn.Linear(hidden_size, hidden_size)
        self.o_proj = nn.Linear(hidden_size, hidden_size)

    def forward(self, query: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """Attend and pool.

        With a single context token the softmax has one entry, which is 1 whatever the query: queries and keys are
        then not computed, and `q_proj` and `k_proj` get no gradient, as they would get a zero one.

        Args:
            query: (B, N, C).
            context: (B, M, C), keys and values.

        Returns:
            (B, C).
        """
        value = self.v_proj(context)
        if context.shape[1] == 1:
            return self.o_proj(value[:, 0])
        attended = F.scaled_dot_product_attention(
            self._heads(self.q_proj(query)), self._heads(self.k_proj(context)), self._heads(value)
        )
        return self.o_proj(attended.mean(dim=2).flatten(1))

    def _heads(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B, N, C) to (B, heads, N, C / heads)."""
        return tokens.unflatten(-1, (self.num_attention_heads, -1)).transpose(1, 2)


__all__ = ["PooledCrossAttention"]
