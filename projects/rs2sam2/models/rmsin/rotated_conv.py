"""Adaptive rotated convolution (ARC, arXiv 2303.07820), as RMSIN's decoder uses it: plain PyTorch, no compiled part."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.utils import _pair

from rs2sam2.models.common.precision import no_autocast

MAX_ANGLE = math.radians(40)


class RotationRouting(nn.Module):
    """Read from a sample how much each kernel counts in it and how far it is turned.

    Args:
        dim: width of the input.
        num_kernels: kernels n.
        dropout: in training, drawn anew for each of the two numbers.
    """

    def __init__(self, dim: int, num_kernels: int = 1, dropout: float = 0.2) -> None:
        super().__init__()
        self.conv = nn.Conv2d(dim, dim, 3, padding=1, groups=dim, bias=False)
        self.norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)
        self.alpha = nn.Linear(dim, num_kernels)
        self.theta = nn.Linear(dim, num_kernels, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Read from (B, C, H, W) the weights in (0, 1) and the angles in radians, below 40 degrees; (B, n) each."""
        pooled = F.relu(self.norm(self.conv(x).permute(0, 2, 3, 1))).mean((1, 2))
        alpha = self.alpha(self.dropout(pooled)).sigmoid()
        theta = MAX_ANGLE * F.softsign(self.theta(self.dropout(pooled)))
        return alpha, theta


def rotation(theta: Tensor, side: int) -> Tensor:
    """How a square kernel is turned: bilinear sampling on its own grid, clamped at the border.

    Sampling is linear in the kernel, so the samples of the unit kernels are the whole map.

    Args:
        theta: angles in radians, (n,).
        side: of the kernel.

    Returns:
        (n, side^2, side^2): row i is unit kernel i, turned.
    """
    zero, cos, sin = torch.zeros_like(theta), theta.cos(), theta.sin()
    turn = torch.stack((torch.stack((cos, -sin, zero), -1), torch.stack((sin, cos, zero), -1)), -2)
    count = theta.shape[0]
    grid = F.affine_grid(turn, [count, 1, side, side], align_corners=True)
    units = torch.eye(side**2, dtype=theta.dtype, device=theta.device).view(1, -1, side, side)
    units = units.expand(count, -1, -1, -1)
    return F.grid_sample(units, grid, padding_mode='border', align_corners=True).flatten(2)


class AdaptiveRotatedConv2d(nn.Module):
    """Convolve each sample with kernels turned for it; in mm's modules as `conv_cfg=dict(type=...)`.

    Args:
        in_channels: input width.
        out_channels: output width.
        kernel_size: side of the kernels, odd.
        stride: as in `nn.Conv2d`, and so the rest.
        padding: see `stride`.
        dilation: see `stride`.
        groups: see `stride`.
        bias: whether a bias is added.
        num_kernels: how many kernels are turned, weighted and added: 1 in RMSIN, 4 in ARC's paper.
        dropout: in the routing, in training.

    Raises:
        ValueError: the kernel is not square or its side is even.
    """

    # What mmcv's `ConvModule` asks of a convolution.
    transposed = False
    output_padding = (0, 0)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int] = 3,
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        num_kernels: int = 1,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size, self.stride = _pair(kernel_size), _pair(stride)
        self.padding, self.dilation = _pair(padding), _pair(dilation)
        side, width = self.kernel_size
        if side != width or side % 2 == 0:
            raise ValueError(f'kernel_size={kernel_size}: only square kernels with an odd side can be turned')
        self.weight = nn.Parameter(torch.empty(num_kernels, out_channels, in_channels // groups, side, side))
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        self.routing = RotationRouting(in_channels, num_kernels, dropout)
        self.init_weights()

    def init_weights(self) -> None:
        """Draw starting values: kernels as Kaiming does (fan out), routing narrow."""
        nn.init.normal_(self.weight, std=math.sqrt(2 / (self.out_channels * self.kernel_size[0] ** 2)))
        for layer in (self.routing.conv, self.routing.alpha, self.routing.theta):
            nn.init.normal_(layer.weight, std=0.02)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (B, in, H, W); returns (B, out, H', W')."""
        batch = x.shape[0]
        kernels = self.turned(*self.routing(x))
        if isinstance(batch, torch.SymInt):
            return self._convolve_any(x, kernels)
        # One group of channels a sample, so that one call convolves each with its own kernel.
        out = F.conv2d(
            x.flatten(0, 1).unsqueeze(0),
            kernels.flatten(0, 1),
            None if self.bias is None else self.bias.repeat(batch),
            self.stride,
            self.padding,
            self.dilation,
            batch * self.groups,
        )
        return out.squeeze(0).unflatten(0, (batch, self.out_channels))

    def _convolve_any(self, x: Tensor, kernels: Tensor) -> Tensor:
        """The same for a batch of unknown size, as a graph to be exported has it: place by place of the kernels.

        A convolution's number of groups stands in the graph; that of the samples does not.
        """
        (down, right), (rows, columns) = self.padding, self.stride
        x = F.pad(x, (right, right, down, down)).unflatten(1, (self.groups, -1))
        kernels = kernels.unflatten(1, (self.groups, -1))
        reach = [dilation * (side - 1) for dilation, side in zip(self.dilation, self.kernel_size, strict=True)]
        height, width = x.shape[-2] - reach[0], x.shape[-1] - reach[1]
        out = torch.zeros((), dtype=x.dtype, device=x.device)
        for i in range(self.kernel_size[0]):
            for j in range(self.kernel_size[1]):
                top, left = i * self.dilation[0], j * self.dilation[1]
                seen = x[..., top : top + height : rows, left : left + width : columns]
                out = out + kernels[..., i, j] @ seen.flatten(3)
        out = out.flatten(1, 2).unflatten(2, seen.shape[-2:])
        return out if self.bias is None else out + self.bias[:, None, None]

    def turned(self, alpha: Tensor, theta: Tensor) -> Tensor:
        """Each sample's kernel, (B, out, in / groups, k, k), from weights and angles (B, n)."""
        # A kernel turned in low precision would be turned by another angle.
        with no_autocast(theta.device):
            alpha, theta = alpha.to(self.weight.dtype), theta.to(self.weight.dtype)
            turn = rotation(theta.flatten(), self.kernel_size[0]).unflatten(0, theta.shape)
            kernels = torch.einsum('bn,noik,bnkl->boil', alpha, self.weight.flatten(3), turn)
        return kernels.unflatten(3, self.kernel_size)
