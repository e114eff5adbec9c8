"""What the scene pipeline asks of a model."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from scipy.special import expit

from rs2sam2.errors import CheckpointError

_FAR = 1.25  # times beyond what a model was trained at
MEAN_PROBABILITY = 'mean foreground probability'
"""The score where the model has none of its own, and of objects that are chosen."""


class WindowPredictor(Protocol):
    """Segments what an expression means in a batch of images of one size.

    A predictor may have these attributes. `scores`: after each call one presence score (0 to 1) or None for each image
    of that call; without it the mean foreground probability takes its place. `precision` and `model`, a name: outputs
    name them. `identity`: all that tells its answers from those of another one, as JSON has it; only then may a run
    that was stopped be gone on with. `several`: whether it has learned sentences that mean every object of a kind ('All
    ships'); windows are then asked so for what a thing is. `trained_gsd`: (finest, coarsest) metres a pixel that it was
    trained at.
    """

    def predict(self, images: list[np.ndarray], expression: str) -> np.ndarray:
        """Log-odds of foreground.

        Args:
            images: n arrays (h, w, 3) uint8 RGB, all of one size; resizing to the model's input is the
                predictor's business.
            expression: the referring expression.

        Returns:
            (n, h, w) float32; foreground where > 0, probability = its sigmoid.
        """
        ...


def _presence(predictor: WindowPredictor) -> list[float] | None:
    scores: Sequence[float | None] | None = getattr(predictor, 'scores', None)
    known = [float(score) for score in scores or () if score is not None]
    if not scores or len(known) < len(scores):
        return None
    if not np.isfinite(known).all():
        raise CheckpointError('the model returned NaN or infinite scores; check its weights and precision')
    return known


def predictor_tags(predictor: WindowPredictor) -> dict[str, str]:
    """What the outputs say of how they were computed."""
    said = {name: getattr(predictor, name, None) for name in ('precision', 'model')}
    return {name: value for name, value in said.items() if value is not None}


def scale_note(predictor: WindowPredictor, metres: float | None) -> str | None:
    """What the user should know where a scene's pixels are far from those that the model was trained on.

    Args:
        predictor: the model.
        metres: that a pixel spans as the model is fed; None where nobody knows.
    """
    trained = getattr(predictor, 'trained_gsd', None)
    if trained is None or metres is None or trained[0] / _FAR <= metres <= trained[1] * _FAR:
        return None
    nearest = min(trained, key=lambda end: abs(end - metres))
    return (
        f'a pixel is {metres:.3g} m here, and the model was trained at {trained[0]:g} to {trained[1]:g} m: it may find '
        f'little; --gsd {nearest:g} brings the scene nearer'
    )


def predictor_identity(predictor: WindowPredictor) -> dict | None:
    """What tells a predictor's answers from those of others; None where it does not say."""
    return getattr(predictor, 'identity', None)


def score_kind(predictor: WindowPredictor) -> str:
    """What `window_scores` are: 'presence' or 'mean foreground probability'."""
    return MEAN_PROBABILITY if _presence(predictor) is None else 'presence'


def window_scores(predictor: WindowPredictor, log_odds: np.ndarray) -> Sequence[float | None]:
    """Scores of the images of the latest call.

    Args:
        predictor: the one that was called.
        log_odds: (n, h, w) what it returned.

    Returns:
        One score (0 to 1) an image; None where nothing is foreground and the model has no presence score.
    """
    presence = _presence(predictor)
    if presence is not None:
        return presence
    foregrounds = [image[image > 0] for image in log_odds]
    return [float(expit(pixels).mean()) if pixels.size else None for pixels in foregrounds]
