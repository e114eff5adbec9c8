"""Images as a user has them: files, folders, patterns, arrays, PIL images."""

import glob
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
from PIL import Image

from rs2sam2.datasets.images import check_depth, read_picture
from rs2sam2.errors import DataError

IMAGE_SUFFIXES = ('.bmp', '.gif', '.jp2', '.jpeg', '.jpg', '.png', '.ppm', '.tif', '.tiff', '.webp')
"""What is taken from a folder."""
# Resource forks of the files of the same name, beside them on disks that know none.
_MACOS = '._'
REMEDY = 'give a whole image with 8 bits a channel (other rasters: rs2sam2 scene)'

ImageSource = str | os.PathLike | np.ndarray | Image.Image


# GDAL's drivers of image files that may know where they lie on the ground.
GEO_DRIVERS = {'.tif': 'GTiff', '.tiff': 'GTiff', '.jp2': 'JP2OpenJPEG'}


class InputImage(NamedTuple):
    """A decoded image.

    Attributes:
        pixels: (H, W, 3) uint8 RGB.
        name: path of the file, or a name for an image in memory.
        notes: what the user should know about how it was read.
        source: what it can be read from again: its path, or the image in memory.
    """

    pixels: np.ndarray
    name: str
    notes: tuple[str, ...] = ()
    source: ImageSource | None = None


def list_images(source: str | os.PathLike) -> list[str]:
    """Paths that a file name, a folder or a pattern stands for.

    A folder stands for its images (by suffix, not those in sub-folders or the `._*` that macOS leaves beside files), a
    pattern for what it matches, both sorted. The part of a pattern that is there under its very name, brackets and
    all, is no pattern.

    Raises:
        DataError: nothing is there.
    """
    source = os.fspath(source)
    if os.path.isdir(source):
        names = [name for name in os.listdir(source) if not name.startswith(_MACOS)]
        paths = sorted(os.path.join(source, name) for name in names if Path(name).suffix.lower() in IMAGE_SUFFIXES)
        if not paths:
            raise DataError(f'the folder {source} holds no image ({", ".join(IMAGE_SUFFIXES)})')
        return paths
    if glob.has_magic(source) and not os.path.exists(source):
        found = glob.glob(_with_literal_folder(source), recursive=True)
        paths = sorted(path for path in found if os.path.isfile(path) and not Path(path).name.startswith(_MACOS))
        if not paths:
            raise DataError(f'no file matches {source}')
        return paths
    return [source]


def _with_literal_folder(pattern: str) -> str:
    folder, rest = pattern, list[str]()
    while folder and not os.path.isdir(folder):
        folder, name = os.path.split(folder)
        if not name:
            break
        rest.insert(0, name)
    return os.path.join(glob.escape(folder), *rest)


def may_have_place(source: object) -> bool:
    """Whether what a user gave is a file of a kind that may say where on the ground it lies."""
    return isinstance(source, (str, os.PathLike)) and Path(source).suffix.lower() in GEO_DRIVERS


def load_image(source: ImageSource, name: str = 'image') -> InputImage:
    """Decode an image.

    Files are turned upright as their EXIF orientation says, as viewers show them; PIL images and arrays are taken as
    they are. Of an animation the first frame is taken.

    Args:
        source: path, (H, W, 3) or (H, W) uint8 array, or PIL image.
        name: of an image in memory.

    Raises:
        DataError: it cannot be decoded, is too large (see `max_pixels`), or has more than 8 bits a channel.
    """
    if isinstance(source, Image.Image):
        return InputImage(_from_pil(source, name), name, source=source)
    if isinstance(source, np.ndarray):
        return InputImage(_from_array(source, name), name, source=source)
    path = os.fspath(source)
    if not os.path.exists(path):
        raise DataError(f'{path} is missing; check the path')
    if os.path.isfile(path) and os.path.getsize(path) == 0:
        raise DataError(f'{path} is empty (0 bytes); {REMEDY}')
    picture = read_picture(path, 'RGB', REMEDY)
    notes: tuple[str, ...] = ()
    if picture.orientation != 1:
        notes += (
            f'turned upright as its EXIF orientation {picture.orientation} says: the mask fits what viewers show',
        )
    if picture.frames > 1:
        notes += (f'the first of {picture.frames} frames was taken',)
    return InputImage(picture.pixels, path, notes, path)


def _from_pil(image: Image.Image, name: str) -> np.ndarray:
    check_depth(image, name)
    try:
        return np.array(image.convert('RGB'))
    except (OSError, ValueError) as error:
        raise DataError(f'{name} cannot be decoded ({error}); {REMEDY}') from error


def _from_array(array: np.ndarray, name: str) -> np.ndarray:
    if array.ndim == 2:
        array = np.repeat(array[:, :, None], 3, axis=2)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        shape = 'x'.join(map(str, array.shape))
        raise DataError(f'{name} is an array {shape} {array.dtype}, not RGB (H, W, 3) or grey (H, W) uint8')
    return array


def pair(
    images: ImageSource | Sequence[ImageSource], expressions: str | Sequence[str]
) -> list[tuple[ImageSource, str]]:
    """Pairs of image and expression.

    One expression goes with every image. Several expressions all go with one source (a path, a folder, a pattern, an
    image); with a list of images of the same length they are pairs.

    Raises:
        DataError: two lists of different lengths, or nothing to do.
    """
    given: list[ImageSource] = list(images) if isinstance(images, (list, tuple)) else [cast(ImageSource, images)]
    texts = [expressions] if isinstance(expressions, str) else list(expressions)
    sources: list[ImageSource] = []
    for source in given:
        sources += list_images(source) if isinstance(source, (str, os.PathLike)) else [source]
    if not sources or not texts:
        raise DataError(f'nothing to segment: {len(sources)} images and {len(texts)} expressions')
    if len(given) > 1 and len(texts) > 1:
        if not len(given) == len(sources) == len(texts):
            raise DataError(
                f'{len(sources)} images and {len(texts)} expressions are no pairs: give lists of one length, or pairs='
            )
        return list(zip(sources, texts, strict=True))
    return [(source, text) for source in sources for text in texts]
