"""Image files to arrays, by PIL, whole or not at all."""

import os
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any, NamedTuple

import numpy as np
from PIL import ExifTags, GifImagePlugin, Image, UnidentifiedImageError

from rs2sam2.errors import DataError
from rs2sam2.files import limit_of, require_regular

# Formats that hold pixels and nothing else (PIL runs Ghostscript on a file that begins like PostScript).
FORMATS = ('BMP', 'GIF', 'JPEG', 'JPEG2000', 'PNG', 'PPM', 'TIFF', 'WEBP', 'AVIF')
MAX_PIXELS = 'RS2SAM2_MAX_PIXELS'
"""Environment variable: more pixels than this in an image or a mask are refused before they are decoded."""
# PIL turns these to 8 bits without losing their meaning; alpha and a fourth band are dropped, not blended.
_EIGHT_BIT_MODES = ('RGB', 'RGBA', 'RGBX', 'L', 'LA', 'La', 'P', 'PA', '1', 'CMYK', 'YCbCr')
WIDE_MODES = ('I', 'F', 'I;16', 'I;16B', 'I;16L', 'I;16N')
_DEFAULT_MAX_PIXELS = 1024 * 1024 * 1024 // 4 // 3  # what PIL warns of, 89 million
_REMEDY = 'restore it or list its id in skip_ids'
# Looking for more pages of a TIFF of thousands takes minutes.
_MOST_FRAMES = 100
# What turns a stored picture upright, by its EXIF orientation.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDES_CHANGE = (5, 6, 7, 8)
# PIL says so without the file's name, once at opening and once at reading.
_BROKEN_EXIF = '(Possibly c|C)orrupt EXIF data'
_WARNINGS = threading.Lock()
if hasattr(os, 'register_at_fork'):  # a child may not inherit it held by a thread that it has not
    os.register_at_fork(before=_WARNINGS.acquire, after_in_parent=_WARNINGS.release, after_in_child=_WARNINGS.release)
# Tags of a TIFF. A page is a smaller copy of another (bit 0) or its mask (bit 2).
_PAGE_KIND, _BITS_PER_SAMPLE, _COLOUR_MAP, _SAMPLE_FORMAT = 254, 258, 320, 339
_COPY_OR_MASK, _SIGNED = 0b101, 2


class Picture(NamedTuple):
    """A decoded image file.

    Attributes:
        pixels: (H, W, 3) uint8 for RGB and (H, W) for grey, writable, upright.
        orientation: EXIF's, 1 for a file that is stored upright.
        frames: of an animation or pages of a TIFF, the first of which was read; counted up to 100.
    """

    pixels: np.ndarray
    orientation: int
    frames: int


def max_pixels() -> int:
    """Most pixels that an image or a mask may have, width times height.

    Raises:
        ConfigError: The environment variable is no whole number above 0.
    """
    return limit_of(MAX_PIXELS, _DEFAULT_MAX_PIXELS)


def check_pixels(size: tuple[int, ...], where: str) -> None:
    """Look at a stated size (h, w) before anything of it is allocated.

    Raises:
        DataError: It has more pixels than `max_pixels`.
    """
    height, width = size
    if height * width > (limit := max_pixels()):
        raise DataError(
            f'{where} is a mask of {height:,} x {width:,} pixels, more than {limit:,}; to allow it, set the '
            f'environment variable {MAX_PIXELS}'
        )


def read_image(path: str | os.PathLike, mode: str, remedy: str = _REMEDY) -> np.ndarray:
    """The pixels of `read_picture`."""
    return read_picture(path, mode, remedy).pixels


def read_picture(path: str | os.PathLike, mode: str, remedy: str = _REMEDY) -> Picture:
    """Read the first frame of an image file, turned upright as its EXIF orientation says.

    So do browsers, annotation tools and mmcv's loader: masks that were drawn on what they showed fit.

    Args:
        path: The file.
        mode: 'RGB' or 'L' (grey).
        remedy: The way out that errors name.

    Raises:
        DataError: The file is missing, truncated, undecodable, too large, or has more than 8 bits a channel.
    """
    with open_image(path, remedy) as image:
        check_depth(image, path)
        orientation, frames = _orientation(image), _count_frames(image)
        return Picture(np.array(upright(image).convert(mode)), orientation, frames)


def image_size(path: str | os.PathLike, remedy: str = _REMEDY) -> tuple[int, int]:
    """Height and width of an image file as `read_picture` gives it, from its header alone.

    Raises:
        DataError: The file is missing, is no image, or is too large.
    """
    with open_image(path, remedy) as image:
        turned = image.format != 'TIFF' and _orientation(image) in _SIDES_CHANGE  # PIL sizes a TIFF as turned
        return (image.width, image.height) if turned else (image.height, image.width)


