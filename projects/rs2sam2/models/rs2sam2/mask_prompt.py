"""Mask prompt generator: a coarse pseudo-mask from the union encoder's tokens (RS2-SAM2, arXiv 2503.07266)."""

from torch import Tensor, nn

from rs2sam2.models.common.attention import CrossAttention


class MaskPromptGenerator(nn.Module):
    """Turn the multimodal CLS token and the patches into a pseudo-mask, SAM2's dense prompt.

    Args:
        dim: width D of the union encoder.
        num_heads: heads of the cross-attention.
        cross_attention: False maps the CLS token alone, without what it reads from the patches (an ablation).
    """

    def __init__(self, dim: int = 1024, num_heads: int = 8, cross_attention: bool = True) -> None:
        super().__init__()
        self.attention = CrossAttention(dim, num_heads) if cross_attention else None
        self.mix = nn.Linear(dim, dim)
        self.score = nn.Linear(dim, 1)

    def forward(self, cls: Tensor, patches: Tensor) -> Tensor:
        """Score every patch.

        Args:
            cls: (B, 1, D).
            patches: (B, N, D), a square grid row by row.

        Returns:
            Foreground probabilities, (B, 1, sqrt N, sqrt N).
        """
        mixed = self.mix(cls if self.attention is None else cls * self.attention(cls, patches))
        side = int(patches.shape[1] ** 0.5)
        return self.score(patches * mixed).sigmoid().view(-1, 1, side, side)
