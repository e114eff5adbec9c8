"""Losses of a mask: each takes `LossInputs` and returns one weighted scalar."""

from rs2sam2.models.common.losses.base import LossInputs
from rs2sam2.models.common.losses.mask import ReferringCrossEntropyLoss, ReferringDiceLoss

__all__ = ['LossInputs', 'ReferringCrossEntropyLoss', 'ReferringDiceLoss']
