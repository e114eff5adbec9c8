"""Scenes and predictors for the tests of the scene pipeline."""

from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from rasterio.transform import from_origin
from scipy import ndimage

UTM = dict(crs='EPSG:32632', transform=from_origin(4e5, 5.3e6, 0.5, 0.5))


class BrightThings:
    """Log-odds grow with local brightness: a small convolution, the same wherever the window lies."""

    def __init__(self, threshold: float = 120.0, reach: int = 9) -> None:
        self.threshold, self.reach = threshold, reach
        self.shapes: list[tuple[int, int]] = []
        self.expressions: set[str] = set()

    def predict(self, images: list[np.ndarray], expression: str) -> np.ndarray:
        self.shapes += [image.shape[:2] for image in images]
        self.expressions.add(expression)
        grey = [ndimage.uniform_filter(image.astype(np.float32).mean(2), self.reach) for image in images]
        return (np.stack(grey) - np.float32(self.threshold)) / 10


def write_scene(path: Path, data: np.ndarray, **profile: object) -> Path:
    """Writes (bands, h, w) as a GeoTIFF."""
    count, height, width = data.shape
    defaults = dict(driver='GTiff', count=count, height=height, width=width, dtype=data.dtype, **UTM)
    with rasterio.open(path, 'w', **(defaults | profile)) as scene:
        scene.write(data)
    return path


def blobs(height: int, width: int, seed: int = 0, bands: int = 3) -> np.ndarray:
    """Smooth random ground, (bands, height, width) uint8: bright regions of many sizes, some with holes."""
    field = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((height, width)), 12)
    field = (field - field.min()) / (field.max() - field.min())
    return np.repeat((field * 255).astype(np.uint8)[None], bands, axis=0)


def rotated() -> Affine:
    """Pixels of half a metre on a grid turned by 30 degrees."""
    cos, sin = 0.5 * np.cos(np.pi / 6), 0.5 * np.sin(np.pi / 6)
    return Affine(cos, sin, 4e5, sin, -cos, 5.3e6)
