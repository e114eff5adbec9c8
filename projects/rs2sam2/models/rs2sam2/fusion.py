"""Bidirectional hierarchical fusion: text and image update each other inside every backbone block.

RS2-SAM2 (https://arxiv.org/abs/2503.07266), section "Bidirectional Hierarchical Fusion Module".
"""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from rs2sam2.models.common.attention import CrossAttention
from rs2sam2.models.common.linear import Linear
from rs2sam2.structures import TextState


class PooledLinear(nn.Module):
    """Takes a `CrossAttention`'s place in an ablation: every query gets one Linear of the mean of the context.

    Args:
        dim: width of both sequences.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linear = Linear(dim, dim)

    def forward(
        self, query: Tensor, context: Tensor, context_mask: Tensor | None = None, residual: Tensor | None = None
    ) -> Tensor:
        """The arguments of `CrossAttention.forward`; the queries, (B, Q, C), say only how many there are.

        Returns:
            (B, Q, C).
        """
        if context_mask is None:
            mean = context.mean(dim=1, keepdim=True)
        else:
            weight = context_mask.unsqueeze(-1).to(context.dtype)
            mean = (context * weight).sum(dim=1, keepdim=True) / weight.sum(dim=1, keepdim=True)
        out = self.linear(mean).expand_as(query)
        return out if residual is None else residual + out


class BidirectionalFusion(nn.Module):
    """Fuse a block's attention output with the running text: the image reads the text, then the text the image.

    Args:
        dim: width d of the block's output; the fusion runs at d / 4.
        text_dim: width C of the text state.
        num_heads: heads of both cross-attentions.
        text_rate: share of the update in the new text state (alpha_t).
        update_text: False in the last block, where nothing reads the new text; its layers are kept frozen so that
            released weights convert without loss.
        reader: called with (width, heads); builds the module by which one side reads the other.
    """

    def __init__(
        self,
        dim: int,
        text_dim: int = 256,
        num_heads: int = 4,
        text_rate: float = 0.2,
        update_text: bool = True,
        reader: Callable[[int, int], nn.Module] = CrossAttention,
    ) -> None:
        super().__init__()
        inner = dim // 4
        self.text_rate = text_rate
        self.update_text = update_text
        self.down = Linear(dim, inner)
        self.text_in = Linear(text_dim, inner)
        self.image_reads_text = reader(inner, num_heads)
        self.text_reads_image = reader(inner, num_heads)
        self.up = Linear(inner, dim)
        self.text_out = Linear(inner, text_dim)
        if not update_text:
            self.text_reads_image.requires_grad_(False)
            self.text_out.requires_grad_(False)

    def forward(self, feature: Tensor, text: TextState) -> tuple[Tensor, TextState]:
        """Fuse; padded tokens are never read.

        Args:
            feature: (B * n, h, w, d), the positions of an image in any order.
            text: running text state of the B expressions.

        Returns:
            The fused feature and the new text state.
        """
        down = self.down(feature, gelu=True).view(text.tokens.shape[0], -1, self.down.out_features)
        words = self.text_in(text.tokens)
        image = self.image_reads_text(down, words, text.mask, residual=down)
        if self.update_text:
            update = self.text_out(self.text_reads_image(words, image, residual=words))
            text = text._replace(tokens=(1 - self.text_rate) * text.tokens + self.text_rate * update)
        return self.up(image.view(*feature.shape[:3], -1), residual=feature), text


READERS: dict[str, Callable[[int, int], nn.Module]] = {
    'attention': CrossAttention,
    'linear': lambda dim, num_heads: PooledLinear(dim),
}


class ParallelAdapter(nn.Module):
    """A bottleneck beside a block's MLP: rate * Linear(GELU(Linear(x))) at a quarter of the width.

    Args:
        dim: width of the block's output.
        rate: weight of the branch (alpha_i).
    """

    def __init__(self, dim: int, rate: float = 0.5) -> None:
        super().__init__()
        self.rate = rate
        self.down = Linear(dim, dim // 4)
        self.up = Linear(dim // 4, dim)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        """Map the block's normed (..., d) to the branch's output of the same shape and add the residual."""
        return residual + self.rate * self.up(self.down(x, gelu=True))


class FusionSlot(nn.Module):
    """What one backbone block takes: `fusion` before its shortcut, `adapter` beside its MLP.

    The adapter is None in a model without adapters, and once it is folded into the MLP.
    """

    def __init__(self, fusion: nn.Module, adapter: nn.Module | None) -> None:
        super().__init__()
        self.fusion = fusion
        self.adapter = adapter


class BidirectionalHierarchicalFusion(nn.Module):
    """The fusion neck (BHFM): one `FusionSlot` for every block of a `SAM2Hiera`.

    Args:
        block_dims: output width of every block; the segmentor fills it in from the backbone's `block_dims`.
        text_dim: width C of the text state.
        num_heads: heads of the cross-attentions; must divide a quarter of every width.
        text_rate: alpha_t, the share of each block's update in the text state.
        image_rate: alpha_i, the weight of the adapter beside the MLP.
        update_text: False keeps the first text state throughout (an ablation, "one-way": the image reads the text, the
            text never the image).
        reader: how the sides read each other, 'attention' or, an ablation, 'linear' (see `PooledLinear`).
        adapters: False leaves out the adapters beside the MLPs (an ablation).

    Raises:
        ValueError: no such reader.
    """

    def __init__(
        self,
        block_dims: Sequence[int],
        text_dim: int = 256,
        num_heads: int = 4,
        text_rate: float = 0.2,
        image_rate: float = 0.5,
        update_text: bool = True,
        reader: str = 'attention',
        adapters: bool = True,
    ) -> None:
        super().__init__()
        if reader not in READERS:
            raise ValueError(f'reader must be one of {sorted(READERS)}, got {reader!r}')
        last = len(block_dims) - 1
        self.slots = nn.ModuleList(
            FusionSlot(
                BidirectionalFusion(dim, text_dim, num_heads, text_rate, update_text and i != last, READERS[reader]),
                ParallelAdapter(dim, image_rate) if adapters else None,
            )
            for i, dim in enumerate(block_dims)
        )
