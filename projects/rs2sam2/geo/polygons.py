"""Objects of a mask that is seen tile by tile, each as one polygon however many tiles it crosses."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import shapely
from affine import Affine
from rasterio.features import shapes
from scipy import ndimage


@dataclass(frozen=True)
class TracedObject:
    """A connected part of the mask.

    Attributes:
        polygon: its outline along the pixels' edges, holes kept, in (column, row).
        pixels: how many pixels it covers, which is the polygon's area.
        score: mean probability of its pixels.
    """

    polygon: shapely.Polygon
    pixels: int
    score: float


@dataclass
class _Part:
    """What is known of an object so far."""

    pieces: list[shapely.Polygon]
    pixels: int
    total: float  # of the probabilities


class PolygonTracer:
    """Connected components (pixels that share an edge) over tiles, merged across their borders by union-find.

    Tiles come row by row, from left to right. Between two rows of tiles only the objects that touch the border are
    kept, so memory follows the width of the scene and what the open objects look like, not the size of the scene.

    Args:
        width: of the scene, in pixels.
    """

    def __init__(self, width: int) -> None:
        self._above = np.zeros(width, np.int64)  # object of each pixel of the row above this row of tiles; 0: none
        self._below = np.zeros(width, np.int64)
        self._left = np.zeros(0, np.int64)
        self._parent = [0]
        self._parts: dict[int, _Part] = {}

    def add(self, y: int, x: int, mask: np.ndarray, probability: np.ndarray) -> None:
        """The next tile of this row of tiles.

        Args:
            y: its first row.
            x: its first column.
            mask: (h, w) bool.
            probability: (h, w), summed where the mask is set.
        """
        labels, count = ndimage.label(mask)
        numbers = np.zeros(count + 1, np.int64)
        numbers[1:] = len(self._parent) + np.arange(count)
        self._parent.extend(range(len(self._parent), len(self._parent) + count))
        columns = slice(x, x + mask.shape[1])
        self._below[columns] = numbers[labels[-1]]
        if count:
            inside = labels[mask]
            pixels = np.bincount(inside, minlength=count + 1)
            totals = np.bincount(inside, weights=probability[mask], minlength=count + 1)
            place = Affine.translation(x, y)
            for outline, label in shapes(labels.astype(np.int32, copy=False), mask, 4, place):
                rings, label = outline['coordinates'], int(label)
                part = _Part([shapely.Polygon(rings[0], rings[1:])], int(pixels[label]), float(totals[label]))
                self._parts[int(numbers[label])] = part
            self._join(self._above[columns], numbers[labels[0]])
            if x:
                self._join(self._left, numbers[labels[:, 0]])
        self._left = numbers[labels[:, -1]]

    def end_row(self) -> Iterator[TracedObject]:
        """Ends this row of tiles; yields the objects that cannot grow any more."""
        grown: dict[int, _Part] = {}
        for number, part in self._parts.items():
            whole = grown.setdefault(self._root(number), _Part([], 0, 0.0))
            whole.pieces += part.pieces
            whole.pixels += part.pixels
            whole.total += part.total
        border, places = np.unique(self._below, return_inverse=True)
        roots = [self._root(number) for number in border.tolist()]
        renumbered = {root: number for number, root in enumerate(sorted({0, *roots}))}
        self._above = np.array([renumbered[root] for root in roots], np.int64)[places]
        self._below = np.zeros_like(self._above)
        self._parent = list(range(len(renumbered)))
        self._parts = {renumbered[root]: part for root, part in grown.items() if root in renumbered}
        for root, part in grown.items():
            if root not in renumbered:
                yield _finish(part)

    def end(self) -> Iterator[TracedObject]:
        """Ends the scene; yields the objects that touched its last row."""
        parts, self._parts = self._parts, {}
        for part in parts.values():
            yield _finish(part)

    def _join(self, first: np.ndarray, second: np.ndarray) -> None:
        both = (first > 0) & (second > 0)
        for a, b in np.unique(np.stack([first[both], second[both]]), axis=1).T.tolist():
            a, b = self._root(a), self._root(b)
            self._parent[max(a, b)] = min(a, b)

    def _root(self, number: int) -> int:
        while self._parent[number] != number:
            self._parent[number] = self._parent[self._parent[number]]
            number = self._parent[number]
        return number


def _finish(part: _Part) -> TracedObject:
    polygon = part.pieces[0]
    if len(part.pieces) > 1:
        # The union keeps a vertex where an outline crosses a tile's border: tolerance 0 drops what lies on a line.
        polygon = shapely.simplify(shapely.union_all(part.pieces), 0)
    return TracedObject(polygon, part.pixels, part.total / part.pixels)
