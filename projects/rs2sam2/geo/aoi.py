"""The area of interest: polygons outside of which a scene is not run."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyogrio
import shapely
from affine import Affine
from rasterio.crs import CRS
from rasterio.features import rasterize
from rasterio.warp import transform as reproject

from rs2sam2.errors import ConfigError, DataError
from rs2sam2.geo.sources import GDAL_ERRORS
from rs2sam2.geo.vector_sources import check_vector


class AreaOfInterest:
    """Polygons on a scene.

    Args:
        polygons: in (column, row) of the scene.
    """

    def __init__(self, polygons: Sequence[shapely.Geometry]) -> None:
        self._polygons = list(polygons)
        self._tree = shapely.STRtree(self._polygons)

    def covers(self, y: float, x: float, height: float, width: float, shape: tuple[int, int]) -> np.ndarray | None:
        """Which pixels of a window lie inside, by their centres: (rows, columns) bool; None when all do.

        Args:
            y: first row of the window, in pixels of the scene.
            x: first column.
            height: rows of the scene.
            width: columns of the scene.
            shape: (rows, columns) that the window is read as.
        """
        near = [self._polygons[index] for index in self._tree.query(shapely.box(x, y, x + width, y + height))]
        if not near:
            return np.zeros(shape, bool)
        place = Affine.translation(x, y) @ Affine.scale(width / shape[1], height / shape[0])
        inside = rasterize(near, shape, fill=0, default_value=1, transform=place, dtype=np.uint8).astype(bool)
        return None if inside.all() else inside


def read_aoi(
    path: str | os.PathLike, crs: CRS | None, transform: Affine, shape: tuple[int, int]
) -> tuple[AreaOfInterest, list[str]]:
    """Polygons of a vector file, brought to a scene.

    Args:
        path: of the file; its first layer is read.
        crs: of the scene, or None.
        transform: pixel of the scene to CRS.
        shape: (rows, columns) of the scene.

    Returns:
        The area, and what the user should know.

    Raises:
        DataError: the file cannot be read, or holds no polygons.
        ConfigError: it does not lie on the scene, or nobody knows where it lies.
    """
    path = Path(path)
    notes = check_vector(path)
    try:
        meta, _, geometry, _ = pyogrio.raw.read(str(path), columns=[])
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
        raise DataError(f'{path} cannot be read as a vector file ({" ".join(str(error).split())[:160]})') from error
    shapes = shapely.from_wkb(geometry)
    areas = [one for one in shapes if one is not None and one.geom_type in ('Polygon', 'MultiPolygon') and one.area > 0]
    if not areas:
        raise DataError(f'{path} holds no polygons; the area of interest is polygons')
    if len(areas) < len(shapes):
        notes.append(f'{path}: {len(shapes) - len(areas):,} of {len(shapes):,} features are no polygons with an area')
    own = CRS.from_user_input(meta['crs']) if meta['crs'] else None
    if own is None and crs is not None:
        raise ConfigError(f'{path} names no CRS, so that nobody knows where it lies on the scene; assign one')
    if crs is None and own is not None and own.is_geographic and path.suffix.lower() not in ('.geojson', '.json'):
        raise ConfigError(f'{path} has a CRS and the scene has none: they cannot be brought together')
    inverse = ~transform

    def to_pixels(points: np.ndarray) -> np.ndarray:
        xs, ys = points.T
        if crs is not None and own != crs:
            xs, ys = map(np.asarray, reproject(own, crs, xs, ys))
        return np.column_stack(
            (inverse.a * xs + inverse.b * ys + inverse.c, inverse.d * xs + inverse.e * ys + inverse.f)
        )

    try:
        placed = [shapely.make_valid(shapely.transform(one, to_pixels)) for one in areas]
    except GDAL_ERRORS as error:
        raise ConfigError(f'{path} cannot be brought to the CRS of the scene ({error})') from error
    scene = shapely.box(0, 0, shape[1], shape[0])
    on = [one for one in placed if np.isfinite(shapely.bounds(one)).all() and one.intersects(scene)]
    if not on:
        raise ConfigError(f'{path} does not lie on the scene: no polygon of it meets the raster')
    notes.append(f'{path}: {len(on):,} polygons of interest; outside of them nothing is run, and outputs have no data')
    return AreaOfInterest(on), notes
