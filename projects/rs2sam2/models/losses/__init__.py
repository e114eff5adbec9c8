"""Losses of the segmentor: each takes `LossInputs` and returns one weighted scalar."""

from rs2sam2.models.losses.base import LossInputs
from rs2sam2.models.losses.boundary import TextGuidedBoundaryLoss
from rs2sam2.models.losses.mask import ReferringCrossEntropyLoss, ReferringDiceLoss
from rs2sam2.models.losses.pseudo_mask import PseudoMaskLoss
from rs2sam2.models.losses.scores import IoUScoreLoss, PresenceLoss

__all__ = [
    'IoUScoreLoss',
    'LossInputs',
    'PresenceLoss',
    'PseudoMaskLoss',
    'ReferringCrossEntropyLoss',
    'ReferringDiceLoss',
    'TextGuidedBoundaryLoss',
]
