"""An inferencer as the scene pipeline's `rs2sam2.geo.predictor.WindowPredictor`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rs2sam2.inference.images import InputImage
from rs2sam2.inference.inferencer import RefSegInferencer
from rs2sam2.inference.prediction import resize_logits
from rs2sam2.inference.scene_defaults import scene_defaults


class InferencerWindowPredictor:
    """Segments windows of a scene; all windows of a call are one batch.

    Args:
        inferencer: the model.

    Attributes:
        precision: what the model computes in; the outputs' tags name it.
        model: folder and file of its weights; the outputs name it.
        several: whether it has learned sentences that mean every object of a kind.
        trained_gsd: the finest and the coarsest metres a pixel that it was trained at, or None.
        scores: presence of the target in the windows of the last call, each None when the model never learned it.
    """

    def __init__(self, inferencer: RefSegInferencer) -> None:
        self.inferencer = inferencer
        self.precision = inferencer.precision
        self.model = '/'.join(Path(inferencer.source.weights).parts[-2:])
        defaults = scene_defaults(inferencer)
        self.several, self.trained_gsd = defaults.several, defaults.trained_gsd
        self.scores: list[float | None] = []

    @property
    def identity(self) -> dict[str, Any]:
        """All that tells its answers from those of another model."""
        return self.inferencer.identity

    def about(self, expressions: Sequence[str]) -> dict[str, Any]:
        """How the model wants scenes cut, what it was trained on, and what is to be known of expressions."""
        defaults = scene_defaults(self.inferencer)
        notes = [note for expression in expressions for note in self.inferencer.expression_notes(expression)]
        known = {'trained_on': self.inferencer.trained_on, 'notes': tuple(dict.fromkeys(notes))}
        return {'window': defaults.window, 'gsd': defaults.gsd, **known}

    def predict(self, images: Sequence[np.ndarray], expression: str) -> np.ndarray:
        """Segment windows of one size.

        Args:
            images: (h, w, 3) uint8 RGB each.
            expression: the referring expression.

        Returns:
            Log-odds of foreground at the windows' size, (n, h, w) float32.
        """
        inferencer = self.inferencer
        batch = [inferencer.prepare(inferencer.prepare_image(InputImage(one, 'window')), expression) for one in images]
        found = inferencer.forward(batch)
        self.scores = [prediction.presence for prediction in found]
        return resize_logits(np.stack([prediction.logits for prediction in found]), images[0].shape[:2])
