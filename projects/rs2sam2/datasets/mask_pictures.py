"""Masks that were saved as pictures: which pixels are foreground."""

import os

import numpy as np
from PIL import Image

from rs2sam2.datasets.images import WIDE_MODES, bits_a_channel, open_image, tiff_tags, upright
from rs2sam2.errors import DataError

_REMEDY = 'save it as grey, 0 for the ground and 255 for the object, or list the sample in skip_ids'
_TRANSPARENT = ('LA', 'La', 'PA', 'RGBA', 'RGBa')
_BITS_PER_SAMPLE, _SAMPLE_FORMAT, _GDAL_NODATA = 258, 339, 42113


def read_mask(path: str | os.PathLike, above: int = 0) -> np.ndarray:
    """Read a mask that a person or a GIS saved as a picture.

    With `above` 0, foreground is what is not black, by these rules, the first that applies:

    - Pixels that are transparent, not a number, or the file's declared nodata value are ground.
    - Where the opaque pixels of a picture with transparency are all black, they are what was drawn: foreground.
    - In a palette without black that is used, index 0 is ground; so it is where all used colours are black.
    - Else any value but 0 (black) is foreground, at whatever depth: 8, 16, 32 bits, float.

    Args:
        path: The file; its EXIF orientation is applied, see `read_picture`.
        above: Grey value (0 to 255) that foreground exceeds.

    Returns:
        (h, w) uint8, 1 on the object.

    Raises:
        DataError: The file cannot be read, or its rules contradict each other: all that is not 0 is nodata, all is
            transparent, or a palette calls index 0 a colour and another one black.
    """
    with open_image(path, _REMEDY) as image:
        if bits_a_channel(image) > 8 and (above or image.mode not in WIDE_MODES):
            raise DataError(f'{path} has {bits_a_channel(image)} bits a channel, not 8; {_REMEDY}')
        nodata = _nodata(image)  # of the file; a turned copy has none
        image = upright(image)
        if above:
            return (np.asarray(image.convert('L')) > above).astype(np.uint8)
        values, key = _values(image), image.info.get('transparency')
        clear = key is not None or image.mode in _TRANSPARENT
        hidden = _is(values, nodata) | ~np.isfinite(values)
        if hidden.any() and not (values[~hidden] != 0).any() and (values[hidden] != 0).any() and not clear:
            raise DataError(f'{path} has no pixel but 0 and its nodata value {nodata}: which is the object? {_REMEDY}')
        if clear:
            hidden |= values == key if image.mode in WIDE_MODES else np.asarray(image.convert('RGBA'))[..., 3] == 0
            if hidden.all():
                raise DataError(f'{path} is transparent all over; {_REMEDY}')
        drawn = _indices(image, hidden, path, clear) if image.mode == 'P' else values != 0
        if clear and hidden.any() and not drawn[~hidden].any():
            drawn = ~hidden
        return (drawn & ~hidden).astype(np.uint8)


def _values(image: Image.Image) -> np.ndarray:
    """One number a pixel, 0 where it is black: the index of a palette, the value of grey, the largest of colours."""
    if image.mode == '1':
        image = image.convert('L')
    if image.mode in ('P', 'L', *WIDE_MODES):
        return np.asarray(image).astype(np.float64)
    if image.mode in _TRANSPARENT:  # PIL goes from these to RGB by way of what is under them
        return np.asarray(image.convert('RGBA'))[..., :3].max(axis=2).astype(np.float64)
    return np.asarray(image.convert('RGB')).max(axis=2).astype(np.float64)


def _indices(image: Image.Image, hidden: np.ndarray, path: str | os.PathLike, clear: bool) -> np.ndarray:
    """Foreground of a picture with a palette."""
    index = np.asarray(image)
    colours = np.zeros((256, 3), np.uint8)
    palette = np.array(image.getpalette('RGB') or [], np.uint8).reshape(-1, 3)
    colours[: len(palette)] = palette
    used = np.unique(index[~hidden])
    black = used[~colours[used].any(axis=1)]
    if clear and hidden.any():
        return ~np.isin(index, black)
    if not len(black) or len(black) == len(used):
        return index != 0
    if 0 in used and 0 not in black:
        raise DataError(
            f'{path} has a palette in which index 0 is a colour and index {black[0]} black: which is the ground? '
            f'{_REMEDY}'
        )
    return ~np.isin(index, black)


def _nodata(image: Image.Image) -> float | None:
    """GDAL's nodata value of a TIFF, as the pixels are after PIL's decoding."""
    tags = tiff_tags(image) if image.format == 'TIFF' else {}
    if _GDAL_NODATA not in tags:
        return None
    try:
        value = float(str(tags[_GDAL_NODATA]).strip('\0 '))
    except ValueError:
        return None
    bits, kind = (tags.get(tag, (default,)) for tag, default in ((_BITS_PER_SAMPLE, 1), (_SAMPLE_FORMAT, 1)))
    if bits[0] == 8 and kind[0] == 2:
        return value % 256  # PIL takes signed bytes for unsigned ones
    if image.mode == 'P' or bits[0] > 8:
        return value
    return value * 255 / (2 ** bits[0] - 1)  # PIL widens 1, 2 and 4 bits


def _is(values: np.ndarray, nodata: float | None) -> np.ndarray:
    if nodata is None:
        return np.zeros(values.shape, bool)
    # A float32 file holds the nearest number to what its text says.
    return np.isclose(values, nodata, rtol=1e-6, atol=0)
