"""A no-data value that the user names in place of the raster's own."""

import math
from collections.abc import Sequence
from decimal import Decimal
from numbers import Integral
from xml.etree import ElementTree

import numpy as np
from rasterio.io import DatasetReader

from rs2sam2.errors import ConfigError
from rs2sam2.geo.sources import RasterSource

NO_MEASUREMENT = 1e30
"""Numbers of this size are no measurements."""
_GDAL_TYPES = {
    **{'uint8': 'Byte', 'int8': 'Int8', 'uint16': 'UInt16', 'int16': 'Int16', 'uint32': 'UInt32', 'int32': 'Int32'},
    **{'uint64': 'UInt64', 'int64': 'Int64', 'float16': 'Float16', 'float32': 'Float32', 'float64': 'Float64'},
}


class NodataValue:
    """Which pixels of a type a number means.

    In a raster of whole numbers it is that number; in one of floats the float that the number stands for (0.1 in
    float32 is the float32 next to 0.1). Beyond 1e30 all pixels count that the number's digits stand for: -3.4e38,
    -3.402823e+38 and -3.4028235e+38 are what people write for the lowest float32. NaN and infinity are never data.

    Args:
        number: The value.
        dtype: Of the pixels: whole numbers or floats.
        path: Of the raster, for the error.

    Attributes:
        text: The value as GDAL's virtual rasters have it.

    Raises:
        ConfigError: No pixel of this type can have the value.
    """

    def __init__(self, number: float, dtype: np.dtype, path: str) -> None:
        dtype = np.dtype(dtype)
        whole = dtype.kind in 'iu'
        ends = _whole_ends(number, np.iinfo(dtype)) if whole else _float_ends(number, dtype, np.finfo(dtype))
        if ends is None:
            limits = np.iinfo(dtype) if whole else np.finfo(dtype)
            raise ConfigError(
                f'nodata {number} is no value of {path}, whose pixels are {dtype} ({limits.min} to {limits.max}); '
                'name the value that its pixels without data have'
            )
        self._low, self._high = ends
        # Of many, what rasters are filled with: the ends of float32 (in float64, too) and of float64.
        known = [float(end) for kind in (np.float32, np.float64) for end in (np.finfo(kind).min, np.finfo(kind).max)]
        meant = self._low if self._low == self._high or whole else float(number)
        self.text = repr(next((one for one in known if self._low <= one <= self._high), meant))

    def marks(self, pixels: np.ndarray) -> np.ndarray:
        """Which pixels have the value, bool; of NaN and infinity none, for which every reader looks."""
        if self._low == self._high:
            return pixels == self._low
        return (pixels >= self._low) & (pixels <= self._high)


def parse_nodata(text: str) -> float:
    """A value as it is typed: whole numbers stay whole, of any length.

    Raises:
        ConfigError: it is no number, or beyond what float64 holds.
    """
    text = text.strip()
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        if isinstance(number, float) and math.isinf(number) and any(one.isdigit() for one in text):
            # The lowest float64, as tools print it with 15 digits, is just beyond what float64 holds.
            nearest = math.copysign(float(np.finfo(np.float64).max), number)
            if abs(Decimal(text) / Decimal(nearest) - 1) > Decimal('1e-14'):
                raise ConfigError(f'nodata {text} is beyond what a pixel can hold')
            return nearest
        return number
    raise ConfigError(f'nodata {text!r} is no number; write one, such as 0, -9999, -3.4028235e+38 or nan')


def virtual_with_nodata(
    source: RasterSource, dataset: DatasetReader, bands: Sequence[int], values: Sequence[NodataValue]
) -> str:
    """A virtual raster of some bands of any raster, virtual ones included, with no-data values of its own.

    Args:
        source: What the raster was opened from.
        dataset: The raster.
        bands: Those to take, which become 1, 2, ...
        values: One a band.
    """
    root = ElementTree.Element('VRTDataset', rasterXSize=str(dataset.width), rasterYSize=str(dataset.height))
    for number, (band, value) in enumerate(zip(bands, values, strict=True), 1):
        element = ElementTree.SubElement(
            root, 'VRTRasterBand', dataType=_GDAL_TYPES[dataset.dtypes[band - 1]], band=str(number)
        )
        ElementTree.SubElement(element, 'NoDataValue').text = value.text
        simple = ElementTree.SubElement(element, 'SimpleSource')
        ElementTree.SubElement(simple, 'SourceFilename', relativeToVRT='0').text = source.name
        # Reduced copies of the pixels may have been made without this value.
        options = ElementTree.SubElement(simple, 'OpenOptions')
        ElementTree.SubElement(options, 'OOI', key='OVERVIEW_LEVEL').text = 'NONE'
        ElementTree.SubElement(simple, 'SourceBand').text = str(band)
    return ElementTree.tostring(root, encoding='unicode')


def _whole_ends(number: float, limits: np.iinfo) -> tuple[float, float] | None:
    possible = isinstance(number, Integral) or (math.isfinite(number) and number == int(number))
    return (int(number),) * 2 if possible and limits.min <= number <= limits.max else None


def _float_ends(number: float, dtype: np.dtype, limits: np.finfo) -> tuple[float, float] | None:
    try:
        number = float(number)
    except OverflowError:
        return None
    if not math.isfinite(number):
        return (number, number)
    _, digits, exponent = Decimal(repr(number)).normalize().as_tuple()
    if abs(number) < NO_MEASUREMENT or len(digits) == 1:
        with np.errstate(over='ignore'):
            value = float(dtype.type(number))
        return (value, value) if math.isfinite(value) else None
    half = 0.5 * 10.0 ** int(exponent)
    low, high = max(number - half, float(limits.min)), min(number + half, float(limits.max))
    return (low, high) if low <= high else None
