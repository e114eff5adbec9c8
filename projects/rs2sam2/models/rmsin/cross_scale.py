"""RMSIN's cross-scale interaction module (arXiv 2312.12470): the four stages talk on the coarsest grid."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STRIDE = 32


class Residual(nn.Module):
    """A module's output, added to its input."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        """x + module(x)."""
        return x + self.module(x)


class FeedForward(nn.Sequential):
    """A convolutional MLP on a map; no norm stands after its 3 x 3, which has `dim` groups.

    Args:
        dim: width outside.
        hidden_dim: width inside, a multiple of `dim`.
    """

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__(
            nn.BatchNorm2d(dim),
            nn.Conv2d(dim, hidden_dim, 1),
            nn.BatchNorm2d(hidden_dim),
            nn.Conv2d(hidden_dim, hidden_dim, 3, padding=1, groups=dim),
            nn.ReLU6(),
            nn.Conv2d(hidden_dim, dim, 1),
        )


class WithinScales(nn.Module):
    """Each stage's channels through a residual MLP of their own.

    It stands inside a residual itself, so that the input counts twice, as in the release.

    Args:
        parts: widths, which add up to the input's.
    """

    def __init__(self, parts: Sequence[int]) -> None:
        super().__init__()
        self.parts = tuple(parts)
        self.scales = nn.ModuleList(Residual(FeedForward(part, 2 * part)) for part in parts)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, c, g, g) to (B, c, g, g)."""
        parts = x.split(self.parts, dim=1)
        return torch.cat([scale(part) for scale, part in zip(self.scales, parts, strict=True)], dim=1)


class TokenAttention(nn.Module):
    """Self-attention over the tokens of three grids, read out on the finest.

    Two tensors are read again in their order in memory with other axes, where one would expect a transpose. Trained
    weights carry that, so it stays: each such line says `view`.

    Args:
        dim: width c of the tokens.
        side: g, of the finest grid.
        num_tokens: n, of all three grids.
        num_heads: h.
        key_dim: width of a head's queries and keys; its values are twice as wide.
    """

    def __init__(self, dim: int, side: int, num_tokens: int, num_heads: int = 8, key_dim: int = 32) -> None:
        super().__init__()
        self.side = side
        self.num_heads = num_heads
        self.widths = (key_dim, key_dim, 2 * key_dim)
        inner = num_heads * 2 * key_dim
        self.qkv = nn.Linear(dim, 2 * inner, bias=False)
        self.norm = nn.BatchNorm1d(2 * inner)
        self.gather = nn.Linear(num_tokens, side**2)
        self.local = nn.Sequential(nn.Hardswish(), nn.Conv2d(inner, inner, 3, padding=1, groups=inner))
        self.out = nn.Linear(inner, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (B, n, c), the finest grid first, to (B, g^2, c)."""
        (batch, count), side = tokens.shape[:2], self.side
        qkv = self.norm(self.qkv(tokens).flatten(0, 1)).view(batch, count, self.num_heads, -1)
        q, k, v = qkv.transpose(1, 2).split(self.widths, dim=-1)  # (B, h, n, 32 or 64)
        read = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).contiguous().view(batch, -1, count)
        values = v[:, :, : side**2].contiguous().view(batch, -1, side, side)
        return self.out((self.gather(read) + self.local(values).flatten(2)).transpose(1, 2))


