"""LAVT's pixel-word attention module (arXiv 2112.02244); RMSIN calls it cross-modal alignment branch."""

import torch.nn.functional as F
from torch import Tensor, nn

from rs2sam2.models.common.attention import check_heads
from rs2sam2.structures import TextState


class PixelWordAttention(nn.Module):
    """Every pixel reads the words, with instance norms on the queries and on the result.

    The scale is dim^-1/2 with several heads too, as in the release.

    Args:
        dim: width C of the pixels.
        text_dim: width of the words.
        num_heads: attention heads; must divide `dim`.
    """

    def __init__(self, dim: int, text_dim: int = 768, num_heads: int = 1) -> None:
        super().__init__()
        check_heads(dim, num_heads)
        self.num_heads = num_heads
        self.scale = dim**-0.5
        self.query = nn.Conv1d(dim, dim, 1)
        self.key = nn.Conv1d(text_dim, dim, 1)
        self.value = nn.Conv1d(text_dim, dim, 1)
        self.out = nn.Conv1d(dim, dim, 1)

    def forward(self, pixels: Tensor, text: TextState) -> Tensor:
        """Read.

        Args:
            pixels: (B, C, N).
            text: words (B, L, text_dim) and which of them count.

        Returns:
            What each pixel read, (B, C, N).
        """
        words, mask = text.tokens.transpose(1, 2), text.mask.unsqueeze(1)
        q = self._heads(F.instance_norm(self.query(pixels)))  # (B, heads, N, C / heads)
        k = self._heads(self.key(words) * mask)
        v = self._heads(self.value(words) * mask)
        read = F.scaled_dot_product_attention(q, k, v, attn_mask=mask.unsqueeze(1), scale=self.scale)
        return F.instance_norm(self.out(read.transpose(2, 3).flatten(1, 2)))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (self.num_heads, -1)).transpose(2, 3)


class PixelWordFusion(nn.Module):
    """A map of pixels and words: the pixels, gated by what each of them read.

    Args:
        dim: width C of the pixels.
        text_dim: width of the words.
        num_heads: attention heads.
        dropout: of the pixels and of the result, in training.
    """

    def __init__(self, dim: int, text_dim: int = 768, num_heads: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        self.visual = nn.Conv1d(dim, dim, 1)
        self.attention = PixelWordAttention(dim, text_dim, num_heads)
        self.mix = nn.Conv1d(dim, dim, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, pixels: Tensor, text: TextState) -> Tensor:
        """Fuse pixels (B, N, C) and words; returns (B, N, C)."""
        x = pixels.transpose(1, 2)
        visual = self.dropout(F.gelu(self.visual(x)))
        fused = self.dropout(F.gelu(self.mix(visual * self.attention(x, text))))
        return fused.transpose(1, 2)
