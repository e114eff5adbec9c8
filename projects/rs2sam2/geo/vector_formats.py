"""Files of polygons, written in batches and read back: GeoPackage, GeoJSON, shapefile, GeoParquet."""

import json
import os
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
from pyogrio._err import CPLE_BaseError
from pyogrio.errors import DataSourceError
from pyproj import CRS as ProjCRS
from rasterio.crs import CRS

from rs2sam2.errors import ConfigError, DataError

LAYER = 'objects'
_DRIVERS = {'.gpkg': 'GPKG', '.geojson': 'GeoJSON', '.json': 'GeoJSON', '.shp': 'ESRI Shapefile', '.parquet': 'Parquet'}
_SHAPEFILE = ('.shx', '.dbf', '.prj', '.cpg')
_SHAPEFILE_TEXT = 254  # bytes of a word in its table
# A GeoPackage notes when it was changed: two runs would differ in nothing else.
pyogrio.set_gdal_config_options({'OGR_CURRENT_DATE': '2000-01-01T00:00:00.000Z'})


def vector_driver(path: Path) -> str:
    """The format that the suffix of a file says.

    Raises:
        ConfigError: there is none, or what writes it is not installed.
    """
    driver = _DRIVERS.get(path.suffix.lower())
    if driver is None:
        raise ConfigError(f'{path}: polygons are written as {", ".join(_DRIVERS)}; choose one of these suffixes')
    if driver == 'Parquet':
        _pyarrow()
    return driver


def companions(path: Path) -> list[Path]:
    """The files that a file of polygons consists of beside itself."""
    return [path.with_suffix(suffix) for suffix in _SHAPEFILE] if path.suffix.lower() == '.shp' else []


def open_vector(path: Path, crs: CRS | None, fields: list[str], layer: str = LAYER) -> 'VectorFile':
    """A new file of polygons.

    Args:
        path: its suffix says the format.
        crs: of the coordinates, or None.
        fields: names of the columns.
        layer: of a GeoPackage; it may be a further one of a file that is there.

    Raises:
        ConfigError: the format does not know this CRS.
    """
    driver = vector_driver(path)
    return ParquetFile(path, crs, fields) if driver == 'Parquet' else GdalFile(path, crs, fields, driver, layer)


class VectorFile:
    """A file that batches of polygons are added to.

    Attributes:
        batched: whether batches go to the disk; else all come at once.
    """

    batched = True

    def write(self, outlines: np.ndarray, columns: list[np.ndarray]) -> None:
        """One more batch: WKB, and a column a field."""
        raise NotImplementedError

    def close(self, count: int) -> None:
        """Ends the file and reads all back: on a full disk a writer may end without an error, whatever is missing.

        Raises:
            DataError: it does not hold what was written.
        """
        raise NotImplementedError


