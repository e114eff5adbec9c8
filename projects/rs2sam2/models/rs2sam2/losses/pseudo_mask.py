"""Direct supervision of the mask prompt generator, for training from scratch."""

import torch.nn.functional as F
from torch import Tensor, nn

from rs2sam2.models.common.losses.base import LossInputs


class PseudoMaskLoss(nn.Module):
    """Cross-entropy and Dice of the pseudo-mask against the share of foreground in each of its cells.

    Not in the paper, where the generator learns through SAM2's prompt convolutions from pretrained encoders. Without
    pretrained weights that signal is faint, and this one teaches the union encoder to match words and patches.

    Args:
        loss_weight: factor of the result.
        eps: keeps the logarithm and the ratio finite.
    """

    name = 'loss_pseudo_mask'
    reads_text = False

    def __init__(self, loss_weight: float = 1.0, eps: float = 1e-3) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.eps = eps

    def forward(self, inputs: LossInputs) -> Tensor:
        """Weighted scalar, mean over the batch."""
        mask = inputs.need('pseudo_mask', self.name).float()
        target = F.interpolate(inputs.target, size=mask.shape[-2:], mode='area')
        # Not torch's own, which ends the process at NaN (on a GPU for good), before anybody can name the sample.
        likely = mask.clamp(self.eps / 100, 1 - self.eps / 100)
        entropy = -(target * likely.log() + (1 - target) * (-likely).log1p()).mean()
        intersection, total = (mask * target).sum((1, 2, 3)), (mask + target).sum((1, 2, 3))
        dice = 1 - (2 * intersection + self.eps) / (total + self.eps)
        return self.loss_weight * (entropy + dice.mean())
