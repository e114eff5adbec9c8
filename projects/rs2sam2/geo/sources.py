"""What a user names as a raster, and which of GDAL's drivers may open it.

GDAL goes by content: any file may hold a virtual raster or a description of a web service, and opening it then reads
other files or sends requests. So a name is opened with the drivers of its kind alone. What a user names as a
virtual raster, a service or an address is opened as such, and the notes say so.
"""

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import PurePosixPath
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.env import ensure_env
from rasterio.errors import CRSError, NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader

from rs2sam2.errors import DataError
from rs2sam2.files import require_regular, require_utf8

GDAL_ERRORS = (RasterioError, CRSError, CPLE_BaseError)
"""What rasterio raises; not all of it is a `RasterioError`."""

TIFF = ('GTiff',)
_JPEG_2000 = ('JP2OpenJPEG', 'JP2ECW', 'JP2KAK', 'JP2MrSID', 'JP2Lura')
_HDF = ('HDF5', 'HDF5Image', 'HDF4', 'HDF4Image', 'netCDF')
_KINDS = {
    **dict.fromkeys(('.tif', '.tiff', '.gtiff', '.btf'), TIFF),
    **dict.fromkeys(('.jpg', '.jpeg', '.jpe'), ('JPEG',)),
    **dict.fromkeys(('.jp2', '.j2k', '.jpx'), _JPEG_2000),
    **dict.fromkeys(('.ppm', '.pgm', '.pnm'), ('PNM',)),
    '.png': ('PNG',),
    '.gif': ('GIF', 'BIGGIF'),
    '.bmp': ('BMP',),
    '.webp': ('WEBP',),
    '.img': ('HFA', 'ENVI', 'EHdr'),
    **dict.fromkeys(('.nc', '.nc4', '.cdf'), ('netCDF', *_HDF)),
    **dict.fromkeys(('.h5', '.hdf5', '.he5', '.hdf', '.h4', '.he4'), _HDF),
    '.bag': ('BAG',),
    '.kea': ('KEA',),
    '.ers': ('ERS',),
    '.pix': ('PCIDSK',),
    '.zarr': ('Zarr',),
    **dict.fromkeys(('.cub', '.lbl', '.pds'), ('ISIS3', 'ISIS2', 'PDS', 'VICAR')),
}
# Of other names: formats whose pixels are in the file itself, or beside it under its name.
_PLAIN = (
    *('GTiff', 'PNG', 'JPEG', 'JPEGXL', *_JPEG_2000, 'GIF', 'BIGGIF', 'BMP', 'WEBP', 'PNM', 'AVIF', 'HEIF', 'TGA'),
    *('ENVI', 'EHdr', 'NITF', 'GRIB', 'ECW', 'MrSID', 'RMF', 'RST', 'SAGA', 'ILWIS', 'PCRaster', 'GPKG'),
    *('AAIGrid', 'AIG', 'GRASSASCIIGrid', 'GSAG', 'GSBG', 'GS7BG', 'XYZ', 'ZMap', 'GXF', 'RRASTER', 'MBTiles'),
    *('USGSDEM', 'DTED', 'SRTMHGT', 'Terragen', 'GTX', 'BT', 'BSB', 'BYN', 'KRO', 'SGI', 'FITS', 'SAR_CEOS', 'CEOS'),
)
# Names by which a user says that the pixels are elsewhere, or in several files: any driver.
_REFERRING = ('.vrt', '.xml', '.gti', '.dim', '.safe', '.mrf', '.json', '.til', '.toc', '.prf', '.wms', '.wmts')
_REMOTE = {'http': 'curl', 'https': 'curl', 'ftp': 'curl', 's3': 's3', 'gs': 'gs', 'az': 'az', 'oss': 'oss'}
_NETWORK = re.compile(r'/vsi(curl|s3|gs|az|adls|oss|swift|webhdfs|hdfs)[/_?]')
_NETWORK_OPTIONS = dict(
    GDAL_HTTP_CONNECTTIMEOUT=15, GDAL_HTTP_LOW_SPEED_TIME=30, GDAL_HTTP_LOW_SPEED_LIMIT=1, GDAL_HTTP_MAX_RETRY=2
)
_PREFIXED = re.compile(r'[A-Za-z][A-Za-z0-9_]+:')
_NAMED_FILES = 3  # of a virtual raster that a note names


class RasterSource(NamedTuple):
    """A raster as it is opened.

    Attributes:
        given: what the user wrote.
        name: GDAL's name for it.
        drivers: that may open it; None: any, for the user named one of them or a virtual raster.
    """

    given: str
    name: str
    drivers: tuple[str, ...] | None


