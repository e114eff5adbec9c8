"""Cloud-optimised GeoTIFFs on the grid of a scene."""

import os
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import rasterio
import rasterio.shutil
from affine import Affine
from rasterio.crs import CRS
from rasterio.errors import RasterioError
from rasterio.windows import Window

from rs2sam2.errors import DataError
from rs2sam2.geo.sources import GDAL_ERRORS
from rs2sam2.geo.storage import DiskRaster

NODATA = 255
PROBABILITY_STEPS = 254  # a probability p is stored as round(254 p), so that 255 is left for no data
_TILE = 512  # pixels, of a COG
_READ = 4 * _TILE  # pixels that are compared at once
COG_CACHE = 32 * 2**20
"""Bytes of decoded blocks that GDAL should keep while COGs are made, which takes several times that."""


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
    threads: int | str = 'ALL_CPUS',
) -> None:
    """Turns a finished uint8 raster into a COG: tiles of 512, DEFLATE, overviews, no data = 255.

    Its bytes do not depend on the threads.

    Args:
        pixels: the numbers; closed and removed here.
        path: of the file to write; other files may be made beside it.
        crs: of the scene, or None.
        transform: pixel to CRS.
        tags: metadata of the file.
        scale: what the numbers are multiplied by to be read, noted in the file.
        averaged: whether an overview's pixel is the mean of the pixels under it, or else one of them.
        threads: that compress and decompress.

    Raises:
        DataError: the file cannot be written, or not read back as it should be.
    """
    virtual = pixels.path.with_suffix('.vrt')
    virtual.write_text(_virtual_raster(pixels, crs, transform, tags, scale), encoding='utf-8')
    # Of probabilities, level 3 takes 1.5 times as long for 4 % less.
    options = {'compress': 'DEFLATE', 'level': 1 if averaged else 3, 'blocksize': _TILE, 'num_threads': threads}
    options['bigtiff'] = 'IF_SAFER'
    try:
        how = 'AVERAGE' if averaged else 'NEAREST'
        rasterio.shutil.copy(virtual, path, driver='COG', overview_resampling=how, **options)
        _read_back(path, pixels, threads)
    except GDAL_ERRORS as error:
        text = ' '.join(str(error).split())
        raise DataError(
            f'{path.name} cannot be written beside {path.parent.parent} ({text}); is its disk full?'
        ) from error
    pixels.close()
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
    for key, number in (('ImageOffset', 0), ('PixelOffset', 1), ('LineOffset', pixels.width)):
        ElementTree.SubElement(band, key).text = str(number)
    return ElementTree.tostring(root, encoding='unicode')


def _read_back(path: Path, pixels: DiskRaster, threads: int | str) -> None:
    """Reads all that was written: on a full disk GDAL may close a file without an error, whatever is missing in it.

    Raises:
        RasterioError: a tile is missing, cannot be decoded, or holds other numbers.
        OSError: the disk fails.
    """
    with open(path, 'rb') as file:
        os.fsync(file.fileno())
    with rasterio.open(path, num_threads=threads) as written:
        _check_tiles(written)
        for window in _windows(written):
            y, x, height, width = window.row_off, window.col_off, window.height, window.width
            if not np.array_equal(written.read(1, window=window), pixels.read(y, x, height, width)):
                raise RasterioError(f'the pixels from row {y}, column {x} on read otherwise than they were written')
        levels = len(written.overviews(1))
    for level in range(levels):
        with rasterio.open(path, overview_level=level, num_threads=threads) as overview:
            _check_tiles(overview)
            for window in _windows(overview):
                overview.read(1, window=window)


def _windows(raster: rasterio.DatasetReader) -> Iterator[Window]:
    height, width = raster.shape
    for y in range(0, height, _READ):
        for x in range(0, width, _READ):
            yield Window(x, y, min(_READ, width - x), min(_READ, height - y))


def _check_tiles(raster: rasterio.DatasetReader) -> None:
    """A tile that was never written would be read as no data."""
    rows, columns = (-(-length // _TILE) for length in raster.shape)
    for row, column in np.ndindex(rows, columns):
        if raster.get_tag_item(f'BLOCK_OFFSET_{column}_{row}', 'TIFF', bidx=1) is None:
            raise RasterioError(f'tile {row}, {column} was not written')
