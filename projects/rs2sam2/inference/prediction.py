"""What a model said of one expression in one image, in NumPy: the same whatever computed it."""

from typing import NamedTuple

import numpy as np


class Prediction(NamedTuple):
    """A model's answer, before scores and limits are applied to it.

    Attributes:
        image: path of the image, or its name.
        expression: the referring expression.
        logits: log-odds of foreground on the decoder's grid, (h, w) float32.
        mask: foreground at the image's own size, (H, W) bool.
        pseudo_mask: the mask prompt generator's coarse mask, (h, w) float32 in [0, 1], or None.
        predicted_iou: SAM2's own estimate of the mask's IoU, or None when it was never trained.
        presence: SAM2's object score as a probability, or None when it was never trained.
        precision: what the model computed in.
        averaged_over: symmetries of the copies whose predictions were averaged.
    """

    image: str
    expression: str
    logits: np.ndarray
    mask: np.ndarray
    pseudo_mask: np.ndarray | None
    predicted_iou: float | None
    presence: float | None
    precision: str
    averaged_over: tuple[str, ...] = ('identity',)


def resize_logits(logits: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Log-odds (..., h, w) to (..., H, W) float32, bilinear as the model's own masks are.

    torch's `interpolate(mode='bilinear', align_corners=False)`: pixel centres lie at half-integers, beyond the outer
    ones the border is repeated, and nothing is smoothed where the result is smaller.
    """
    for axis, length in ((-2, size[0]), (-1, size[1])):
        logits = _resize_axis(logits, axis, length)
    return logits


def _resize_axis(values: np.ndarray, axis: int, length: int) -> np.ndarray:
    known = values.shape[axis]
    if known == length:
        return values
    places = np.maximum((np.arange(length) + 0.5) * (known / length) - 0.5, 0)
    before = places.astype(np.int64)
    after = np.minimum(before + 1, known - 1)
    share = (places - before).astype(np.float32)
    if axis == -2:
        share = share[:, None]
    return values.take(before, axis) * (1 - share) + values.take(after, axis) * share
