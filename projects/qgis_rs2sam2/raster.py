"""The part of a layer that is sent: a file that is there, or a GeoTIFF that is cut out."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import NamedTuple

from osgeo import gdal

# What the service opens by its path; anything else is written as a GeoTIFF first.
READ_BY_PATH = ('.tif', '.tiff', '.jp2', '.png', '.jpg', '.jpeg')
# A picture without a place lies below the x axis in QGIS; elsewhere its rows count downwards.
_OF_PICTURES = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)


class RasterError(Exception):
    """A layer that cannot be sent; the text says why."""


class Part(NamedTuple):
    """What to segment of a layer.

    Attributes:
        source: as GDAL opens it.
        box: (x_min, y_min, x_max, y_max) in the layer's CRS, or None for all of it.
    """

    source: str
    box: tuple[float, float, float, float] | None


def as_file(part: Part, folder: Path, by_path: bool) -> str:
    """A file with the part of the layer.

    Args:
        part: of the layer.
        folder: for a new file.
        by_path: whether the service reads the files of this machine.

    Raises:
        RasterError: GDAL cannot read it, or the extent does not meet it.
    """
    dataset = gdal.Open(part.source)
    if dataset is None:
        raise RasterError(f'{part.source} cannot be read by GDAL ({gdal.GetLastErrorMsg()})')
    transform = dataset.GetGeoTransform(can_return_null=True)
    is_picture = transform is None and not dataset.GetGCPCount()
    suffix = os.path.splitext(part.source)[1].lower()
    readable = READ_BY_PATH if by_path else READ_BY_PATH[:2]
    if part.box is None and not is_picture and os.path.isfile(part.source) and suffix in readable:
        return part.source
    window = [0, 0, dataset.RasterXSize, dataset.RasterYSize]
    if part.box is not None:
        window = _window(dataset, _OF_PICTURES if is_picture else transform, part.box)
    path = str(folder / 'part.tif')
    options = {'creationOptions': ['COMPRESS=DEFLATE', 'TILED=YES', 'BIGTIFF=IF_SAFER']}
    if is_picture:
        left, top, width, height = window
        options['outputBounds'] = [left, -top, left + width, -top - height]
    written = gdal.Translate(path, dataset, format='GTiff', srcWin=window, **options)
    if written is None:
        raise RasterError(f'{part.source} cannot be cut out ({gdal.GetLastErrorMsg()})')
    written.FlushCache()
    return path


def _window(dataset, transform: tuple[float, ...] | None, box: tuple[float, float, float, float]) -> list[int]:
    """Columns and rows that a box touches, (x, y, width, height)."""
    inverse = None if transform is None else gdal.InvGeoTransform(transform)
    if inverse is None:
        raise RasterError('the layer has no place that an extent could be cut by: leave the extent empty')
    x_min, y_min, x_max, y_max = box
    corners = [gdal.ApplyGeoTransform(inverse, x, y) for x in (x_min, x_max) for y in (y_min, y_max)]
    # What differs by rounding alone is the same edge.
    columns, rows = ([round(values[i], 6) for values in corners] for i in (0, 1))
    left, top = max(0, math.floor(min(columns))), max(0, math.floor(min(rows)))
    right = min(dataset.RasterXSize, math.ceil(max(columns)))
    bottom = min(dataset.RasterYSize, math.ceil(max(rows)))
    if left >= right or top >= bottom:
        raise RasterError('the extent does not meet the layer')
    return [left, top, right - left, bottom - top]