def find_source(given: str | os.PathLike) -> RasterSource:
    """Understand what is named: a file, an address (https://, s3://, /vsicurl/ ...), a part (NETCDF:"a.nc":red).

    Raises:
        DataError: there is no such file, or it is a pipe or a device, or its name is no UTF-8.
    """
    if not os.fspath(given).strip():
        raise DataError('the name of the scene is empty; name a raster')
    require_utf8(given)
    # pathlib makes one slash of two.
    given = re.sub(r'^(https?|ftp|s3|gs|az|oss):/(?!/)', r'\1://', os.fspath(given))
    if given.startswith('file://'):
        given = unquote(urlsplit(given).path)
    if os.path.exists(given):
        if not os.path.isdir(given):  # some formats are folders
            require_regular(given)
        return RasterSource(given, os.path.abspath(given), _drivers(given))
    scheme, mark, rest = given.partition('://')
    if mark and scheme.lower() in _REMOTE:
        kind = _REMOTE[scheme.lower()]
        name = f'/vsi{kind}/{given if kind == "curl" else rest}'
        return RasterSource(given, name, _drivers(urlsplit(given).path if kind == 'curl' else rest))
    if given.startswith('/vsi'):
        return RasterSource(given, given, _drivers(given.partition('?')[0]))
    if mark or _PREFIXED.match(given):
        return RasterSource(given, given, None)
    if os.path.islink(given):
        raise DataError(f'{given} is a link to {os.readlink(given)}, which is missing; check the path')
    raise DataError(f'{given} is missing; check the path')


def find_upload(path: str | os.PathLike) -> RasterSource:
    """A file that someone else sent: a GeoTIFF or nothing, whatever it is called; messages do not say where it lies."""
    path = os.fspath(path)
    require_regular(path)
    return RasterSource(os.path.basename(path), os.path.abspath(path), TIFF)


def gdal_env(**options: object) -> rasterio.Env:
    """GDAL's settings for reading rasters, with those given; what the environment sets wins.

    A server that sends nothing is waited for 30 seconds.
    """
    options |= {key: value for key, value in _NETWORK_OPTIONS.items() if key not in os.environ}
    return rasterio.Env(**options)


@ensure_env
def open_raster(source: RasterSource) -> DatasetReader:
    """Open a raster with its drivers; rasterio's errors are not explained here."""
    options = {'driver': list(source.drivers)} if source.drivers is not None else {}
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', NotGeoreferencedWarning)  # the notes say so
        # rasterio.open takes one driver only.
        dataset = DatasetReader(source.name, **options)
        if source.drivers is not None and 'OVERVIEW_FILE' in dataset.tags(ns='OVERVIEWS'):
            # Even a GeoTIFF can name another file as its own reduced pixels: they are made from the raster itself.
            dataset.close()
            dataset = DatasetReader(source.name, **options, overview_level='NONE')
        return dataset


def source_notes(source: RasterSource, dataset: DatasetReader) -> list[str]:
    """What the user should know about where the pixels come from."""
    if dataset.driver == 'VRT':
        others = [name for name in dataset.files if name != source.name]
        more = len(others) - _NAMED_FILES
        shown = ', '.join(others[:_NAMED_FILES]) + (f' and {more:,} more' if more > 0 else '')
        return [f'{source.given} is a virtual raster: its pixels come from {shown or "elsewhere"}']
    if _NETWORK.search(source.name):
        return [f'{source.given} is read over the network']
    if dataset.driver not in {*_PLAIN, *chain.from_iterable(_KINDS.values())}:
        return [f'{source.given} was opened by the driver {dataset.driver}, which may read other files or the network']
    return []


@contextmanager
def explained(source: RasterSource) -> Iterator[None]:
    """GDAL's errors as one line that names the raster."""
    try:
        yield
    except (*GDAL_ERRORS, MemoryError) as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        text = ' '.join(str(cause).split()).replace(source.name, source.given).removeprefix(f'{source.given}: ')
        raise DataError(
            f'{source.given} cannot be read as a raster ({text or type(cause).__name__}); {_remedy(source)}'
        ) from error


def _remedy(source: RasterSource) -> str:
    if _NETWORK.search(source.name):
        return 'is the address right, and does its server send parts of files? else download it'
    if os.path.isdir(source.name):
        return 'it is a folder, and none that is a raster: name the rasters in it'
    try:
        with open(source.name, 'rb') as file:
            start = file.read(512).lstrip(b'\xef\xbb\xbf \t\r\n')
    except OSError:
        return 'is it whole, and a GeoTIFF or image?'
    if source.drivers is not None and start[:1] in (b'<', b'{'):
        return (
            'it holds a text that may name other files or addresses, and its name does not say so: where that is '
            'meant, call it .vrt or .xml'
        )
    return 'is it whole, and a GeoTIFF or image?'


def _drivers(path: str) -> tuple[str, ...] | None:
    suffix = PurePosixPath(path).suffix.lower()
    return None if suffix in _REFERRING else _KINDS.get(suffix, _PLAIN)


def is_local(given: str) -> bool:
    """Whether a name is that of a file, and no address or part that GDAL takes apart."""
    if os.path.exists(given):
        return True
    return not ('://' in given or given.startswith('/vsi') or _PREFIXED.match(given))


def is_referring(given: str) -> bool:
    """Whether a file of this name may name others: a virtual raster, a service, a product of several files."""
    return PurePosixPath(given).suffix.lower() in _REFERRING


def companion_names(given: str) -> list[str]:
    """Names that files beside a raster have, which GDAL reads with it: overviews, masks, metadata, world files."""
    stem, suffix = os.path.splitext(given)
    world = [suffix + 'w', suffix[:2] + suffix[-1:] + 'w', '.wld'] if suffix else ['.wld']
    return [*(given + end for end in ('.ovr', '.msk', '.aux.xml')), *(stem + end for end in world), stem + '.aux']


def raster_suffixes() -> tuple[str, ...]:
    """Suffixes of files that are rasters."""
    return tuple(_KINDS)
