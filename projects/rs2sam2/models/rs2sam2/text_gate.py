"""Text gate: SAM2's stride-16 feature is multiplied by what it reads from the text (RS2-SAM2, arXiv 2503.07266)."""

from torch import Tensor, nn

from rs2sam2.models.common.attention import CrossAttention
from rs2sam2.structures import TextState


class TextGate(nn.Module):
    """F * MHA(query=F + position, key=value=text), a product without residual.

    Args:
        dim: width C of feature and text.
        num_heads: attention heads.
    """

    def __init__(self, dim: int = 256, num_heads: int = 8) -> None:
        super().__init__()
        self.attention = CrossAttention(dim, num_heads)

    def forward(self, feature: Tensor, position: Tensor, text: TextState) -> Tensor:
        """Gate a feature (B, C, h, w); `position` is (1, C, h, w), `text` the first text state."""
        query = (feature + position).flatten(2).transpose(1, 2)
        gate = self.attention(query, text.tokens, text.mask)
        return feature * gate.transpose(1, 2).view_as(feature)
