"""SAM2's image encoder (Hiera trunk and FPN neck) with one opening in every block for a fusion neck.

Hiera: https://arxiv.org/abs/2306.00989; SAM 2: https://arxiv.org/abs/2408.00714. Layers and parameter names are those
of the sam2 package; its `MultiScaleBlock.forward` has no opening between attention and shortcut, hence the block here.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from sam2.modeling.backbones.hieradet import do_pool
from sam2.modeling.backbones.utils import PatchEmbed, window_partition, window_unpartition
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from rs2sam2.models.common.attention import check_heads
from rs2sam2.models.common.linear import Linear
from rs2sam2.models.common.parts import in_parts
from rs2sam2.structures import TextState

# The numbers of the sam2 package's own yaml files.
ARCHITECTURES: dict[str, dict[str, Any]] = {
    'tiny': dict(
        embed_dim=96, num_heads=1, stages=(1, 2, 7, 2), global_blocks=(5, 7, 9), windows=(8, 4, 14, 7), background=7
    ),
    'small': dict(
        embed_dim=96, num_heads=1, stages=(1, 2, 11, 2), global_blocks=(7, 10, 13), windows=(8, 4, 14, 7), background=7
    ),
    'base-plus': dict(
        embed_dim=112, num_heads=2, stages=(2, 3, 16, 3), global_blocks=(12, 16, 20), windows=(8, 4, 14, 7),
        background=14,
    ),
    'large': dict(
        embed_dim=144, num_heads=2, stages=(2, 6, 36, 4), global_blocks=(23, 33, 43), windows=(8, 4, 16, 8),
        background=7,
    ),
}  # fmt: skip


class WindowAttention(nn.Module):
    """Self-attention within each (h, w) of a batch; queries are max-pooled 2 x 2 where a stage begins.

    Args:
        dim: input width.
        dim_out: output width.
        num_heads: attention heads.
        pool: pooling of the queries, or None.
    """

    def __init__(self, dim: int, dim_out: int, num_heads: int, pool: nn.Module | None) -> None:
        super().__init__()
        check_heads(dim_out, num_heads)
        self.num_heads = num_heads
        self.pool = pool
        self.qkv = Linear(dim, 3 * dim_out)
        self.proj = Linear(dim_out, dim_out)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, h, w, d_in) to (n, h', w', d)."""
        qkv = self.qkv(x).flatten(1, 2).unflatten(-1, (3, self.num_heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # (n, heads, h w, d / heads)
        height, width = x.shape[1:3]
        if self.pool is not None:
            height, width = height // 2, width // 2
            q = q.transpose(1, 2).reshape(*x.shape[:3], -1)
            q = do_pool(q, self.pool).flatten(1, 2).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
        out = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.proj(out).unflatten(1, (height, width))


class MLP(nn.Module):
    """Linear, GELU, Linear."""

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList((Linear(dim, hidden_dim), Linear(hidden_dim, dim)))

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        """Map (..., d) to (..., d) and add the residual."""
        return in_parts(self._forward, x.flatten(0, -2), residual.flatten(0, -2)).view_as(residual)

    def _forward(self, x: Tensor, residual: Tensor) -> Tensor:
        return self.layers[1](self.layers[0](x, gelu=True), residual=residual)


class HieraBlock(nn.Module):
    """A Hiera block: windowed attention, query pooling where a stage begins, MLP; optionally a fusion slot.

    Args:
        dim: input width.
        dim_out: output width.
        num_heads: attention heads.
        window: side of an attention window, 0 for global attention.
        pool: whether queries are max-pooled 2 x 2.
    """

    def __init__(self, dim: int, dim_out: int, num_heads: int, window: int, pool: bool) -> None:
        super().__init__()
        self.dim_out = dim_out
        self.window = window
        self.pool = nn.MaxPool2d(2, 2) if pool else None
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = WindowAttention(dim, dim_out, num_heads, self.pool)
        self.norm2 = nn.LayerNorm(dim_out, eps=1e-6)
        self.mlp = MLP(dim_out, 4 * dim_out)
        self.proj = Linear(dim, dim_out) if dim != dim_out else None

    def attend(self, x: Tensor) -> Tensor:
        """Attention within windows: over each (h, w) of the batch where these are windows, else padded windows."""
        if self.window in (0, x.shape[1]):
            return in_parts(self.attn, x)
        height, width = x.shape[1:3]
        windows, (padded_height, padded_width) = window_partition(x, self.window)
        stride = 2 if self.pool else 1
        return window_unpartition(
            in_parts(self.attn, windows),
            self.window // stride,
            (padded_height // stride, padded_width // stride),
            (height // stride, width // stride),
        )

    def forward(
        self, x: Tensor, slot: nn.Module | None = None, text: TextState | None = None
    ) -> tuple[Tensor, TextState | None]:
        """Map (n, h, w, d_in) to (n, h', w', d), and the text state to the next block's.

        n counts images, or their windows one image after the other.
        """
        normed = self.norm1(x)
        shortcut = x if self.proj is None else do_pool(self.proj(normed), self.pool)
        attended = self.attend(normed)
        if slot is not None:
            attended, text = slot.fusion(attended, text)
        x = shortcut + attended
        del shortcut, attended  # room for the MLP
        normed = self.norm2(x)
        out = self.mlp(normed, residual=x)
        # In a model folded for inference the adapter is a part of the MLP.
        if slot is not None and slot.adapter is not None:
            out = slot.adapter(normed, residual=out)
        return out, text


class HieraTrunk(nn.Module):
    """Hiera with SAM2's windowed position embedding; the numbers are those of `ARCHITECTURES`."""

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        stages: Sequence[int],
        global_blocks: Sequence[int],
        windows: Sequence[int],
        background: int,
    ) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(embed_dim=embed_dim)
        self.pos_embed = nn.Parameter(torch.zeros(1, embed_dim, background, background))
        self.pos_embed_window = nn.Parameter(torch.zeros(1, embed_dim, windows[0], windows[0]))
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        nn.init.trunc_normal_(self.pos_embed_window, std=0.02)
        self.blocks = nn.ModuleList()
        self.stage_ends = [sum(stages[: i + 1]) - 1 for i in range(len(stages))]
        dim = embed_dim
        for stage, depth in enumerate(stages):
            for i in range(depth):
                begins = stage > 0 and i == 0
                # The first block of a stage still attends in the windows of the stage before, which it then pools.
                window = windows[stage - 1] if begins else windows[stage]
                dim_out = 2 * dim if begins else dim
                num_heads = 2 * num_heads if begins else num_heads
                window = 0 if len(self.blocks) in global_blocks else window
                self.blocks.append(HieraBlock(dim, dim_out, num_heads, window, pool=begins))
                dim = dim_out

    def position(self, height: int, width: int) -> Tensor:
        """Position embedding, (1, height, width, d): a resized background plus a tiled window."""
        window = self.pos_embed_window
        background = F.interpolate(self.pos_embed, size=(height, width), mode='bicubic')
        tiles = window.tile(1, 1, height // window.shape[2], width // window.shape[3])
        return (background + tiles).permute(0, 2, 3, 1)

    def forward(
        self,
        image: Tensor,
        slots: Sequence[nn.Module | None],
        text: TextState | None,
        checkpoint_stages: Sequence[int] = (),
    ) -> tuple[list[Tensor], TextState | None]:
        """Return the stages' outputs, strides 4 to 32, each (B, H, W, d), and the last text state.

        Between blocks of one window size the features stay windows, (B * windows, w, w, d): all but attention is
        pointwise, or, as fusion, blind to the order of an image's positions. Windows that need padding are made and
        undone inside the block, so that nothing but its attention sees the padding.
        """
        x = self.patch_embed(image)
        x = x + self.position(*x.shape[1:3])
        size, window = x.shape[1:3], 0
        stages: list[Tensor] = []
        for i, (block, slot) in enumerate(zip(self.blocks, slots, strict=True)):
            fits = block.window and not any(side % block.window for side in size)
            x, window = rearrange(x, size, window, block.window if fits else 0), block.window if fits else 0
            if torch.is_grad_enabled() and len(stages) in checkpoint_stages:
                x, text = checkpoint(block, x, slot, text, use_reentrant=False, preserve_rng_state=False)
            else:
                x, text = block(x, slot, text)
            if block.pool is not None:
                size, window = [side // 2 for side in size], window // 2
            if i in self.stage_ends:
                stages.append(rearrange(x, size, window, 0))
        return stages, text


def rearrange(x: Tensor, size: Sequence[int], window: int, new_window: int) -> Tensor:
    """Go from one window side to another without a trip where they agree.

    Args:
        x: (B * windows, window, window, d), or (B, H, W, d) where `window` is 0.
        size: H and W, multiples of both sides.
        window: side of the windows of `x`, 0 for none.
        new_window: the same for the result.

    Returns:
        The same features, (B * windows, new_window, new_window, d), or (B, H, W, d).
    """
    if window == new_window:
        return x
    if window:
        x = window_unpartition(x, window, size, size)
    return window_partition(x, new_window)[0] if new_window else x


class FeaturePyramid(nn.Module):
    """SAM2's FPN neck: lateral 1 x 1 convolutions, top-down (nearest) from stride 32 into stride 16 only.

    Args:
        dims: widths of the trunk's stages, fine to coarse.
        out_dim: width of every level.
    """

    def __init__(self, dims: Sequence[int], out_dim: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList()
        for dim in reversed(dims):
            self.convs.append(nn.Sequential())
            self.convs[-1].add_module('conv', nn.Conv2d(dim, out_dim, 1))

    def forward(self, stages: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Map four stages (B, H, W, d) to strides 4, 8 and 16, each (B, C, H, W)."""
        s32, s16, s8, s4 = (conv(x.permute(0, 3, 1, 2)) for conv, x in zip(self.convs, reversed(stages), strict=True))
        return s4, s8, s16 + F.interpolate(s32, scale_factor=2, mode='nearest')


class SAM2Hiera(BaseModule):
    """SAM2's image encoder as an mm backbone; alone, or with a fusion neck that reads and writes text in every block.

    Args:
        arch: 'tiny', 'small', 'base-plus', 'large', or a dict with the keys of `ARCHITECTURES`' entries.
        out_channels: width C of the three output levels.
        frozen: keep the weights fixed and in eval mode; gradients still reach a fusion neck through them.
        checkpoint_stages: stages, from 0, whose blocks keep only their input in training and compute the rest again
            in the backward pass: less memory, more time, the same gradients.
        init_cfg: mmengine's initialisation config.
    """

    def __init__(
        self,
        arch: str | dict = 'large',
        out_channels: int = 256,
        frozen: bool = False,
        checkpoint_stages: Sequence[int] = (),
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if isinstance(arch, str) and arch not in ARCHITECTURES:
            raise ValueError(f'arch must be one of {sorted(ARCHITECTURES)} or a dict, got {arch!r}')
        self.trunk = HieraTrunk(**(ARCHITECTURES[arch] if isinstance(arch, str) else arch))
        self.neck = FeaturePyramid([self.trunk.blocks[i].dim_out for i in self.trunk.stage_ends], out_channels)
        self.frozen = frozen
        self.checkpoint_stages = checkpoint_stages
        if frozen:
            self.requires_grad_(False).eval()

    @property
    def block_dims(self) -> list[int]:
        """Output width of every block, for a fusion neck."""
        return [block.dim_out for block in self.trunk.blocks]

    def train(self, mode: bool = True) -> 'SAM2Hiera':
        """Set the mode; a frozen backbone stays in eval mode."""
        return super().train(mode and not self.frozen)

    def forward(
        self, image: Tensor, fusion: nn.Module | None = None, text: TextState | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Encode an image, with text where a fusion neck is given.

        Args:
            image: (B, 3, H, W), H and W multiples of 32.
            fusion: fusion neck; its `slots` hold one module a block with a `fusion` and an `adapter`.
            text: the first text state, needed with `fusion`.

        Returns:
            Features at strides 4, 8 and 16, each (B, C, h, w).

        Raises:
            ValueError: H or W is no multiple of 32.
        """
        if image.shape[-2] % 32 or image.shape[-1] % 32:
            raise ValueError(f'SAM2Hiera takes sides that are multiples of 32, got {tuple(image.shape[-2:])}')
        slots = [None] * len(self.trunk.blocks) if fusion is None else fusion.slots
        stages, _ = self.trunk(image, slots, text, self.checkpoint_stages)
        return self.neck(stages)
