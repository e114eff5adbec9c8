"""The eight symmetries of the square: what a picture, its points and its directions become."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from rs2sam2.errors import ConfigError

Grid = TypeVar('Grid', bound=Any)
"""A NumPy array or a torch tensor; this file needs no torch."""


@dataclass(frozen=True)
class Symmetry:
    """One of the eight: rows and columns exchanged or not, then each mirrored or not.

    Attributes:
        name: one of `SYMMETRIES`.
        transposed: rows become columns.
        flips_rows: then the order of the rows is reversed.
        flips_columns: then the order of the columns is reversed.
    """

    name: str
    transposed: bool
    flips_rows: bool
    flips_columns: bool

    def apply(self, grid: Grid, rows: int = -2, columns: int = -1) -> Grid:
        """Turn an array or tensor; no value is computed anew.

        Args:
            grid: of any shape.
            rows: its axis of rows.
            columns: its axis of columns.

        Returns:
            The turned one: of numpy a view, of torch a copy where it is mirrored.
        """
        if self.transposed:
            grid = grid.swapaxes(rows, columns)
        axes = tuple(axis for axis, flips in ((rows, self.flips_rows), (columns, self.flips_columns)) if flips)
        if not axes:
            return grid
        return np.flip(grid, axes) if isinstance(grid, np.ndarray) else grid.flip(axes)

    def direction(self, vector: tuple[int, int]) -> tuple[int, int]:
        """What a direction (x to the right, y down) becomes."""
        x, y = vector[::-1] if self.transposed else vector
        return (-x if self.flips_columns else x, -y if self.flips_rows else y)

    def point(self, x: float, y: float, height: int, width: int) -> tuple[float, float]:
        """Where a point of a picture (height, width) lies in the turned one; pixel edges count from 0."""
        if self.transposed:
            x, y, height, width = y, x, width, height
        return (width - x if self.flips_columns else x, height - y if self.flips_rows else y)

    @property
    def inverse(self) -> 'Symmetry':
        """The one that turns back."""
        if not self.transposed:
            return self
        return _BY_PARTS[True, self.flips_columns, self.flips_rows]

    def then(self, other: 'Symmetry') -> 'Symmetry':
        """This one followed by another, as one."""
        right, down = (other.direction(self.direction(vector)) for vector in ((1, 0), (0, 1)))
        transposed = right[0] == 0
        return _BY_PARTS[transposed, min(right[1], down[1]) < 0, min(right[0], down[0]) < 0]


SYMMETRIES = {
    one.name: one
    for one in (
        Symmetry('identity', False, False, False),
        # As `numpy.rot90(picture, k)`: counter-clockwise.
        Symmetry('rot90', True, True, False),
        Symmetry('rot180', False, True, True),
        Symmetry('rot270', True, False, True),
        # Left and right change.
        Symmetry('flip_horizontal', False, False, True),
        Symmetry('flip_vertical', False, True, False),
        # The main diagonal stays.
        Symmetry('transpose', True, False, False),
        Symmetry('anti_transpose', True, True, True),
    )
}
"""By name; `identity` first."""
_BY_PARTS = {(one.transposed, one.flips_rows, one.flips_columns): one for one in SYMMETRIES.values()}


def find_symmetry(name: str) -> Symmetry:
    """A symmetry by its name.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in SYMMETRIES:
        raise ConfigError(f'{name!r} is no symmetry of the square: there are {", ".join(SYMMETRIES)}')
    return SYMMETRIES[name]


def order_elements(names: Sequence[str]) -> tuple[str, ...]:
    """Symmetries for test-time augmentation, in their usual order: the identity, always, then those named; 'all'.

    Raises:
        ConfigError: there is no such symmetry.
    """
    wanted = set(SYMMETRIES) if 'all' in names else {find_symmetry(name).name for name in names}
    return tuple(name for name in SYMMETRIES if name in wanted or name == 'identity')
