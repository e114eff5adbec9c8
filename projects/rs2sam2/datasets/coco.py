"""Reads COCO instance sets, strictly: what does not fit stops the reading with one line."""

import json
import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from rs2sam2.errors import DataError

_JOINED = ('baseball field', 'basketball court', 'golf field', 'ground track field', 'storage tank', 'tennis court')
_JOINED += ('train station', 'soccer ball field', 'swimming pool', 'baseball diamond')
_SPLIT = {words.replace(' ', ''): words for words in _JOINED}


@dataclass(frozen=True)
class CocoObject:
    """One annotation: its id, the id of its category, its segmentation as in the file, and whether it is a crowd."""

    ann_id: Any
    category_id: int
    segmentation: Any
    is_crowd: bool


@dataclass(frozen=True)
class CocoImage:
    """One image with all its objects, of `size` (h, w) by the file."""

    file_name: str
    size: tuple[int, int]
    objects: tuple[CocoObject, ...]


def said_name(name: str) -> str:
    """A class name as one says it: 'storage_tank', 'StorageTank' and 'storagetank' -> 'storage tank'."""
    words = re.sub(r'(?<=[a-z])(?=[A-Z][a-z])', ' ', name)
    words = ' '.join(re.sub(r'[_\-/]+', ' ', words).split())
    words = ' '.join(word if word.isupper() or re.search(r'\d', word) else word.lower() for word in words.split())
    return _SPLIT.get(words, words)


def read_coco(path: str | os.PathLike) -> tuple[list[CocoImage], dict[int, str]]:
    """Read a COCO instance file.

    Args:
        path: The JSON file.

    Returns:
        The images, sorted by file name, and the names of the categories by id.

    Raises:
        DataError: The file is no whole JSON, misses a field, has an id or an image twice, or an object without
            segmentation, image or category.
    """
    try:
        with open(path, encoding='utf-8') as file:
            content = json.load(file)
    except OSError as error:
        raise DataError(f'cannot read {path}: {error.strerror}; check the path') from error
    except (ValueError, RecursionError) as error:
        raise DataError(f'{path} is not whole JSON ({error}); fetch it again') from error
    tables = {
        key: _rows(content, key, fields, path)
        for key, fields in {
            'images': {'id': (int, str), 'file_name': str, 'height': int, 'width': int},
            'annotations': {'id': (int, str), 'image_id': (int, str), 'category_id': int},
            'categories': {'id': int, 'name': str},
        }.items()
    }
    _once([image['file_name'] for image in tables['images']], 'image file', path)
    categories = {one['id']: one['name'] for one in tables['categories']}
    objects: dict[Any, list[CocoObject]] = {image['id']: [] for image in tables['images']}
    for one in tables['annotations']:
        if one['image_id'] not in objects:
            raise DataError(f'{path}: annotation {one["id"]} is of image {one["image_id"]}, which is not in `images`')
        if one['category_id'] not in categories:
            raise DataError(
                f'{path}: annotation {one["id"]} is of category {one["category_id"]}, which is not in `categories`'
            )
        if not one.get('segmentation'):
            raise DataError(
                f'{path}: annotation {one["id"]} has no segmentation; give masks (boxes are not enough) or remove it'
            )
        crowd = bool(one.get('iscrowd', 0))
        objects[one['image_id']].append(CocoObject(one['id'], one['category_id'], one['segmentation'], crowd))
    images = []
    for image in sorted(tables['images'], key=lambda image: image['file_name']):
        name = PurePosixPath(image['file_name'])
        if name.is_absolute() or '..' in name.parts:
            raise DataError(f'{path}: the image {name} lies outside the folder of images; give paths below it')
        images.append(CocoImage(str(name), (image['height'], image['width']), tuple(objects[image['id']])))
    return images, categories


def _rows(content: Any, key: str, fields: dict[str, Any], path: str | os.PathLike) -> list[dict]:
    rows = content.get(key) if isinstance(content, dict) else None
    if not isinstance(rows, list) or not rows:
        raise DataError(f'{path} has no `{key}`; give a COCO instance file')
    for place, row in enumerate(rows):
        for field, kind in fields.items():
            value = row.get(field) if isinstance(row, dict) else None
            if not isinstance(value, kind) or isinstance(value, bool):
                raise DataError(f'{path}: `{field}` of entry {place} of `{key}` is {value!r:.60}; mend the file')
    _once([row['id'] for row in rows], f'id in `{key}`:', path)
    return rows


def _once(values: list, what: str, path: str | os.PathLike) -> None:
    twice = [value for value, count in Counter(values).items() if count > 1]
    if twice:
        raise DataError(f'{path} has the {what} {twice[0]} twice ({len(twice)} of them repeat); make them unique')
