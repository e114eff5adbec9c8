"""Test-time augmentation of one image: its turned copies, and what is said of them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rs2sam2.errors import TurnError
from rs2sam2.symmetry import SYMMETRIES, order_elements
from rs2sam2.text.directions import turn

Elements = str | Sequence[str]


class Turning(NamedTuple):
    """Which turned copies of an image are looked at.

    Attributes:
        elements: symmetries, the identity first.
        top: how the model's data says where an object is (`turn`).
    """

    elements: tuple[str, ...] = ('identity',)
    top: str = 'at the top'

    @classmethod
    def of(cls, tta: Elements | None, config: Mapping[str, Any]) -> 'Turning':
        """From 'all', names of symmetries, or None for none; `tta = dict(top=...)` of the config says the wording.

        Raises:
            ConfigError: there is no such symmetry.
        """
        if tta is None:
            return cls()
        names = tta.split(',') if isinstance(tta, str) else tta
        return cls(order_elements([name.strip() for name in names]), config.get('tta', {}).get('top', 'at the top'))

    def images(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        """Turned copies of (H, W, 3) pixels by symmetry."""
        return {name: np.ascontiguousarray(SYMMETRIES[name].apply(pixels, 0, 1)) for name in self.elements}

    def sentences(self, expression: str) -> tuple[dict[str, str], tuple[str, ...]]:
        """What is said of each copy, and a note for the user where some cannot be said."""
        said: dict[str, str] = {}
        refused: dict[str, list[str]] = {}
        for name in self.elements:
            try:
                said[name] = turn(expression, name, self.top)
            except TurnError as error:
                refused.setdefault(error.reason, []).append(name)
        return said, tuple(f'not turned by {", ".join(names)}: {reason}' for reason, names in refused.items())
