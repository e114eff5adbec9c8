"""Where the expression's object is, decided on the whole scene at reduced resolution."""

import numpy as np
from PIL import Image
from scipy import ndimage

REGION_MARGIN = 8
"""Pixels of the reduced scene by which its mask is widened: two cells of SAM2's mask output (stride 4)."""


class CoarseMap:
    """Log-odds of the whole scene, and the region outside of which nothing counts.

    Args:
        log_odds: (h, w) float32 of the reduced scene.
    """

    def __init__(self, log_odds: np.ndarray) -> None:
        self._log_odds = log_odds
        square = np.ones((2 * REGION_MARGIN + 1,) * 2, bool)
        self._region = ndimage.binary_dilation(log_odds > 0, square)

    def touches(self, y: int, x: int, size: tuple[int, int], grid_shape: tuple[int, int]) -> bool:
        """Whether a window (of the model's grid, whose size is `grid_shape`) meets the region."""
        rows, columns = (
            slice(start * n // full, -(-min(start + length, full) * n // full))
            for start, length, full, n in zip((y, x), size, grid_shape, self._region.shape, strict=True)
        )
        return bool(self._region[rows, columns].any())

    def gate(self, log_odds: np.ndarray, y: int, x: int, shape: tuple[int, int]) -> np.ndarray:
        """Window predictions inside the region; outside, whichever is lower: them or the whole scene's.

        Args:
            log_odds: (h, w) blended predictions of a tile of the scene.
            y: the tile's first row.
            x: the tile's first column.
            shape: (rows, columns) of the scene.
        """
        (height, width), (coarse_height, coarse_width) = log_odds.shape, self._region.shape
        down, right = coarse_height / shape[0], coarse_width / shape[1]
        rows = ((y + np.arange(height) + 0.5) * down).astype(int)
        columns = ((x + np.arange(width) + 0.5) * right).astype(int)
        inside = self._region[np.ix_(rows, columns)]
        if inside.all():
            return log_odds
        box = (x * right, y * down, (x + width) * right, (y + height) * down)
        whole = Image.fromarray(self._log_odds).resize((width, height), Image.Resampling.BILINEAR, box)
        return np.where(inside, log_odds, np.minimum(log_odds, np.minimum(np.asarray(whole), 0)))
