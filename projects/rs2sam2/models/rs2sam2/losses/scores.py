"""Losses of SAM2's two scores: the predicted IoU of its mask and the logit of the object being there."""

import torch.nn.functional as F
from torch import Tensor, nn

from rs2sam2.models.common.losses.base import LossInputs


class IoUScoreLoss(nn.Module):
    """Squared error of the predicted IoU against the IoU of the thresholded mask; empty targets are left out.

    Args:
        loss_weight: factor of the result.
    """

    name = 'loss_iou'
    reads_text = False

    def __init__(self, loss_weight: float = 0.05) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, inputs: LossInputs) -> Tensor:
        """Weighted scalar, mean over the samples that have an object; zero where none has."""
        mask, target = inputs.mask_logits.detach() > 0, inputs.target > 0
        union = (mask | target).sum((1, 2, 3))
        iou = (mask & target).sum((1, 2, 3)) / union.clamp(min=1)
        present = target.flatten(1).any(1).float()
        error = (inputs.need('iou', self.name).float() - iou).square() * present
        return self.loss_weight * error.sum() / present.sum().clamp(min=1)


class PresenceLoss(nn.Module):
    """Binary cross-entropy of SAM2's object score against whether the target has any pixel.

    Args:
        loss_weight: factor of the result.
    """

    name = 'loss_presence'
    reads_text = False

    def __init__(self, loss_weight: float = 0.05) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, inputs: LossInputs) -> Tensor:
        """Weighted scalar, mean over the batch."""
        present = (inputs.target > 0).flatten(1).any(1).float()
        logits = inputs.need('presence_logits', self.name).float()
        return self.loss_weight * F.binary_cross_entropy_with_logits(logits, present)
