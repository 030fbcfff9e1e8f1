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

    def forward(self, query: torch.Tensor | None, context: torch.Tensor) -> torch.Tensor:
        """Attend and pool.

        With a single context token the softmax has one entry, which is 1 whatever the query: queries and keys are
        then not computed, and `q_proj` and `k_proj` get no gradient, as they would get a zero one.

        Args:
            query: (B, N, C); not looked at, and may be None, where there is one context token.
            context: (B, M, C), keys and values.

        Returns:
            (B, C).
        """
        if context.shape[1] == 1:
            return self.o_proj(self.v_proj(context)[:, 0])
        if query is None:
            raise ValueError(f"{context.shape[1]} context tokens need queries of shape (B, N, C), got None")
        if query.shape[1] == 1:
            return self.o_proj(self._attend_from_one(query, context))
        attended = F.scaled_dot_product_attention(
            self._heads(self.q_proj(query)), self._heads(self.k_proj(context)), self._heads(self.v_proj(context))
        )
        return self.o_proj(attended.mean(dim=2).flatten(1))

    def _attend_from_one(self, query: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """Attend from one query, (B, 1, C) and (B, M, C) to (B, C), without a key or a value for every token.

        q (W_k x + b_k) is (q W_k) x plus a constant, which the softmax does not see; the values' projection commutes
        with the weighted mean, whose weights sum to 1. The cost in M then falls from C to the number of heads.
        """
        queries = self._heads(self.q_proj(query))
        key_weight, value_weight = (
            layer.weight.unflatten(0, (self.num_attention_heads, -1)) for layer in (self.k_proj, self.v_proj)
        )
        scores = (queries @ key_weight).squeeze(2) @ context.transpose(1, 2)
        attended = (scores / queries.shape[-1] ** 0.5).softmax(dim=-1) @ context
        values = attended[:, :, None] @ value_weight.transpose(1, 2)
        return values.flatten(1) + self.v_proj.bias

    def _heads(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B, N, C) to (B, heads, N, C / heads)."""
        return tokens.unflatten(-1, (self.num_attention_heads, -1)).transpose(1, 2)


__all__ = ["PooledCrossAttention"]
