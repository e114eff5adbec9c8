"""Reads COCO instance sets, strictly: what does not fit stops the reading with one line."""

import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from rs2sam2.errors import DataError
from rs2sam2.json_text import read_json

_JOINED: tuple[str, ...] = ('baseball field', 'basketball court', 'golf field', 'ground track field', 'storage tank')
_JOINED += ('tennis court', 'train station', 'soccer ball field', 'swimming pool', 'baseball diamond')
_TABLES: dict[str, dict[str, Any]] = {
    'images': {'id': (int, str), 'file_name': str, 'height': int, 'width': int},
    'annotations': {'id': (int, str), 'image_id': (int, str), 'category_id': (int, str)},
    'categories': {'id': (int, str), 'name': str},
}
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
    content = read_json(path, 'check the path, or fetch it again')
    tables = {key: _rows(content, key, fields, path) for key, fields in _TABLES.items()}
    _once([image['file_name'] for image in tables['images']], 'image file', path)
    categories = {_number(one['id'], path): one['name'] for one in tables['categories']}
    nameless = next((key for key, name in categories.items() if not name.strip()), None)
    if nameless is not None:
        raise DataError(f'{path}: category {nameless} has an empty name; write one')
    # Ids are told apart as texts: one tool writes 7 where another writes "7".
    objects: dict[str, list[CocoObject]] = {str(image['id']): [] for image in tables['images']}
    for one in tables['annotations']:
        category_id = _number(one['category_id'], path)
        if str(one['image_id']) not in objects:
            raise DataError(f'{path}: annotation {one["id"]} is of image {one["image_id"]}, which is not in `images`')
        if category_id not in categories:
            raise DataError(
                f'{path}: annotation {one["id"]} is of category {category_id}, which is not in `categories`'
            )
        if not one.get('segmentation'):
            raise DataError(
                f'{path}: annotation {one["id"]} has no segmentation; give masks (boxes are not enough) or remove it'
            )
        crowd = bool(one.get('iscrowd', 0))
        objects[str(one['image_id'])].append(CocoObject(one['id'], category_id, one['segmentation'], crowd))
    images = []
    for image in sorted(tables['images'], key=lambda image: image['file_name']):
        name = PurePosixPath(image['file_name'])
        if name.is_absolute() or '..' in name.parts:
            raise DataError(f'{path}: the image {name} lies outside the folder of images; give paths below it')
        images.append(CocoImage(str(name), (image['height'], image['width']), tuple(objects[str(image['id'])])))
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
    _once([str(row['id']) for row in rows], f'id in `{key}`:', path)
    return rows


def _number(category_id: int | str, path: str | os.PathLike) -> int:
    """The id of a category: the layout of RRSIS-D numbers them."""
    if isinstance(category_id, str) and not (category_id.isascii() and category_id.isdigit() and len(category_id) < 19):
        raise DataError(f'{path}: the category id {category_id!r:.60} is no number; number the categories')
    return int(category_id)


def _once(values: list, what: str, path: str | os.PathLike) -> None:
    twice = [value for value, count in Counter(values).items() if count > 1]
    if twice:
        raise DataError(f'{path} has the {what} {twice[0]} twice ({len(twice)} of them repeat); make them unique')