def orientation_of(path: str | os.PathLike) -> int:
    """EXIF's orientation of an image file, from its header alone; 1 where it has none or PIL does not know the file."""
    try:
        with _opened(path, 0) as image:
            return _orientation(image)
    except (Image.DecompressionBombError, OSError, SyntaxError, ValueError, TypeError, struct.error):
        return 1


@contextmanager
def open_image(path: str | os.PathLike, remedy: str = _REMEDY) -> Iterator[Image.Image]:
    """A file as a PIL image of a checked size, not decoded yet; errors inside become one line.

    Raises:
        DataError: It is missing, no image file, cannot be decoded, or has more pixels than `max_pixels`.
    """
    limit = max_pixels()
    try:
        require_regular(path, remedy)
        with _opened(path, limit) as image:
            if image.width * image.height > limit:
                raise Image.DecompressionBombError
            yield image
    except Image.DecompressionBombError:
        raise DataError(
            f'{path} has more than {limit:,} pixels: cut it, or use rs2sam2 scene, which reads windows; to allow more, '
            f'set the environment variable {MAX_PIXELS}'
        ) from None
    except FileNotFoundError as error:
        raise DataError(f'{path} is missing; {remedy}') from error
    except UnidentifiedImageError as error:
        raise DataError(f'{path} is not an image that PIL knows ({", ".join(FORMATS)}); {remedy}') from error
    except (
        OSError,
        SyntaxError,  # PIL's own word for a broken PNG chunk
        ValueError,
        TypeError,
        KeyError,
        EOFError,
        IndexError,
        AssertionError,
        OverflowError,
        MemoryError,
        struct.error,
        zlib.error,
    ) as error:
        text = ' '.join(str(error).split()) or type(error).__name__
        raise DataError(f'{path} cannot be decoded ({text}); {remedy}') from error


@contextmanager
def _without_warnings() -> Iterator[None]:
    """PIL's warnings of size and EXIF left out, by one thread at a time: what is put back then is the process's."""
    with _WARNINGS, warnings.catch_warnings():
        warnings.simplefilter('ignore', Image.DecompressionBombWarning)
        warnings.filterwarnings('ignore', _BROKEN_EXIF)
        yield


def _opened(path: str | os.PathLike, limit: int) -> Image.Image:
    # PIL's own limit is one for the process; ours is checked before anything is decoded.
    if Image.MAX_IMAGE_PIXELS is not None and limit > Image.MAX_IMAGE_PIXELS:
        Image.MAX_IMAGE_PIXELS = limit
    with _without_warnings():
        Image.init()
        known = [one for one in FORMATS if one in Image.OPEN]  # older Pillows have no AVIF
        return Image.open(path, formats=known)


def check_depth(image: Image.Image, name: object) -> None:
    """Check that an image that is not loaded yet has 8 bits a channel: of more, PIL keeps the upper 8 of each value.

    Raises:
        DataError: It has not, or its colours are of a kind that PIL does not turn to RGB.
    """
    bits = bits_a_channel(image)
    if image.mode in WIDE_MODES or bits > 8:
        what = f'{bits} bits a channel' if bits > 8 else f'pixels of mode {image.mode}'
        raise DataError(
            f'{name} has {what}, where 8 bits are needed: nobody but you knows which values are black and white. '
            'Stretch it to 8 bits first; rs2sam2 scene and gis2jsonl.py do'
        )
    if image.mode not in _EIGHT_BIT_MODES:
        raise DataError(f'{name} has pixels of mode {image.mode}; save it as RGB with 8 bits a channel first')
    if image.format == 'TIFF' and _SIGNED in _tiff(image, _SAMPLE_FORMAT):
        raise DataError(f'{name} has signed numbers as pixels; stretch it to unsigned 8 bits first')


def upright(image: Image.Image) -> Image.Image:
    """Load an image and turn or mirror it as its EXIF orientation says."""
    orientation = 1 if image.format == 'TIFF' else _orientation(image)  # PIL turns a TIFF while it loads it
    image.load()
    _mend_colour_map(image)
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image


def square_view(pixels: np.ndarray, side: int, nearest: bool = False) -> np.ndarray:
    """Pixels (H, W[, 3]) uint8 as a square view of `side` pixels, aspect ratio not kept.

    PIL's bilinear filter, which widens with the scale (antialiasing), as torchvision's `Resize` of a PIL image; for
    masks its NEAREST, as in the published metric.
    """
    resample = Image.Resampling.NEAREST if nearest else Image.Resampling.BILINEAR
    return np.array(Image.fromarray(pixels).resize((side, side), resample))


