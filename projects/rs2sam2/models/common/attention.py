"""Cross-attention over padded text or image tokens."""

import torch.nn.functional as F
from torch import Tensor, nn

from rs2sam2.models.common.linear import linear


def check_heads(dim: int, num_heads: int) -> None:
    """Raises ValueError where a width cannot be divided among so many heads."""
    if num_heads < 1 or dim % num_heads:
        raise ValueError(f'a width of {dim} cannot be divided among {num_heads} heads')


class CrossAttention(nn.MultiheadAttention):
    """`nn.MultiheadAttention` with its parameters and initialisation, computed without attention weights.

    Queries come from one sequence, keys and values from another, padded keys are masked.

    Args:
        dim: width of both sequences.
        num_heads: attention heads; must divide `dim`.
    """

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__(dim, num_heads, batch_first=True)

    def forward(
        self, query: Tensor, context: Tensor, context_mask: Tensor | None = None, residual: Tensor | None = None
    ) -> Tensor:
        """Attend from `query` to `context`.

        Args:
            query: (B, Q, C).
            context: keys and values, (B, K, C).
            context_mask: True where a key counts, (B, K) bool; None where all do.
            residual: (B, Q, C), added to the result.

        Returns:
            (B, Q, C).
        """
        q_weight, kv_weight = self.in_proj_weight.split((self.embed_dim, 2 * self.embed_dim))
        q_bias, kv_bias = self.in_proj_bias.split((self.embed_dim, 2 * self.embed_dim))
        q = linear(query, q_weight, q_bias).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
        kv = linear(context, kv_weight, kv_bias).unflatten(-1, (2, self.num_heads, -1))
        k, v = kv.permute(2, 0, 3, 1, 4).unbind(0)  # (B, heads, K, C / heads)
        mask = None if context_mask is None else context_mask[:, None, None, :]
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return linear(out.transpose(1, 2).flatten(2), self.out_proj.weight, self.out_proj.bias, residual=residual)
