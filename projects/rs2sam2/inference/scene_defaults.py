"""How a model wants scenes cut."""

from typing import NamedTuple

from rs2sam2.inference.inferencer import RefSegInferencer


class SceneDefaults(NamedTuple):
    """How a model wants scenes cut.

    Attributes:
        window: side of a window in pixels.
        gsd: metres a pixel that it was trained at; None where nobody said.
    """

    window: int
    gsd: float | None


def scene_defaults(inferencer: RefSegInferencer) -> SceneDefaults:
    """What the config says under `scene = dict(window=..., gsd=...)`; else windows of the size of the model's view."""
    stated = inferencer.source.config.get('scene') or {}
    return SceneDefaults(stated.get('window', inferencer.model.input_spec.image_size), stated.get('gsd'))
