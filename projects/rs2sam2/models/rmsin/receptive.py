"""RMSIN's various receptive branch (arXiv 2312.12470): where to look, by convolutions of several sizes."""

from torch import Tensor, nn


def _conv_norm(kernel_size: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 1, kernel_size, padding=kernel_size // 2, bias=False), nn.BatchNorm2d(1))


class ReceptiveUnit(nn.Module):
    """Three readings of a map of one channel, added: 1 x 1; 1 x 1, then 3 x 3; as it is. Each has a batch norm.

    The zeros around the 3 x 3 stand around the batch norm's output.
    """

    def __init__(self) -> None:
        super().__init__()
        self.near = _conv_norm(1)
        self.wide = nn.Sequential(*_conv_norm(1), *_conv_norm(3))
        self.same = nn.BatchNorm2d(1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, 1, H, W) to (B, 1, H, W)."""
        return self.near(x) + self.wide(x) + self.same(x)


class VariousReceptiveBranch(nn.Module):
    """Weigh every pixel by its surroundings in the mean over the channels."""

    def __init__(self) -> None:
        super().__init__()
        self.weigh = nn.Sequential(ReceptiveUnit(), nn.ReLU(), ReceptiveUnit(), nn.Sigmoid())

    def forward(self, pixels: Tensor, size: tuple[int, int]) -> Tensor:
        """Weigh pixels (B, H W, C) of a map of `size` (H, W); returns (B, H W, C)."""
        weight = self.weigh(pixels.mean(-1).unflatten(1, size).unsqueeze(1))
        return pixels * weight.flatten(1).unsqueeze(-1)
