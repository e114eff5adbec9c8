"""LAVT's decoder (arXiv 2112.02244): from the deepest map up, two convolutions a level."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn


class DecoderLevel(nn.Sequential):
    """Two 3 x 3 convolutions, each with batch norm and ReLU.

    Args:
        dim: input width.
        out_dim: output width.
        refine_cfg: config of the second convolution; None for a plain one.
    """

    def __init__(self, dim: int, out_dim: int, refine_cfg: dict | None = None) -> None:
        refine = dict(in_channels=out_dim, out_channels=out_dim, kernel_size=3, padding=1, bias=False)
        super().__init__(
            nn.Conv2d(dim, out_dim, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_dim),
            nn.ReLU(),
            MODELS.build(refine_cfg, default_args=refine) if refine_cfg else nn.Conv2d(**refine),
            nn.BatchNorm2d(out_dim),
            nn.ReLU(),
        )


class LAVTHead(nn.Module):
    """Decode four maps into logits of background and referent.

    Args:
        in_channels: width of each map, finest first.
        dim: width of the decoder.
        refine_cfg: config of the second convolution of each level, such as `dict(type='AdaptiveRotatedConv2d')` in
            RMSIN; None for plain ones.
        losses: built losses (`models.common.losses`), each with a `name`.
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (128, 256, 512, 1024),
        dim: int = 512,
        refine_cfg: dict | None = None,
        losses: Sequence[nn.Module] = (),
    ) -> None:
        super().__init__()
        below = (in_channels[-1], *[dim] * (len(in_channels) - 2))
        self.levels = nn.ModuleList(
            DecoderLevel(deep + skip, dim, refine_cfg) for deep, skip in zip(below, in_channels[-2::-1], strict=True)
        )
        self.score = nn.Conv2d(dim, 2, 1)
        self.losses = nn.ModuleDict({loss.name: loss for loss in losses})

    def forward(self, pyramid: Sequence[Tensor]) -> Tensor:
        """Decode maps (B, C_i, H_i, W_i), finest first; returns (B, 2, H_0, W_0)."""
        *skips, x = pyramid
        for level, skip in zip(self.levels, reversed(skips), strict=True):
            x = F.interpolate(x, size=skip.shape[-2:], mode='bilinear', align_corners=True)
            x = level(torch.cat((x, skip), dim=1))
        return self.score(x)
