"""Outlines of masks, in pixels or on the ground; needs the extra [geo]."""

import os
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rs2sam2.errors import ConfigError

_MISSING = [name for name in ('rasterio', 'shapely') if find_spec(name) is None]
if _MISSING:
    raise ConfigError(f'polygons need {", ".join(_MISSING)}, not installed here; run: pip install "rs2sam2[geo]"')

import rasterio  # noqa: E402
import shapely  # noqa: E402
from rasterio.crs import CRS  # noqa: E402
from rasterio.errors import NotGeoreferencedWarning, RasterioIOError  # noqa: E402
from rasterio.features import shapes  # noqa: E402
from rasterio.transform import Affine  # noqa: E402

DRIVERS = {'.tif': 'GTiff', '.tiff': 'GTiff', '.jp2': 'JP2OpenJPEG'}


class Ground(NamedTuple):
    """Where the pixels of an image lie.

    Attributes:
        crs: coordinate reference system.
        transform: pixel to CRS.
    """

    crs: CRS
    transform: Affine

    def place(self, polygon: shapely.Polygon) -> shapely.Polygon:
        """A polygon in pixels, on the ground."""
        a, b, c, d, e, f = self.transform[:6]
        return shapely.transform(polygon, lambda points: points @ np.array([[a, d], [b, e]]) + (c, f))


def trace(mask: np.ndarray) -> list[shapely.Polygon]:
    """Connected parts (pixels that share an edge) of a mask (H, W) bool, the largest first, along the pixels' edges."""
    found = shapes(mask.astype(np.uint8), mask, connectivity=4)
    polygons = [shapely.Polygon(one['coordinates'][0], one['coordinates'][1:]) for one, _ in found]
    return sorted(polygons, key=lambda polygon: -polygon.area)


def ground_of(image: object, size: tuple[int, int]) -> Ground | None:
    """Where an image lies on the ground; None for one in memory, or without CRS or transform.

    Args:
        image: what the user gave.
        size: (H, W) that was segmented; a file that is stored turned, and so has another one, has no place.
    """
    driver = DRIVERS.get(Path(image).suffix.lower()) if isinstance(image, (str, os.PathLike)) else None
    if driver is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', NotGeoreferencedWarning)
        try:
            with rasterio.open(image, driver=driver) as raster:
                crs, transform, shape = raster.crs, raster.transform, raster.shape
        except RasterioIOError:
            return None
    return None if crs is None or transform.is_identity or shape != size else Ground(crs, transform)