class AcrossScales(nn.Module):
    """Attention between a map and two coarser ones made from it.

    Args:
        dim: width c of the map.
        side: g, its side.
        num_heads: attention heads.
        key_dim: width of a head's queries and keys.
    """

    def __init__(self, dim: int, side: int, num_heads: int = 8, key_dim: int = 32) -> None:
        super().__init__()
        self.side = side
        self.norm = nn.BatchNorm2d(dim)
        self.coarse = self._depthwise(dim, 3, stride=2)
        self.coarser = self._depthwise(dim, 5, stride=3)
        num_tokens = side**2 + ((side - 1) // 2 + 1) ** 2 + ((side - 1) // 3 + 1) ** 2
        self.attention = TokenAttention(dim, side, num_tokens, num_heads, key_dim)
        self.out = nn.Sequential(nn.BatchNorm2d(dim), nn.Hardswish(), nn.Conv2d(dim, dim, 1))

    @staticmethod
    def _depthwise(dim: int, kernel_size: int, stride: int) -> nn.Sequential:
        conv = nn.Conv2d(dim, dim, kernel_size, stride, padding=kernel_size // 2, groups=dim)
        return nn.Sequential(conv, nn.BatchNorm2d(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, c, g, g) to (B, c, g, g)."""
        x = self.norm(x)
        tokens = torch.cat([one.flatten(2) for one in (x, self.coarse(x), self.coarser(x))], dim=2).transpose(1, 2)
        return self.out(self.attention(tokens).transpose(1, 2).unflatten(2, (self.side, self.side)))


def hard_sigmoid(x: Tensor) -> Tensor:
    """min(max(x + 3, 0), 6) / 6; torch's own has a sixth in single precision in its gradient, in float64 too."""
    return F.relu6(x + 3) / 6


class Inject(nn.Module):
    """Give a stage's map what its scale heard from the others: a gate and a summand, upsampled.

    Args:
        dim: width of the map.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.local, self.gate, self.add = (nn.Sequential(nn.Conv2d(dim, dim, 1), nn.BatchNorm2d(dim)) for _ in range(3))

    def forward(self, local: Tensor, heard: Tensor) -> Tensor:
        """Join a map (B, C, H, W) and what was heard (B, C, g, g); returns (B, C, H, W)."""
        gate, add = (
            F.interpolate(one, size=local.shape[-2:], mode='bilinear', align_corners=False)
            for one in (hard_sigmoid(self.gate(heard)), self.add(heard))
        )
        return self.local(local) * gate + add


class CrossScaleInteraction(nn.Module):
    """RMSIN's neck: average all stages to the coarsest grid, let them attend to each other, give each its share back.

    Args:
        in_channels: width of each stage's map, finest first; each a multiple of 4.
        image_size: side of the square input; the weights of the attention hang on it.
        num_blocks: blocks of attention and MLPs.
        num_heads: attention heads.
        key_dim: width of a head's queries and keys.

    Raises:
        ValueError: `image_size` is no multiple of 32.
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (128, 256, 512, 1024),
        image_size: int = 480,
        num_blocks: int = 1,
        num_heads: int = 8,
        key_dim: int = 32,
    ) -> None:
        super().__init__()
        if image_size % STRIDE:
            raise ValueError(f'image_size={image_size}: must be a multiple of {STRIDE}')
        self.in_channels = tuple(in_channels)
        self.side = image_size // STRIDE
        parts = [channels // 4 for channels in in_channels]
        dim = sum(parts)
        self.down = nn.Conv2d(sum(in_channels), dim, 1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                Residual(AcrossScales(dim, self.side, num_heads, key_dim)),
                Residual(WithinScales(parts)),
                Residual(AcrossScales(dim, self.side, num_heads, key_dim)),
                Residual(FeedForward(dim, 2 * dim)),
            )
            for _ in range(num_blocks)
        )
        self.up = nn.Sequential(nn.BatchNorm2d(dim), nn.Conv2d(dim, sum(in_channels), 1))
        self.inject = nn.ModuleList(Inject(channels) for channels in in_channels)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, pyramid: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Let maps (B, C_i, H_i, W_i), finest first, talk; returns maps of the same shapes.

        Raises:
            ValueError: the coarsest map has another side than `image_size` gives.
        """
        grid = (self.side, self.side)
        if pyramid[-1].shape[-2:] != grid:
            raise ValueError(
                f'the coarsest map is {tuple(pyramid[-1].shape[-2:])}, the weights are for an input of '
                f'{STRIDE * self.side} x {STRIDE * self.side}'
            )
        x = self.down(torch.cat([F.adaptive_avg_pool2d(one, grid) for one in pyramid], dim=1))
        for block in self.blocks:
            x = block(x)
        heard = self.up(x).split(self.in_channels, dim=1)
        return tuple(inject(*pair) for inject, *pair in zip(self.inject, pyramid, heard, strict=True))
