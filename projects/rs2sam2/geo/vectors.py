"""Polygons of the objects as a GeoPackage or GeoJSON file."""

import os
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyogrio
import shapely
from affine import Affine
from pyogrio._err import CPLE_BaseError
from pyogrio.errors import DataSourceError
from rasterio.crs import CRS

from rs2sam2.errors import ConfigError, DataError
from rs2sam2.geo.ground import AreaMeter, to_crs
from rs2sam2.geo.polygons import TracedObject

_DRIVERS = {'.gpkg': 'GPKG', '.geojson': 'GeoJSON', '.json': 'GeoJSON'}
_FIELDS = ['id', 'expression', 'score', 'area', 'area_unit', 'pixels']
_BATCH = 5000
# A GeoPackage notes when it was changed: two runs would differ in nothing else.
pyogrio.set_gdal_config_options({'OGR_CURRENT_DATE': '2000-01-01T00:00:00.000Z'})


def vector_driver(path: Path) -> str:
    """GDAL's driver for the suffix of a file; ConfigError for others than .gpkg, .geojson, .json."""
    driver = _DRIVERS.get(path.suffix.lower())
    if driver is None:
        raise ConfigError(f'{path}: polygons are written as {", ".join(_DRIVERS)}; choose one of these suffixes')
    return driver


class PolygonFile:
    """A file that objects are added to: fields `id`, `expression`, `score`, `area`, `area_unit`, `pixels`.

    A GeoPackage is written in batches. GeoJSON cannot be: all its objects are kept until `close`.

    Args:
        path: of the new file, its suffix says the format.
        crs: of the scene, or None.
        transform: pixel to CRS.

    Raises:
        ConfigError: GeoJSON cannot name this CRS.
    """

    def __init__(self, path: Path, crs: CRS | None, transform: Affine) -> None:
        self.count = 0
        self._path, self._driver = path, vector_driver(path)
        self._transform = transform
        self._meter = AreaMeter(crs, transform)
        self._objects: list[tuple[str, TracedObject]] = []
        self._written = False
        self._checksum = 0
        self._crs = crs.to_wkt() if crs is not None else None
        authority = crs.to_authority() if crs is not None else None
        if self._driver == 'GeoJSON' and crs is not None:
            if authority is None:
                raise ConfigError(f'{path.name}: GeoJSON cannot hold this CRS, which has no EPSG code; write .gpkg')
            self._crs = ':'.join(authority)

    def add(self, expression: str, traced: TracedObject) -> None:
        """One more object, and the expression that means it."""
        self._objects.append((expression, traced))
        self.count += 1
        if len(self._objects) >= _BATCH and self._driver == 'GPKG':
            self._flush()

    def close(self) -> None:
        """Writes what is left; a file without objects has its fields all the same."""
        if self._objects or not self._written:
            self._flush()
        with self._explained():
            self._read_back()

    def _flush(self) -> None:
        expressions, objects = zip(*self._objects, strict=True) if self._objects else ((), ())
        self._objects = []
        polygons = shapely.transform(np.array([o.polygon for o in objects], dtype=object), self._to_crs)
        sizes = [self._meter.measure(p, o.pixels) for p, o in zip(polygons, objects, strict=True)]
        columns = [
            np.arange(self.count - len(objects) + 1, self.count + 1),
            np.array(expressions, dtype=object),
            np.array([o.score for o in objects], dtype=np.float64),
            np.array(sizes, dtype=np.float64),
            np.array([self._meter.unit] * len(objects), dtype=object),
            np.array([o.pixels for o in objects], dtype=np.int64),
        ]
        outlines = shapely.to_wkb(polygons)
        with self._explained(), warnings.catch_warnings():
            warnings.filterwarnings('ignore', message="'crs' was not provided")
            pyogrio.raw.write(
                str(self._path),
                outlines,
                columns,
                _FIELDS,
                layer='objects',
                driver=self._driver,
                geometry_type='Polygon',
                crs=self._crs,
                append=self._written,
            )
        self._checksum = _add_checksum(self._checksum, outlines, columns)
        self._written = True

    def _read_back(self) -> None:
        """Reads all that was written: on a full disk GDAL may end without an error, whatever is missing."""
        path = str(self._path)
        with open(path, 'rb') as file:
            os.fsync(file.fileno())
        known = pyogrio.read_info(path, layer='objects', force_feature_count=True)
        found = checksum = 0
        # GeoJSON is parsed from its start each time.
        batch = _BATCH if self._driver == 'GPKG' else max(1, self.count)
        while found < self.count:
            _, _, outlines, columns = pyogrio.raw.read(
                path, layer='objects', columns=_FIELDS, skip_features=found, max_features=batch
            )
            if not len(outlines):
                break
            found += len(outlines)
            checksum = _add_checksum(checksum, outlines, columns)
        same = known['features'] == found == self.count
        if self._driver == 'GPKG':  # GeoJSON rounds numbers
            same &= checksum == self._checksum and known['capabilities']['fast_spatial_filter']
            same &= not self.count or self._indexed(path, known) == self.count
        if not same:
            raise DataSourceError(f'it does not read as it was written: {found:,} of {self.count:,} objects')

    def _indexed(self, path: str, known: dict) -> int:
        """How many objects the spatial index leads to."""
        everything = tuple(pyogrio.read_info(path, layer='objects', force_total_bounds=True)['total_bounds'])
        _, numbers, _, _ = pyogrio.raw.read(
            path, layer='objects', columns=[], read_geometry=False, bbox=everything, return_fids=True
        )
        return len(numbers)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (RuntimeError, CPLE_BaseError) as error:
            text = ' '.join(str(error).split())[-160:]
            raise DataError(f'{self._path.name} cannot be written ({text}); is the disk full?') from error

    def _to_crs(self, points: np.ndarray) -> np.ndarray:
        return np.column_stack(to_crs(self._transform, *points.T))


def _add_checksum(checksum: int, outlines: np.ndarray, columns: list[np.ndarray]) -> int:
    for outline in outlines:
        checksum = zlib.crc32(outline, checksum)
    for column in columns:
        text = column.dtype.kind not in 'if'
        checksum = zlib.crc32('\0'.join(column).encode() if text else np.ascontiguousarray(column), checksum)
    return checksum
