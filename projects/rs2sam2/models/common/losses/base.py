"""What every loss of a segmentor reads."""

from typing import NamedTuple

from torch import Tensor

from rs2sam2.errors import ConfigError


class LossInputs(NamedTuple):
    """A prediction beside its ground truth; what a model has no part for is None.

    Attributes:
        mask_logits: log-odds of foreground at the view's size, (B, 1, S, S).
        target: ground truth, (B, 1, S, S), 0 or 1.
        text: first token of the first text state, (B, C).
        iou: predicted IoU, (B,).
        presence_logits: logit of the object being there, (B,).
        pseudo_mask: the generator's mask, (B, 1, h, w) probabilities.
    """

    mask_logits: Tensor
    target: Tensor
    text: Tensor | None = None
    iou: Tensor | None = None
    presence_logits: Tensor | None = None
    pseudo_mask: Tensor | None = None

    def need(self, part: str, loss: str) -> Tensor:
        """What not every model gives, for the loss of a name.

        Raises:
            ConfigError: this model does not give it.
        """
        value = getattr(self, part)
        if value is None:
            raise ConfigError(f'decode_head.losses: {loss} reads {part}, which this model does not give: leave it out')
        return value
