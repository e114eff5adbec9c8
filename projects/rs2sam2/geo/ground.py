"""Ground resolution and areas: what a pixel measures on the earth."""

import math

import numpy as np
import shapely
from affine import Affine
from pyproj import CRS as ProjCRS
from pyproj import Geod
from rasterio.crs import CRS
from rasterio.warp import transform as reproject

from rs2sam2.geo.sources import GDAL_ERRORS

# Parallels are no geodesics: an outline is cut into steps this long before its area on the ellipsoid is taken.
_STEP_PIXELS = 64


def to_crs(transform: Affine, columns: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates (x, y) in the CRS of points given in pixels, both (n,)."""
    t = transform
    return t.a * columns + t.b * rows + t.c, t.d * columns + t.e * rows + t.f


def pixel_size(crs: CRS, transform: Affine, centre: tuple[float, float]) -> tuple[float, float] | None:
    """Ground size of the pixel at `centre`, measured on the ellipsoid, so a map's own scale does not count.

    Args:
        crs: of the scene.
        transform: pixel (column, row) to the CRS's coordinates.
        centre: (column, row).

    Returns:
        (height, width) in metres, or None where the CRS has no known place on the earth.
    """
    if (unit := local_unit(crs)) is not None:
        return math.hypot(transform.b, transform.e) * unit, math.hypot(transform.a, transform.d) * unit
    columns, rows = np.array([(0, 0), (0, 1), (1, 0)]).T + np.array(centre)[:, None]
    try:
        lon, lat = reproject(crs, CRS.from_epsg(4326), *to_crs(transform, columns, rows))
    except GDAL_ERRORS:
        return None
    _, _, metres = Geod(ellps='WGS84').inv([lon[0]] * 2, [lat[0]] * 2, lon[1:], lat[1:])
    return (metres[0], metres[1]) if np.isfinite(metres).all() and min(metres) > 0 else None


def bearing_of_up(crs: CRS, transform: Affine, centre: tuple[float, float]) -> float | None:
    """Where the top of the picture lies from `centre`: degrees from north, clockwise, -180 to 180; None if unknown."""
    if local_unit(crs) is not None:
        return None
    columns, rows = np.array(centre)[:, None] + np.array([(0, 0), (0, -1)]).T
    try:
        lon, lat = reproject(crs, CRS.from_epsg(4326), *to_crs(transform, columns, rows))
    except GDAL_ERRORS:
        return None
    bearing, _, metres = Geod(ellps='WGS84').inv(lon[0], lat[0], lon[1], lat[1])
    return bearing if math.isfinite(metres) and metres > 0 else None


def local_unit(crs: CRS) -> float | None:
    """Metres a unit of a local plane, such as a building site's, which is nowhere on the earth; None for other CRS."""
    if crs.is_projected or crs.is_geographic:
        return None
    try:
        name, metres = crs.units_factor
    except GDAL_ERRORS:
        return None
    return metres if name != 'unknown' and math.isfinite(metres) and metres > 0 else None


class AreaMeter:
    """Areas: of a projected or local CRS in its plane, of a geographic one on its ellipsoid, else in pixels.

    Attributes:
        unit: 'm2' or 'px'.
    """

    def __init__(self, crs: CRS | None, transform: Affine) -> None:
        self._transform = transform
        self._geod = None
        self.unit = 'm2'
        if crs is not None and crs.is_geographic:
            self._geod = _ellipsoid(crs)
            self._degrees = math.degrees(crs.units_factor[1])
        elif crs is not None and (metres := _plane_unit(crs)) is not None:
            self._pixel = abs(transform.determinant) * metres**2
        else:
            self.unit, self._pixel = 'px', 1.0

    def measure(self, polygon: shapely.Polygon, pixels: float) -> float:
        """Area of one object.

        Args:
            polygon: its outline in the CRS's coordinates (longitude first).
            pixels: how many pixels it covers.
        """
        if self._geod is None:
            return pixels * self._pixel
        step = _STEP_PIXELS * math.sqrt(abs(self._transform.determinant))
        fine = shapely.transform(shapely.segmentize(polygon, step), lambda xy: xy * self._degrees)
        return abs(self._geod.geometry_area_perimeter(fine)[0])


def _plane_unit(crs: CRS) -> float | None:
    return crs.linear_units_factor[1] if crs.is_projected else local_unit(crs)


def _ellipsoid(crs: CRS) -> Geod:
    return ProjCRS.from_wkt(crs.to_wkt()).get_geod() or Geod(ellps='WGS84')
