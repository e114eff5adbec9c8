"""Image files to arrays, by PIL, whole or not at all."""

import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image, UnidentifiedImageError

from rs2sam2.errors import DataError

# PIL turns these to 8 bits without losing their meaning; alpha and a fourth band are dropped, not blended.
_EIGHT_BIT_MODES = ('RGB', 'RGBA', 'RGBX', 'L', 'LA', 'La', 'P', 'PA', '1', 'CMYK', 'YCbCr')
_REMEDY = 'restore it or list its id in skip_ids'


def read_image(path: str | os.PathLike, mode: str, remedy: str = _REMEDY) -> np.ndarray:
    """Read the first frame of an image file, as stored (an EXIF orientation is not applied: the masks know none).

    Args:
        path: The file.
        mode: 'RGB' or 'L' (grey).
        remedy: The way out that errors name.

    Returns:
        uint8, (H, W, 3) for RGB and (H, W) for grey, writable.

    Raises:
        DataError: The file is missing, truncated, undecodable, or has more than 8 bits a channel, which PIL would clip.
    """
    with _one_line_errors(path, remedy), Image.open(path) as image:
        if image.mode not in _EIGHT_BIT_MODES:
            raise DataError(f'{path} has pixels of mode {image.mode}, not 8 bits a channel; stretch it to 8 bits first')
        return np.array(image.convert(mode))


def image_size(path: str | os.PathLike, remedy: str = _REMEDY) -> tuple[int, int]:
    """Height and width of an image file, from its header alone.

    Raises:
        DataError: The file is missing or is no image.
    """
    with _one_line_errors(path, remedy), Image.open(path) as image:
        return image.height, image.width


@contextmanager
def _one_line_errors(path: str | os.PathLike, remedy: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f'{path} is missing; {remedy}') from error
    except UnidentifiedImageError as error:
        raise DataError(f'{path} is not an image that PIL knows; {remedy}') from error
    except (
        OSError,
        SyntaxError,  # PIL's own word for a broken PNG chunk
        ValueError,
        EOFError,
        IndexError,
        struct.error,
        zlib.error,
        Image.DecompressionBombError,
    ) as error:
        text = ' '.join(str(error).split())
        raise DataError(f'{path} cannot be decoded ({text}); {remedy}') from error
