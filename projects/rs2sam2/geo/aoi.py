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
from rs2sam2.geo.vector_sources import check_vector, gdal_reason


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


def _polygonal(shape: shapely.Geometry) -> shapely.MultiPolygon:
    """The parts of a geometry that have an area, valid: outlines that cross themselves are mended."""
    if not np.isfinite(shapely.bounds(shape)).all():
        return shapely.MultiPolygon()
    parts = shapely.get_parts(shapely.get_parts(shapely.make_valid(shape)))
    return shapely.MultiPolygon([part for part in parts if part.geom_type == 'Polygon' and part.area > 0])


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
        what = 'is a folder, and none that is a vector file' if path.is_dir() else 'cannot be read as a vector file'
        raise DataError(f'{path} {what} ({gdal_reason(error, path)}); name a file of polygons') from error
    with np.errstate(invalid='ignore'):  # of corners that are no finite numbers, which are looked for below
        shapes = shapely.from_wkb(geometry)
    areas = [area for one in shapes if one is not None and (area := _polygonal(one)).area > 0]
    if not areas:
        raise DataError(f'{path} holds no polygons with an area; the area of interest is polygons')
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
        placed = [shapely.transform(one, to_pixels) for one in areas]
    except GDAL_ERRORS as error:
        raise ConfigError(
            f'{path} cannot be brought to the CRS of the scene ({error}): its coordinates are taken as '
            f'{own}, by what the file says of itself; assign the CRS that they are in'
        ) from error
    # Beyond the scene they are cut off: numbers of any size are more than a raster takes.
    scene = shapely.box(0, 0, shape[1], shape[0])
    on = [part for one in placed if (part := _polygonal(_polygonal(one).intersection(scene))).area > 0]
    if not on:
        raise ConfigError(f'{path} does not lie on the scene: no polygon of it meets the raster')
    notes.append(f'{path}: {len(on):,} polygons of interest; outside of them nothing is run, and outputs have no data')
    return AreaOfInterest(on), notes
