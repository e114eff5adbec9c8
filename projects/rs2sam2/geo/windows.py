"""Overlapping windows over a grid, and the taper that blends them."""

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Axis:
    """The windows along one axis of the grid.

    Attributes:
        starts: first pixel of each window, ascending.
        size: pixels of a window; the only one may reach beyond the grid.
        weights: (number of windows, size) float32. At each pixel of the grid the weights of all windows sum to 1.
    """

    starts: tuple[int, ...]
    size: int
    weights: np.ndarray


def count_windows(length: int, size: int, overlap: float) -> int:
    """How many windows `tile_axis` makes."""
    return 1 if length <= size else 1 + math.ceil((length - size) / max(1, size - round(overlap * size)))


def tile_axis(length: int, size: int, overlap: float) -> Axis:
    """Evenly spaced windows that cover `length` pixels, neighbours sharing at least `overlap` of their size.

    The taper is a raised cosine over the shared part, divided by the sum over all windows: a partition of unity, so
    that equal predictions blend to themselves and no edge of a window shows.

    Args:
        length: of the grid, in pixels.
        size: of a window, in pixels.
        overlap: 0 to 0.5, of the size.
    """
    count = count_windows(length, size, overlap)
    starts = np.round(np.linspace(0, max(length - size, 0), count)).astype(int)
    shared = size if count == 1 else max(1, size - int(np.diff(starts).min()))
    distance = np.minimum(np.arange(size), np.arange(size)[::-1]) + 0.5
    taper = np.sin(np.minimum(distance / shared, 1) * np.pi / 2) ** 2
    total = np.zeros(int(starts[-1]) + size)
    for start in starts:
        total[start : start + size] += taper
    weights = np.stack([taper / total[start : start + size] for start in starts])
    return Axis(tuple(starts.tolist()), size, weights.astype(np.float32))


@dataclass(frozen=True)
class WindowGrid:
    """All windows of a scene: each of `rows` with each of `columns`."""

    rows: Axis
    columns: Axis

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of a window."""
        return self.rows.size, self.columns.size

    def places(self) -> list[tuple[int, int]]:
        """(row, column) indices into the axes, row by row."""
        return list(np.ndindex(len(self.rows.starts), len(self.columns.starts)))

    def start(self, place: tuple[int, int]) -> tuple[int, int]:
        """First pixel (y, x) of a window."""
        return self.rows.starts[place[0]], self.columns.starts[place[1]]
