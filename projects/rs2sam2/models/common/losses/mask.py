"""Mask losses on the two-channel logits, each computed per sample, then averaged over the samples.

The release decides between the channels [1 - p, p]; their difference 2p - 1 is `LossInputs.mask_logits`, from which the
softmax of the two channels follows: foreground sigmoid(2p - 1), background sigmoid(1 - 2p).
"""

import torch.nn.functional as F
from torch import Tensor, nn

from rs2sam2.models.common.losses.base import LossInputs


class ReferringCrossEntropyLoss(nn.Module):
    """Class-weighted cross-entropy, sum(w l) / sum(w) over a sample's pixels (RS2-SAM2, release).

    Args:
        class_weight: weights of background and foreground.
        loss_weight: factor of the result.
    """

    name = 'loss_ce'
    reads_text = False

    def __init__(self, class_weight: tuple[float, float] = (0.9, 1.1), loss_weight: float = 0.9) -> None:
        super().__init__()
        self.class_weight = tuple(class_weight)
        self.loss_weight = loss_weight

    def forward(self, inputs: LossInputs) -> Tensor:
        """Weighted scalar, mean over the batch."""
        background, foreground = self.class_weight
        weight = background + (foreground - background) * inputs.target
        entropy = F.binary_cross_entropy_with_logits(inputs.mask_logits, inputs.target, weight, reduction='none')
        return self.loss_weight * (entropy.sum((1, 2, 3)) / weight.sum((1, 2, 3))).mean()


class ReferringDiceLoss(nn.Module):
    """Dice loss of both channels, summed: 1 - (2 I + eps) / (S + eps) each.

    Args:
        loss_weight: factor of the result.
        eps: smoothing term.
    """

    name = 'loss_dice'
    reads_text = False

    def __init__(self, loss_weight: float = 0.1, eps: float = 1e-6) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.eps = eps

    def forward(self, inputs: LossInputs) -> Tensor:
        """Weighted scalar, mean over the batch."""
        foreground = self._dice(inputs.mask_logits.sigmoid(), inputs.target)
        background = self._dice((-inputs.mask_logits).sigmoid(), 1 - inputs.target)
        return self.loss_weight * (foreground + background).mean()

    def _dice(self, probability: Tensor, target: Tensor) -> Tensor:
        intersection = (probability * target).sum((1, 2, 3))
        total = probability.sum((1, 2, 3)) + target.sum((1, 2, 3))
        return 1 - (2 * intersection + self.eps) / (total + self.eps)
