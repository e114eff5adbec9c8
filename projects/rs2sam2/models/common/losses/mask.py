"""Mask losses on the logits of two channels, background and foreground.

Their difference is `LossInputs.mask_logits` x, from which the softmax of the two follows: foreground sigmoid(x),
background sigmoid(-x). RS2-SAM2's release decides between the channels [1 - p, p]: x = 2p - 1.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from rs2sam2.errors import ConfigError
from rs2sam2.models.common.losses.base import LossInputs


class ReferringCrossEntropyLoss(nn.Module):
    """Class-weighted cross-entropy, sum(w l) / sum(w) over a sample's pixels (RS2-SAM2, release).

    Args:
        class_weight: weights of background and foreground.
        loss_weight: factor of the result.
        whole_batch: take both sums over all pixels of the batch at once (LAVT, RMSIN), not the mean over the samples.
    """

    name = 'loss_ce'
    reads_text = False

    def __init__(
        self,
        class_weight: tuple[float, float] = (0.9, 1.1),
        loss_weight: float = 0.9,
        whole_batch: bool = False,
    ) -> None:
        super().__init__()
        self.class_weight = tuple(class_weight)
        self.loss_weight = loss_weight
        self.whole_batch = whole_batch

    def forward(self, inputs: LossInputs) -> Tensor:
        """Weighted scalar of the batch."""
        background, foreground = self.class_weight
        weight = background + (foreground - background) * inputs.target
        entropy = F.binary_cross_entropy_with_logits(inputs.mask_logits, inputs.target, weight, reduction='none')
        if self.whole_batch:
            return self.loss_weight * entropy.sum() / weight.sum()
        return self.loss_weight * (entropy.sum((1, 2, 3)) / weight.sum((1, 2, 3))).mean()


class ReferringDiceLoss(nn.Module):
    """Dice loss of both channels, summed: 1 - (2 I + eps) / (S + eps) each.

    Args:
        loss_weight: factor of the result.
        eps: smoothing term.
        reduction: 'mean' over the samples, or 'sum' of them (RMSIN: its share grows with the batch on one GPU).

    Raises:
        ConfigError: there is no such reduction.
    """

    name = 'loss_dice'
    reads_text = False

    def __init__(self, loss_weight: float = 0.1, eps: float = 1e-6, reduction: str = 'mean') -> None:
        super().__init__()
        if reduction not in ('mean', 'sum'):
            raise ConfigError(f"reduction={reduction!r} of ReferringDiceLoss: 'mean' or 'sum'")
        self.loss_weight = loss_weight
        self.eps = eps
        self.reduction = reduction

    def forward(self, inputs: LossInputs) -> Tensor:
        """Weighted scalar of the batch."""
        foreground = self._dice(inputs.mask_logits.sigmoid(), inputs.target)
        background = self._dice((-inputs.mask_logits).sigmoid(), 1 - inputs.target)
        return self.loss_weight * getattr(foreground + background, self.reduction)()

    def _dice(self, probability: Tensor, target: Tensor) -> Tensor:
        intersection = (probability * target).sum((1, 2, 3))
        total = probability.sum((1, 2, 3)) + target.sum((1, 2, 3))
        return 1 - (2 * intersection + self.eps) / (total + self.eps)
