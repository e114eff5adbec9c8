"""What the scene pipeline needs of a model: windows and an expression in, log-odds and scores out."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from rs2sam2.inference.images import InputImage
from rs2sam2.inference.inferencer import RS2SAM2Inferencer
from rs2sam2.inference.results import MEAN_PROBABILITY, resize_logits, score_mask


class WindowPredictor(Protocol):
    """Segments windows of a scene.

    Attributes:
        scores: of the windows of the last `predict`, in [0, 1].
        score_kind: what they are: 'presence' or 'mean foreground probability'.
    """

    scores: list[float]
    score_kind: str

    def predict(self, images: Sequence[np.ndarray], expression: str) -> np.ndarray:
        """Segment windows of one size.

        Args:
            images: (h, w, 3) uint8 RGB each.
            expression: the referring expression.

        Returns:
            Log-odds of foreground at the windows' size, (n, h, w) float32.
        """


class InferencerWindowPredictor:
    """A `WindowPredictor` that runs an inferencer; all windows of a call are one batch.

    Args:
        inferencer: the model.
    """

    def __init__(self, inferencer: RS2SAM2Inferencer) -> None:
        self.inferencer = inferencer
        self.scores: list[float] = []
        self.score_kind = MEAN_PROBABILITY

    def predict(self, images: Sequence[np.ndarray], expression: str) -> np.ndarray:
        """See `WindowPredictor.predict`."""
        inferencer = self.inferencer
        batch = [inferencer.prepare(inferencer.prepare_image(InputImage(one, 'window')), expression) for one in images]
        logits, self.scores = [], []
        for sample in inferencer.forward(batch):
            low = sample.seg_logits.data
            score, self.score_kind = score_mask(low[0].cpu().numpy(), sample.presence)
            self.scores.append(score)
            logits.append(resize_logits(low, images[0].shape[:2])[0].cpu().numpy())
        return np.stack(logits)
