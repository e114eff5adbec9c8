"""How a model wants scenes cut."""

import math
from numbers import Real
from typing import Any, NamedTuple

from rs2sam2.errors import ConfigError
from rs2sam2.inference.inferencer import RefSegInferencer

_SMALLEST, _LARGEST = 32, 8192  # pixels of a window


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
    """What the config says under `scene`; else windows of the size of the model's view.

    Raises:
        ConfigError: a value there means nothing.
    """
    stated = inferencer.source.config.get('scene') or {}

    def told(key: str, is_good: Any, form: str) -> Any:
        value = stated.get(key)
        if value is not None and not is_good(value):
            raise ConfigError(f'{inferencer.source.config_path}: scene.{key} is {value!r}: give {form}')
        return value

    window = told('window', _is_side, f'{_SMALLEST} to {_LARGEST} pixels')
    trained = told('trained_gsd', _is_range, 'the finest and the coarsest metres a pixel')
    return SceneDefaults(
        inferencer.model.input_spec.image_size if window is None else window,
        told('gsd', _is_length, 'metres a pixel'),
        None if trained is None else (float(trained[0]), float(trained[1])),
        bool(told('several', lambda value: isinstance(value, bool), 'true or false')),
    )


def _is_side(value: Any) -> bool:
    return type(value) is int and _SMALLEST <= value <= _LARGEST


def _is_length(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and 0 < float(value) < math.inf


def _is_range(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 2 and all(map(_is_length, value)) and value[0] <= value[1]