def _orientation(image: Image.Image) -> int:
    """EXIF's orientation, 1 to 8, of an image that is not loaded yet."""
    if image.format == 'TIFF':
        value = tiff_tags(image).get(ExifTags.Base.Orientation)
    elif image.format == 'PNG' and 'exif' not in image.info:
        value = None  # PIL would decode the whole picture to look for EXIF after it
    else:
        try:
            with _without_warnings():
                value = image.getexif().get(ExifTags.Base.Orientation)
        except Exception:  # EXIF that is broken says nothing; PIL raises nearly any kind
            value = None
    return value if isinstance(value, int) and value in _TURNS else 1


def _count_frames(image: Image.Image) -> int:
    if not getattr(image, 'is_animated', False):
        return 1
    if isinstance(image, GifImagePlugin.GifImageFile) and image.fp is not None:
        return _gif_frames(image.fp)  # PIL looks through all of them, and a small file has millions
    if image.format != 'TIFF':
        return getattr(image, 'n_frames', 1)
    frames = 1
    try:
        for page in range(1, _MOST_FRAMES):
            image.seek(page)
            frames += not tiff_tags(image).get(_PAGE_KIND, 0) & _COPY_OR_MASK
    except (EOFError, SyntaxError, OSError, ValueError, TypeError, KeyError):
        pass  # no more pages, or none that PIL knows; the first is what is read
    image.seek(0)
    return frames


def _gif_frames(file: IO[bytes]) -> int:
    """Frames of a GIF, up to 100, from its blocks (GIF89a, 18 to 24); a file may end anywhere."""

    def skip_table(flags: bytes) -> None:
        if flags >= b'\x80':
            file.seek(3 << (flags[0] & 7) + 1, os.SEEK_CUR)

    place, frames = file.tell(), 0
    file.seek(10)
    skip_table(file.read(3)[:1])
    while frames < _MOST_FRAMES and (kind := file.read(1)) in (b',', b'!'):
        if kind == b',':
            frames += 1
            skip_table(file.read(9)[8:])
        file.read(1)  # the size of its codes, or what an extension is
        while size := int.from_bytes(file.read(1), 'big'):
            file.seek(size, os.SEEK_CUR)
    file.seek(place)
    return max(1, frames)


def bits_a_channel(image: Image.Image) -> int:
    """Bits a channel of an image that is not loaded yet; 8 where nothing tells of others."""
    if image.format == 'TIFF':
        return max(_tiff(image, _BITS_PER_SAMPLE), default=1)
    if image.format == 'JPEG2000':
        file = getattr(image, 'fp', None)
        return _jpeg2000_bits(file) if file else 8
    arguments = [tile[3] for tile in getattr(image, 'tile', ())]
    if image.format == 'PPM':
        highest = [part for one in arguments if isinstance(one, tuple) for part in one[1:2] if isinstance(part, int)]
        return max([8, *(one.bit_length() for one in highest)])
    return 16 if image.format == 'PNG' and any(';16' in str(one) for one in arguments) else 8


def tiff_tags(image: Image.Image) -> Mapping[int, Any]:
    """The tags of a TIFF; none of one that was pickled."""
    return getattr(image, 'tag_v2', {})


def _tiff(image: Image.Image, tag: int) -> tuple:
    value = tiff_tags(image).get(tag, ())
    return value if isinstance(value, tuple) else (value,)


def _jpeg2000_bits(file: IO[bytes]) -> int:
    """Largest number of bits of a component, from the codestream's SIZ segment (ISO/IEC 15444-1, A.5.1)."""
    place = file.tell()
    file.seek(0)
    if file.read(2) != b'\xff\x4f':
        file.seek(0)
        kind = b''
        while kind != b'jp2c':  # boxes: length, kind, and for a length of 1 a longer length (I.4)
            start = file.tell()
            length, kind = struct.unpack('>I4s', file.read(8))
            if length == 1:
                (length,) = struct.unpack('>Q', file.read(8))
            if kind != b'jp2c':
                if length < 8:
                    raise ValueError('a box without end before the codestream')
                file.seek(start + length)
        file.read(2)
    _, _, *_, components = struct.unpack('>HHH8IH', file.read(40))
    depths = [part[0] for part in struct.iter_unpack('3B', file.read(3 * components))]
    file.seek(place)
    return max((depth & 0x7F) + 1 for depth in depths)


def _mend_colour_map(image: Image.Image) -> None:
    """A TIFF's palette has 16 bits a colour; some write 8 into them, which PIL's upper halves would make black."""
    colours = _tiff(image, _COLOUR_MAP) if image.format == 'TIFF' and image.mode == 'P' else ()
    if colours and 0 < max(colours) < 256:
        image.putpalette(bytes(np.array(colours, np.uint8).reshape(3, -1).T.ravel()))
