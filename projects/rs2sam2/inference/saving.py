"""A result as a file; the suffix says of which kind."""

import json
import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from rs2sam2.errors import ConfigError, OutputError
from rs2sam2.files import place_of, replace_durably
from rs2sam2.inference.images import may_have_place

if TYPE_CHECKING:
    from rs2sam2.inference.results import SegmentationResult


def save_result(result: 'SegmentationResult', path: Path) -> Path:
    """Write a result whole or not at all; see `SegmentationResult.save`.

    Raises:
        ConfigError: there is no such suffix, or the path is no place for a file.
        OutputError: it cannot be written.
    """
    writer = _WRITERS.get(path.suffix.lower())
    if writer is None:
        raise ConfigError(f'{path}: a result is saved as {", ".join(_WRITERS)}; choose one of these suffixes')
    place = place_of(path)
    # The suffix stays at the end: writers go by it.
    temporary = place.with_name(f'.unfinished.{os.getpid()}.{place.name}')
    try:
        writer(result, temporary)
        replace_durably(temporary, place)
    except OSError as error:
        raise OutputError(
            f'{path} cannot be written ({error.strerror or error}): mend that, or save elsewhere'
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _mask(result: 'SegmentationResult', path: Path) -> None:
    Image.fromarray(result.mask.astype(np.uint8) * 255).save(path)


def _mask_on_the_ground(result: 'SegmentationResult', path: Path) -> None:
    """The mask where its image lies; as a plain picture where that has no place."""
    if not may_have_place(result.source):
        return _mask(result, path)
    if find_spec('rasterio') is None:
        raise ConfigError(
            f'the place of {result.image} on the ground is kept by rasterio, not installed here: pip install '
            '"rs2sam2[geo]", or save as .png'
        )
    from rs2sam2.inference.outlines import ground_of, write_mask

    ground = ground_of(result.source, result.size)
    return _mask(result, path) if ground is None else write_mask(path, result.mask, ground)


def _overlay(result: 'SegmentationResult', path: Path) -> None:
    result.overlay().save(path, quality=90)


def _json(result: 'SegmentationResult', path: Path) -> None:
    text = json.dumps(result.to_dict(), ensure_ascii=False, allow_nan=False)
    path.write_text(text + '\n', 'utf-8', 'backslashreplace')


def _polygons(result: 'SegmentationResult', path: Path) -> None:
    from rs2sam2.inference.several import SegmentationResults

    SegmentationResults([result]).write_polygons(path)


_WRITERS: dict[str, Callable[['SegmentationResult', Path], None]] = {
    '.png': _mask,
    '.tif': _mask_on_the_ground,
    '.tiff': _mask_on_the_ground,
    '.jpg': _overlay,
    '.jpeg': _overlay,
    '.webp': _overlay,
    '.json': _json,
    '.geojson': _polygons,
    '.gpkg': _polygons,
}
