"""Text-guided boundary loss (RS2-SAM2, arXiv 2503.07266)."""

import torch.nn.functional as F
from torch import Tensor, nn

from rs2sam2.models.common.losses.base import LossInputs


def boundary(mask: Tensor) -> Tensor:
    """|M[y] - M[y-1]| + |M[x] - M[x-1]| of a mask (B, 1, H, W); each term is zero on its first row or column."""
    vertical = F.pad(mask.diff(dim=-2).abs(), (0, 0, 1, 0))
    horizontal = F.pad(mask.diff(dim=-1).abs(), (1, 0, 0, 0))
    return vertical + horizontal


class TextGuidedBoundaryLoss(nn.Module):
    """Mean of (w (grad prediction - grad target))^2, with w a scalar that the text's first token gives.

    Args:
        text_dim: width C of the text state.
        hard: binarise the prediction as the release does: p > 0, although a pixel is foreground where p > 0.5; no
            gradient reaches the mask then, only w. Otherwise the foreground probability is used, as in the paper.
        loss_weight: factor of the result.
    """

    name = 'loss_boundary'
    reads_text = True

    def __init__(self, text_dim: int = 256, hard: bool = False, loss_weight: float = 0.2) -> None:
        super().__init__()
        self.weight_from_text = nn.Linear(text_dim, 1)
        self.hard = hard
        self.loss_weight = loss_weight

    def forward(self, inputs: LossInputs) -> Tensor:
        """Weighted scalar, mean over the batch."""
        # mask_logits are 2p - 1, so p > 0 is mask_logits > -1.
        mask = (inputs.mask_logits > -1).float() if self.hard else inputs.mask_logits.sigmoid()
        weight = self.weight_from_text(inputs.need('text', self.name)).float().view(-1, 1, 1, 1)
        error = weight * (boundary(mask) - boundary(inputs.target))
        return self.loss_weight * error.square().mean()
