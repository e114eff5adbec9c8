"""Swin Transformer that reads an expression after every stage: LAVT's encoder (arXiv 2112.02244, 2103.14030).

The blocks are mmseg's. The merging of patches is torchvision's: it joins neighbours in the order of the published
weights, mmseg's in another.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from mmengine.model import BaseModule, initialize
from mmseg.models.backbones.swin import ShiftWindowMSA, SwinBlock, WindowMSA
from mmseg.models.utils import PatchEmbed
from mmseg.registry import MODELS
from torch import Tensor, nn

from rs2sam2.errors import ConfigError
from rs2sam2.models.lavt.pixel_word import PixelWordFusion
from rs2sam2.structures import TextState

ARCHITECTURES: dict[str, dict[str, Any]] = {
    'tiny': dict(embed_dims=96, depths=(2, 2, 6, 2), num_heads=(3, 6, 12, 24)),
    'small': dict(embed_dims=96, depths=(2, 2, 18, 2), num_heads=(3, 6, 12, 24)),
    'base': dict(embed_dims=128, depths=(2, 2, 18, 2), num_heads=(4, 8, 16, 32)),
    'large': dict(embed_dims=192, depths=(2, 2, 18, 2), num_heads=(6, 12, 24, 48)),
}


class ShiftedWindows(ShiftWindowMSA):
    """mmseg's attention in windows, which leaves the number of images open: an exported graph takes any."""

    def window_reverse(self, windows: Tensor, height: int, width: int) -> Tensor:
        """Put windows (B n, w, w, C) together to (B, height, width, C)."""
        side, dim = self.window_size, windows.shape[-1]
        rows = windows.view(-1, height // side, width // side, side, side, dim).transpose(2, 3)
        return rows.reshape(-1, height, width, dim)


def swin_block(**options: Any) -> SwinBlock:
    """mmseg's block; see `ShiftedWindows`."""
    block = SwinBlock(**options)
    # It names no class for its attention; the parameters are the same.
    block.attn.__class__ = ShiftedWindows
    return block


class Gate(nn.Sequential):
    """How much of each channel passes, in (-1, 1)."""

    def __init__(self, dim: int) -> None:
        super().__init__(nn.Linear(dim, dim, bias=False), nn.ReLU(), nn.Linear(dim, dim, bias=False), nn.Tanh())


class LanguageStage(nn.Module):
    """One stage: Swin blocks, then the words, gated into the pixels.

    Args:
        blocks: Swin blocks of width C.
        fusion: fusion of pixels and words.
        visual_branch: a second thing to gate in, called with (pixels, size); None for none.
        dim: width C.
        last: no stage follows, so what would only be read there does not learn.
    """

    def __init__(
        self, blocks: Iterable[nn.Module], fusion: nn.Module, visual_branch: nn.Module | None, dim: int, last: bool
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.fusion = fusion
        self.language_gate = Gate(dim)
        self.visual_branch = visual_branch
        self.visual_gate = None if visual_branch is None else Gate(dim)
        if last:
            for unread in (self.language_gate, self.visual_branch, self.visual_gate):
                if unread is not None:
                    unread.requires_grad_(False)

    def forward(self, x: Tensor, size: tuple[int, int], text: TextState) -> tuple[Tensor, Tensor]:
        """Run the stage on pixels (B, H W, C) of a map of `size` (H, W).

        Returns:
            The fused map, which is the stage's output, and what goes on to the next stage; both (B, H W, C).
        """
        for block in self.blocks:
            x = block(x, size)
        fused = self.fusion(x, text)
        onward = x + self.language_gate(fused) * fused
        if self.visual_branch is not None and self.visual_gate is not None:
            visual = self.visual_branch(x, size)
            onward = onward + self.visual_gate(visual) * visual
        return fused, onward


class LanguageAwareSwin(BaseModule):
    """Encode an image while reading an expression.

    Args:
        arch: a name of `ARCHITECTURES`, or a dict like theirs.
        window_size: side of the attention windows; 12 in the released weights.
        text_dim: width of the words.
        fusion_heads: heads of the fusion, one number a stage.
        fusion_dropout: dropout in the fusion.
        visual_branch: config of what is gated in beside the words, such as RMSIN's `VariousReceptiveBranch`.
        drop_path_rate: stochastic depth of the last block; it grows linearly from 0.
        mlp_ratio: hidden width of the blocks' MLPs as a multiple of theirs.
        checkpointing: keep only every block's input in training and compute the rest again in the backward pass.
        init_cfg: mmengine's initialisation config.

    Attributes:
        channels: width of each output.

    Raises:
        ConfigError: there is no such architecture.
    """

    def __init__(
        self,
        arch: str | dict = 'base',
        window_size: int = 12,
        text_dim: int = 768,
        fusion_heads: Sequence[int] = (1, 1, 1, 1),
        fusion_dropout: float = 0.0,
        visual_branch: dict | None = None,
        drop_path_rate: float = 0.3,
        mlp_ratio: float = 4,
        checkpointing: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if isinstance(arch, str) and arch not in ARCHITECTURES:
            raise ConfigError(f'arch={arch!r} of LanguageAwareSwin: there are {", ".join(ARCHITECTURES)}')
        numbers = ARCHITECTURES[arch] if isinstance(arch, str) else arch
        dim, depths, num_heads = numbers['embed_dims'], numbers['depths'], numbers['num_heads']
        drop_path = [drop_path_rate * i / max(sum(depths) - 1, 1) for i in range(sum(depths))]
        self.channels = tuple(dim * 2**i for i in range(len(depths)))
        self.patch_embed = PatchEmbed(embed_dims=dim, kernel_size=4, stride=4, norm_cfg=dict(type='LN'))
        self.stages = nn.ModuleList()
        # With torchvision comes all of torch's compiler: other models start without.
        from torchvision.models.swin_transformer import PatchMerging

        self.merges = nn.ModuleList(PatchMerging(dim) for dim in self.channels[:-1])
        for i, (dim, depth) in enumerate(zip(self.channels, depths, strict=True)):
            blocks = (
                swin_block(
                    embed_dims=dim,
                    num_heads=num_heads[i],
                    feedforward_channels=int(mlp_ratio * dim),
                    window_size=window_size,
                    shift=j % 2 == 1,
                    drop_path_rate=drop_path[sum(depths[:i]) + j],
                    with_cp=checkpointing,
                )
                for j in range(depth)
            )
            fusion = PixelWordFusion(dim, text_dim, fusion_heads[i], fusion_dropout)
            branch = MODELS.build(visual_branch) if visual_branch else None
            self.stages.append(LanguageStage(blocks, fusion, branch, dim, last=i == len(depths) - 1))
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for dim in self.channels)
        self._draw_starting_values()

    def init_weights(self) -> None:
        """Apply `init_cfg`. Not to children: mmseg's windows would draw anew what was loaded."""
        if self.init_cfg:
            initialize(self, self.init_cfg)

    def forward(self, image: Tensor, text: TextState) -> tuple[Tensor, ...]:
        """Encode.

        Args:
            image: normalised, (B, 3, H, W); any size.
            text: words (B, L, text_dim) and which of them count.

        Returns:
            Fused maps at strides 4, 8, 16 and 32, (B, C_i, H_i, W_i).
        """
        x, size = self.patch_embed(image)
        outputs = []
        for i, (stage, norm) in enumerate(zip(self.stages, self.norms, strict=True)):
            fused, x = stage(x, size, text)
            outputs.append(norm(fused).transpose(1, 2).unflatten(2, size))
            if i < len(self.merges):
                x = self.merges[i](x.unflatten(1, size))
                size, x = x.shape[1:3], x.flatten(1, 2)
        return tuple(outputs)

    def _draw_starting_values(self) -> None:
        """Linear layers and tables of positions as Swin draws them; convolutions and norms keep PyTorch's."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, WindowMSA):
                nn.init.trunc_normal_(module.relative_position_bias_table, std=0.02)
