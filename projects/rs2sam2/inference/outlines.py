"""Outlines of masks, in pixels or on the ground; needs the extra [geo]."""

import os
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rs2sam2.datasets.images import orientation_of
from rs2sam2.errors import ConfigError, OutputError
from rs2sam2.inference.images import GEO_DRIVERS, may_have_place

_MISSING = [name for name in ('rasterio', 'shapely') if find_spec(name) is None]
if _MISSING:
    raise ConfigError(f'polygons need {", ".join(_MISSING)}, not installed here; run: pip install "rs2sam2[geo]"')

import rasterio  # noqa: E402
import shapely  # noqa: E402
from rasterio.crs import CRS  # noqa: E402
from rasterio.errors import NotGeoreferencedWarning, RasterioIOError  # noqa: E402
from rasterio.features import shapes  # noqa: E402
from rasterio.transform import Affine  # noqa: E402


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
        size: (H, W) that was segmented. A file that is stored turned has no place.
    """
    if not isinstance(image, (str, os.PathLike)) or not may_have_place(image):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', NotGeoreferencedWarning)
        try:
            with rasterio.open(image, driver=GEO_DRIVERS[Path(image).suffix.lower()]) as raster:
                crs, transform, shape = raster.crs, raster.transform, raster.shape
        except RasterioIOError:
            return None
    if crs is None or transform.is_identity or shape != size or orientation_of(image) != 1:
        return None
    return Ground(crs, transform)


def write_mask(path: Path, mask: np.ndarray, ground: Ground) -> None:
    """Write a mask (H, W) bool as a GeoTIFF, 255 on the target."""
    height, width = mask.shape
    try:
        with rasterio.open(
            path, 'w', 'GTiff', width, height, 1, ground.crs, ground.transform, 'uint8', compress='deflate'
        ) as raster:
            raster.write(mask.astype(np.uint8) * 255, 1)
    except RasterioIOError as error:
        raise OutputError(f'{path} cannot be written ({" ".join(str(error).split())[-160:]})') from error
