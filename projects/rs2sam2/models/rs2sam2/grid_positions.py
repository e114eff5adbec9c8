"""Starting values of the union encoder's vision positions, for training from scratch."""

import math

import torch
from torch import Tensor, nn

from rs2sam2.models.rs2sam2.beit3 import POSITION_OFFSET


def grid_positions(side: int, dim: int) -> Tensor:
    """Sine and cosine of rows and columns at geometrically spaced wavelengths, (side * side, dim), row by row."""
    quarter = dim // 4
    frequency = 4 * math.pi / side * 30.0 ** (-torch.arange(quarter) / quarter)
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing='ij')
    angles = [axis.flatten()[:, None] * frequency for axis in (columns, rows)]
    return torch.cat([wave(angle) for angle in angles for wave in (torch.sin, torch.cos)], dim=1)


class GridPositions:
    """`init_cfg=dict(type='GridPositions')` of a `BEiT3UnionEncoder`: patches start out knowing where they lie.

    Learned positions start as noise otherwise, and "left" or "top" must be learned for every patch by itself.
    """

    @torch.no_grad()
    def __call__(self, module: nn.Module) -> None:
        """Fill the positions of the patches; the width must be a multiple of 4."""
        weight = module.positions['vision'].weight[POSITION_OFFSET + 1 :]
        weight.copy_(0.5 * grid_positions(math.isqrt(len(weight)), weight.shape[1]))
