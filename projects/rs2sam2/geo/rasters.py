"""Cloud-optimised GeoTIFFs on the grid of a scene."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import rasterio
import rasterio.shutil
from affine import Affine
from rasterio.crs import CRS
from rasterio.errors import RasterioError

from rs2sam2.errors import DataError
from rs2sam2.geo.storage import DiskRaster

NODATA = 255
PROBABILITY_STEPS = 254  # a probability p is stored as round(254 p), so that 255 is left for no data
_CACHE = 32 * 2**20  # bytes of blocks while a COG is made, which takes several times that


def quantise(probability: np.ndarray) -> np.ndarray:
    """Probabilities (0 to 1) as the uint8 numbers of the probability raster."""
    return (probability * np.float32(PROBABILITY_STEPS) + np.float32(0.5)).astype(np.uint8)


def write_cog(
    pixels: DiskRaster,
    path: Path,
    crs: CRS | None,
    transform: Affine,
    tags: dict[str, str],
    scale: float = 1.0,
    averaged: bool = False,
) -> None:
    """Turns a finished uint8 raster into a COG: tiles of 512, DEFLATE, overviews, no data = 255.

    Args:
        pixels: the numbers; closed here.
        path: of the file to write; other files may be made beside it.
        crs: of the scene, or None.
        transform: pixel to CRS.
        tags: metadata of the file.
        scale: what the numbers are multiplied by to be read, noted in the file.
        averaged: whether an overview's pixel is the mean of the pixels under it, or else one of them.

    Raises:
        DataError: the file cannot be written whole.
    """
    pixels.close()
    virtual = pixels.path.with_suffix('.vrt')
    virtual.write_text(_virtual_raster(pixels, crs, transform, tags, scale), encoding='utf-8')
    options = {'compress': 'DEFLATE', 'level': 3, 'blocksize': 512, 'num_threads': 'ALL_CPUS', 'bigtiff': 'IF_SAFER'}
    try:
        how = 'AVERAGE' if averaged else 'NEAREST'
        with rasterio.Env(GDAL_CACHEMAX=_CACHE):
            rasterio.shutil.copy(virtual, path, driver='COG', overview_resampling=how, **options)
        _check_whole(path)
    except RasterioError as error:
        text = ' '.join(str(error).split())
        raise DataError(
            f'{path.name} cannot be written beside {path.parent.parent} ({text}); is its disk full?'
        ) from error
    pixels.path.unlink()


def _virtual_raster(pixels: DiskRaster, crs: CRS | None, transform: Affine, tags: dict[str, str], scale: float) -> str:
    """GDAL's description of the plain file, with its place on the earth."""
    root = ElementTree.Element('VRTDataset', rasterXSize=str(pixels.width), rasterYSize=str(pixels.height))
    if crs is not None:
        ElementTree.SubElement(root, 'SRS').text = crs.to_wkt()
    if transform != Affine.identity():
        ElementTree.SubElement(root, 'GeoTransform').text = ', '.join(map(repr, map(float, transform.to_gdal())))
    metadata = ElementTree.SubElement(root, 'Metadata')
    for key, value in tags.items():
        ElementTree.SubElement(metadata, 'MDI', key=key).text = value
    band = ElementTree.SubElement(root, 'VRTRasterBand', dataType='Byte', band='1', subClass='VRTRawRasterBand')
    ElementTree.SubElement(band, 'NoDataValue').text = str(NODATA)
    if scale != 1:
        ElementTree.SubElement(band, 'Scale').text = repr(scale)
    ElementTree.SubElement(band, 'SourceFilename', relativetoVRT='1').text = pixels.path.name
    for key, value in (('ImageOffset', 0), ('PixelOffset', 1), ('LineOffset', pixels.width)):
        ElementTree.SubElement(band, key).text = str(value)
    return ElementTree.tostring(root, encoding='unicode')


def _check_whole(path: Path) -> None:
    """GDAL may close a file on a full disk without an error: every tile must lie within the file."""
    size = path.stat().st_size
    with rasterio.open(path) as written:
        rows, columns = (-(-length // 512) for length in written.shape)
        for row, column in np.ndindex(rows, columns):
            place = [
                written.get_tag_item(f'BLOCK_{part}_{column}_{row}', 'TIFF', bidx=1) for part in ('OFFSET', 'SIZE')
            ]
            if None in place or sum(map(int, place)) > size:
                raise RasterioError(f'tile {row}, {column} was not written')