class GdalFile(VectorFile):
    """A file of one of GDAL's formats. GeoJSON is written in one piece."""

    def __init__(self, path: Path, crs: CRS | None, fields: list[str], driver: str, layer: str = LAYER) -> None:
        self._path, self._driver, self._fields = path, driver, fields
        # GDAL reads a file of one layer whatever that is called.
        self._layer = self._path.stem if driver == 'ESRI Shapefile' else layer
        self._read = {'layer': layer} if driver == 'GPKG' else {}
        self.batched = driver != 'GeoJSON'
        self._written, self._checksum = False, 0
        self._crs = crs.to_wkt() if crs is not None else None
        authority = crs.to_authority() if crs is not None else None
        if driver == 'GeoJSON' and crs is not None:
            if authority is None:
                raise ConfigError(f'{path.name}: GeoJSON cannot hold this CRS, which has no EPSG code; write .gpkg')
            self._crs = ':'.join(authority)

    def write(self, outlines: np.ndarray, columns: list[np.ndarray]) -> None:
        """See `VectorFile`."""
        if self._driver == 'ESRI Shapefile':
            self._check_texts(columns)
        with _explained(self._path), warnings.catch_warnings():
            warnings.filterwarnings('ignore', message="'crs' was not provided")
            pyogrio.raw.write(
                str(self._path),
                outlines,
                columns,
                self._fields,
                layer=self._layer,
                driver=self._driver,
                geometry_type='Polygon',
                crs=self._crs,
                append=self._written,
                **(dict(encoding='UTF-8') if self._driver == 'ESRI Shapefile' else {}),
            )
        self._checksum = _add_checksum(self._checksum, outlines, columns)
        self._written = True

    def close(self, count: int) -> None:
        """See `VectorFile`."""
        with _explained(self._path):
            self._read_back(count)

    def _check_texts(self, columns: list[np.ndarray]) -> None:
        for field, column in zip(self._fields, columns, strict=True):
            words = set(column) if column.dtype.kind not in 'if' else ()
            if any(len(word.encode()) > _SHAPEFILE_TEXT for word in words):
                raise ConfigError(
                    f'{self._path.name}: {field} has more than the {_SHAPEFILE_TEXT} bytes that a shapefile holds; '
                    'write .gpkg'
                )

    def _read_back(self, count: int) -> None:
        path = str(self._path)
        for file in (self._path, *companions(self._path)):
            if file.exists():
                with open(file, 'rb') as opened:
                    os.fsync(opened.fileno())
        known = pyogrio.read_info(path, force_feature_count=True, **self._read)
        found = checksum = 0
        # GeoJSON is parsed from its start each time.
        batch = 5000 if self.batched else max(1, count)
        while found < count:
            _, _, outlines, columns = pyogrio.raw.read(
                path, columns=self._fields, skip_features=found, max_features=batch, **self._read
            )
            if not len(outlines):
                break
            found += len(outlines)
            checksum = _add_checksum(checksum, outlines, columns)
        same = known['features'] == found == count
        if self._driver == 'GPKG':  # the others round numbers
            same &= checksum == self._checksum and known['capabilities']['fast_spatial_filter']
            same &= not count or self._indexed(path) == count
        if not same:
            raise DataSourceError(f'it does not read as it was written: {found:,} of {count:,} objects')

    def _indexed(self, path: str) -> int:
        """How many objects the spatial index leads to."""
        everything = tuple(pyogrio.read_info(path, force_total_bounds=True, **self._read)['total_bounds'])
        _, numbers, _, _ = pyogrio.raw.read(
            path, columns=[], read_geometry=False, bbox=everything, return_fids=True, **self._read
        )
        return len(numbers)


class ParquetFile(VectorFile):
    """A GeoParquet 1.0 file: WKB in the column `geometry`, the CRS as PROJJSON."""

    def __init__(self, path: Path, crs: CRS | None, fields: list[str]) -> None:
        self._path, self._fields = path, fields
        self._writer: Any = None
        column: dict[str, Any] = {'encoding': 'WKB', 'geometry_types': ['Polygon']}
        # Without the key the CRS would be longitude and latitude.
        column['crs'] = None if crs is None else json.loads(ProjCRS.from_wkt(crs.to_wkt()).to_json())
        about = {'version': '1.0.0', 'primary_column': 'geometry', 'columns': {'geometry': column}}
        self._about = {b'geo': json.dumps(about).encode()}

    def write(self, outlines: np.ndarray, columns: list[np.ndarray]) -> None:
        """See `VectorFile`."""
        arrow, parquet = _pyarrow()
        table = arrow.table(
            {
                **{
                    field: arrow.array(column, None if column.dtype.kind in 'if' else arrow.string())
                    for field, column in zip(self._fields, columns, strict=True)
                },
                'geometry': arrow.array(outlines, arrow.binary()),
            }
        ).replace_schema_metadata(self._about)
        with _explained(self._path):
            if self._writer is None:
                self._writer = parquet.ParquetWriter(self._path, table.schema, compression='zstd')
            self._writer.write_table(table)

    def close(self, count: int) -> None:
        """See `VectorFile`."""
        _, parquet = _pyarrow()
        with _explained(self._path):
            self._writer.close()
            with open(self._path, 'rb') as file:
                os.fsync(file.fileno())
            with parquet.ParquetFile(self._path) as file:
                found = sum(batch.num_rows for batch in file.iter_batches(5000))
        if found != count:
            raise DataError(f'{self._path.name} does not read as it was written: {found:,} of {count:,} objects')


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ConfigError('.parquet needs pyarrow: pip install "rs2sam2[parquet]", or write .gpkg') from error
    return pyarrow, pyarrow.parquet


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, CPLE_BaseError, OSError) as error:
        text = ' '.join(str(error).split())[-160:]
        raise DataError(f'{path.name} cannot be written ({text}); is the disk full?') from error


def _add_checksum(checksum: int, outlines: np.ndarray, columns: list[np.ndarray]) -> int:
    for outline in outlines:
        checksum = zlib.crc32(outline, checksum)
    for column in columns:
        text = column.dtype.kind not in 'if'
        checksum = zlib.crc32('\0'.join(column).encode() if text else np.ascontiguousarray(column).data, checksum)
    return checksum
