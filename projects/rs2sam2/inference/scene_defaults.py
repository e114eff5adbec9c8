"""How a model wants scenes cut."""

from typing import NamedTuple

from rs2sam2.inference.inferencer import RefSegInferencer


class SceneDefaults(NamedTuple):
    """How a model wants scenes cut.

    Attributes:
        window: side of a window in pixels.
        gsd: metres a pixel that it wants to be fed; None: the scene's own.
        trained_gsd: the finest and the coarsest metres a pixel that it was trained at; None where nobody said.
        several: it has learned sentences that mean every object of a kind.
    """

    window: int
    gsd: float | None
    trained_gsd: tuple[float, float] | None = None
    several: bool = False


def scene_defaults(inferencer: RefSegInferencer) -> SceneDefaults:
    """What the config says under `scene`; else windows of the size of the model's view."""
    stated = inferencer.source.config.get('scene') or {}
    trained = stated.get('trained_gsd')
    return SceneDefaults(
        stated.get('window', inferencer.model.input_spec.image_size),
        stated.get('gsd'),
        None if trained is None else (float(trained[0]), float(trained[1])),
        bool(stated.get('several')),
    )
