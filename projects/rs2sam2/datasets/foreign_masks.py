"""Masks that any project predicted, in the forms that such are written in: pictures, COCO's JSON, JSON lines, NumPy."""

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rs2sam2.datasets.images import WIDE_MODES, check_pixels, open_image
from rs2sam2.datasets.mask_arrays import list_arrays
from rs2sam2.datasets.mask_pictures import read_mask
from rs2sam2.datasets.masks import decode_segmentation
from rs2sam2.errors import DataError
from rs2sam2.files import read_regular
from rs2sam2.json_text import parse_json, read_json

PICTURES = ('.png', '.tif', '.tiff', '.bmp', '.gif', '.webp', '.jp2', '.pgm', '.pbm')
LOSSY = ('.jpg', '.jpeg')
JSON, JSON_LINES = ('.json',), ('.jsonl', '.ndjson')
# How projects call the sample that a row is for, and its mask.
ID_FIELDS, REF_FIELD, SENTENCE_FIELDS = ('sample_id', 'id'), 'ref_id', ('sentence', 'sent_idx', 'sentence_id', 'sent')
MASK_FIELDS = ('segmentation', 'rle', 'mask')
FORMS = (
    f'a folder of pictures ({", ".join(PICTURES)}), .json (COCO results, or an object of RLEs by id), .jsonl, or .npz'
)


class ForeignMask(NamedTuple):
    """A predicted mask that is not read yet.

    Attributes:
        name: what its writer calls the sample: an id, or ref and sentence as `<ref>/<k>`.
        where: file, or file and place in it, for messages.
        read: decodes it, (h, w) bool.
    """

    name: str
    where: str
    read: Callable[[], np.ndarray]


def find_masks(path: Path, threshold: float | None = None) -> list[ForeignMask]:
    """List the masks of a folder or a file.

    Args:
        path: see `FORMS`; docs/evaluation.md shows each.
        threshold: pixels above are foreground, in pictures with shades and arrays of scores; None for masks of two
            values, one of them 0.

    Raises:
        DataError: there is no mask, the form is unknown, or a row or name cannot be used.
    """
    if path.is_dir():
        masks = _of_folder(path, threshold)
    else:
        suffix = path.suffix.lower()
        readers = dict.fromkeys(JSON, _of_json) | dict.fromkeys(JSON_LINES, _of_json_lines)
        if suffix == '.npz':
            masks = [ForeignMask(*one) for one in list_arrays(path, threshold)]
        elif suffix in readers:
            masks = [_of_row(row, f'{path}:{place}') for place, row in readers[suffix](path)]
        else:
            raise DataError(f'{path} is no set of masks: give {FORMS}')
    if not masks:
        raise DataError(f'{path} holds no mask: give {FORMS}')
    return masks


def _of_folder(folder: Path, threshold: float | None) -> list[ForeignMask]:
    masks = []
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(name for name in names if not name.startswith('.')):
            path, suffix = Path(place, name), Path(name).suffix.lower()
            if suffix in LOSSY:
                raise DataError(f'{path}: a JPEG smears the edge of a mask; write PNG')
            if suffix in PICTURES:
                name = path.relative_to(folder).with_suffix('').as_posix()
                masks.append(ForeignMask(name, str(path), partial(_read_picture, path, threshold)))
    return masks


def _read_picture(path: Path, threshold: float | None) -> np.ndarray:
    with open_image(path, 'write it again') as image:
        if threshold is not None:
            return np.asarray(image if image.mode in WIDE_MODES else image.convert('L')) > threshold
        if image.mode in WIDE_MODES:
            colours = len(np.unique(np.asarray(image)))
        else:
            colours = len(image.convert('RGBA').getcolors(2) or range(3))
    if colours > 2:
        raise DataError(f'{path} has more than two colours: say by --threshold which are foreground')
    mask = read_mask(path).astype(bool)
    if colours == 2 and mask.all():
        raise DataError(f'{path} has two colours, none of them black: which is the ground?')
    return mask


def _of_json(path: Path) -> Iterator[tuple[str, Any]]:
    content = read_json(path, 'write it again')
    if isinstance(content, dict) and isinstance(content.get('annotations'), list):
        content = content['annotations']
    if isinstance(content, dict):
        yield from ((key, dict(sample_id=key, segmentation=value)) for key, value in content.items())
    elif isinstance(content, list):
        yield from ((f'row {number}', row) for number, row in enumerate(content))
    else:
        raise DataError(f'{path} is neither a list of rows nor an object of masks by id')


def _of_json_lines(path: Path) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(read_regular(path, 'write it again').split(b'\n'), 1):
        if line.strip():
            try:
                yield str(number), parse_json(line)
            except ValueError as error:
                raise DataError(f'{path}:{number}: {error}; write it again') from error


def _of_row(row: Any, where: str) -> ForeignMask:
    if not isinstance(row, dict):
        raise DataError(f'{where}: not a JSON object with an id and a mask')
    name = _name_of_row(row, where)
    field = next((field for field in MASK_FIELDS if isinstance(row.get(field), (dict, list))), None)
    segmentation = row if field is None and {'size', 'counts'} <= row.keys() else row.get(field)
    if segmentation is None:
        raise DataError(f'{where}: no mask in it; write a COCO RLE as {", ".join(MASK_FIELDS)}')
    size = row.get('size') if field else None
    size = size or [row.get('height'), row.get('width')]
    return ForeignMask(name, where, lambda: _decode(segmentation, size, where))


def _name_of_row(row: dict, where: str) -> str:
    sentence = next((row[field] for field in SENTENCE_FIELDS if field in row), None)
    if REF_FIELD in row:
        parts = [row[REF_FIELD]] if sentence is None else [row[REF_FIELD], sentence]
    else:
        parts = [next((row[field] for field in (*ID_FIELDS, 'image_id') if field in row), None)]
    if not all(isinstance(part, (int, str)) and not isinstance(part, bool) for part in parts):
        raise DataError(f'{where}: says not which sample it is for: {", ".join(ID_FIELDS)}, or ref_id and sentence')
    return '/'.join(map(str, parts))


def _decode(segmentation: Any, size: Any, where: str) -> np.ndarray:
    parts = [segmentation] if isinstance(segmentation, dict) else segmentation
    for part in (dict(size=size), *parts):
        sides = part.get('size') if isinstance(part, dict) else None
        if isinstance(sides, (list, tuple)) and len(sides) == 2 and all(type(side) is int for side in sides):
            check_pixels(tuple(sides), where)
    # Only polygons need a size of their own; what is no size is said there.
    return decode_segmentation(segmentation, size, where).astype(bool)
