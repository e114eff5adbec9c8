"""Losses that read what only RS2-SAM2 predicts: pseudo-mask, scores, text against boundary."""

from rs2sam2.models.rs2sam2.losses.boundary import TextGuidedBoundaryLoss
from rs2sam2.models.rs2sam2.losses.pseudo_mask import PseudoMaskLoss
from rs2sam2.models.rs2sam2.losses.scores import IoUScoreLoss, PresenceLoss

__all__ = ['IoUScoreLoss', 'PresenceLoss', 'PseudoMaskLoss', 'TextGuidedBoundaryLoss']
