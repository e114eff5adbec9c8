"""COCO instance sets to the layout of RRSIS-D, with referring expressions made from the masks."""

import json
import multiprocessing
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from rs2sam2.datasets.coco import CocoImage, read_coco, said_name
from rs2sam2.datasets.images import read_image
from rs2sam2.datasets.masks import decode_segmentation, encode_mask
from rs2sam2.datasets.rrsisd_layout import IMAGE_FOLDER, RRSISDTables, new_folder
from rs2sam2.datasets.splits import DEFAULT_SHARES, check_draw, empty_splits, split_images
from rs2sam2.datasets.stable_hash import stable_hash
from rs2sam2.errors import DataError
from rs2sam2.signals import end_by_signals
from rs2sam2.text.colours import COLOURS, measure_colour
from rs2sam2.text.grammar import ReferredObject, Wording, absent_expression, describe_groups, describe_objects

MIN_AREA = 100
"""Objects of fewer pixels are not described: people cannot tell what they are."""
# Annotation tools round corners outwards.
_OUTSIDE = 1.0
# Masks drawn by hand differ more than the drawn scenes' exact ones.
WORDING = Wording(size_margin=1.5, swapped=0.0, most_of_two=False, whole_leads=True)
# Parts of the ground: where one ends is a matter of taste, and its colour is that of earth, grass or concrete.
_GROUND: tuple[str, ...] = (
    'field',
    'diamond',
    'court',
    'harbor',
    'harbour',
    'bridge',
    'overpass',
    'dam',
    'airport',
    'station',
    'stadium',
)
_GROUND += ('area', 'course', 'runway', 'road', 'roundabout', 'lot', 'land', 'farmland', 'forest', 'lake', 'river')
# In a photograph gray is as often white in the shade, and black is the shade.
_SAID_COLOURS = tuple(word for word in COLOURS if word not in ('gray', 'black'))
_COMMON = ('white', 'red', 'yellow', 'green', 'blue')
_PAINTED = ('red', 'green', 'blue', 'cyan', 'purple')
# Annotation tools leave a pixel free at the border.
_BORDER = 2
_SECOND_PART = 0.25
CROWD, EMPTY, TINY, PARTS, AMBIGUOUS = (
    'of a class that is also marked as a crowd in its image: nobody knows how many there are',
    'mask without a pixel',
    'mask of fewer than {} pixels',
    'mask in separate parts of like size: it may be several objects',
    'no expression of the grammar tells it from the other objects of its image',
)


@dataclass
class ConversionReport:
    """What became of the set; numbers by split, and the objects left out by reason."""

    images: Counter = field(default_factory=Counter)
    refs: Counter = field(default_factory=Counter)
    sentences: Counter = field(default_factory=Counter)
    no_target: Counter = field(default_factory=Counter)
    several: Counter = field(default_factory=Counter)
    kinds: Counter = field(default_factory=Counter)
    left_out: Counter = field(default_factory=Counter)
    images_left_out: int = 0
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Object:
    category_id: int
    rle: dict
    bbox: tuple[float, float, float, float]
    area: int
    sentences: tuple[str, ...]
    kinds: tuple[frozenset[str], ...]
    no_target: bool = False
    several: bool = False


@dataclass(frozen=True)
class _Described:
    image: CocoImage
    objects: list[_Object]
    left_out: Counter


@dataclass(frozen=True)
class _Options:
    folder: Path
    names: dict[int, str]
    per_object: int
    no_target_share: float
    several: int
    min_area: int
    seed: int
    may_be_absent: tuple[int, ...]


def _mask(image: CocoImage, index: int) -> np.ndarray:
    one = image.objects[index]
    name = f'annotation {one.ann_id} of {image.file_name}'
    mask = decode_segmentation(one.segmentation, image.size, name)
    if mask.shape != image.size:
        raise DataError(
            f'{name} has a mask of size {list(mask.shape)}, its image {list(image.size)} (h, w); mend the file'
        )
    height, width = image.size
    for polygon in one.segmentation if isinstance(one.segmentation, list) else ():
        if isinstance(polygon, list):
            xs, ys = np.array(polygon[::2]), np.array(polygon[1::2])
            beyond = max(-xs.min(), -ys.min(), xs.max() - width, ys.max() - height)
            if beyond > _OUTSIDE:
                raise DataError(
                    f'{name} has a polygon that reaches {beyond:g} pixels beyond its image of {width} x {height}; '
                    'clip it, or check which image it belongs to'
                )
    return mask > 0


def _describe(image: CocoImage, options: _Options) -> _Described:
    """Sentences for the objects of one image."""
    path = options.folder / image.file_name
    pixels = read_image(path, 'RGB', 'restore it or remove it from the COCO file')
    if pixels.shape[:2] != image.size:
        raise DataError(
            f'{path} is of size {list(pixels.shape[:2])} (h, w), the COCO file says {list(image.size)}; '
            'use the images that the masks were drawn on'
            + (' (its EXIF orientation turns it)' if pixels.shape[:2] == image.size[::-1] else '')
        )
    rng = np.random.default_rng([options.seed, stable_hash(image.file_name)])
    crowded = {one.category_id for one in image.objects if one.is_crowd}
    left_out: Counter[str] = Counter()
    masks: dict[int, np.ndarray] = {}
    for index, one in enumerate(image.objects):
        mask = _mask(image, index)
        if one.category_id in crowded:
            left_out[CROWD] += 1
        elif not mask.any():
            left_out[EMPTY] += 1
        else:
            masks[index] = mask
    seen = [
        _seen(index, mask, pixels, options.names[image.objects[index].category_id]) for index, mask in masks.items()
    ]
    sentences: dict[int, list] = {thing.object_id: [] for thing in seen}
    for expression in describe_objects(seen, image.size, rng, options.per_object, WORDING):
        sentences[expression.object_id].append(expression)
    objects = []
    for thing in seen:
        said, mask = sentences[thing.object_id], masks[thing.object_id]
        if reason := _reason(mask, options.min_area, bool(said)):
            left_out[reason] += 1
            continue
        texts, kinds = tuple(each.text for each in said), tuple(each.kinds for each in said)
        category_id = image.objects[thing.object_id].category_id
        objects.append(_Object(category_id, encode_mask(mask), thing.bbox, int(mask.sum()), texts, kinds))
    present = {one.category_id for one in image.objects}
    absent = [key for key in options.may_be_absent if key not in present]
    share = options.no_target_share
    # One more ref without a target, as often as makes it `share` of all refs.
    if absent and objects and rng.random() < len(objects) * share / (1 - share):
        key = absent[rng.integers(len(absent))]
        empty = encode_mask(np.zeros(image.size, bool))
        name = options.names[key]
        colours = [word for word in colours_of(name) if word in _COMMON]
        text = absent_expression(name, rng, colours, sized=not _is_ground(name))
        objects.append(_Object(key, empty, (0.0, 0.0, 0.0, 0.0), 0, (text,), (), no_target=True))
    objects += _groups(image, seen, masks, options) if objects else []
    return _Described(image, objects, left_out)


def _groups(
    image: CocoImage, seen: list[ReferredObject], masks: dict[int, np.ndarray], options: _Options
) -> list[_Object]:
    """Sentences that mean every object of a kind, with all of them as one."""
    # A generator of their own, so that all other sentences are what they are without them.
    rng = np.random.default_rng([options.seed, stable_hash(image.file_name), 1])
    found = []
    for group in describe_groups(seen, image.size, rng, options.several, WORDING):
        mask = np.any([masks[key] for key in group.object_ids], axis=0)
        boxes = [one.bbox for one in seen if one.object_id in group.object_ids]
        lefts, tops, rights, bottoms = zip(*boxes, strict=True)
        bbox = min(lefts), min(tops), max(rights), max(bottoms)
        category_id = image.objects[group.object_ids[0]].category_id
        texts, kinds = (group.text,), (group.kinds,)
        found.append(_Object(category_id, encode_mask(mask), bbox, int(mask.sum()), texts, kinds, several=True))
    return found


def _reason(mask: np.ndarray, min_area: int, described: bool) -> str | None:
    """Why an object is left out; None where it is not."""
    if mask.sum() < min_area:
        return TINY.format(min_area)
    parts = np.sort(cv2.connectedComponentsWithStats(mask.astype(np.uint8))[2][1:, cv2.CC_STAT_AREA])
    if len(parts) > 1 and parts[-2] >= _SECOND_PART * parts[-1]:
        return PARTS
    return None if described else AMBIGUOUS


def _seen(index: int, mask: np.ndarray, pixels: np.ndarray, name: str) -> ReferredObject:
    """What the grammar needs to know about an object."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    bbox = (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
    height, width = mask.shape
    cut = min(bbox[:2]) < _BORDER or bbox[2] > width - _BORDER or bbox[3] > height - _BORDER
    colour = measure_colour(pixels[mask])
    return ReferredObject(
        index,
        name,
        bbox,
        None if cut or _is_ground(name) else float(mask.sum()),
        colour if colour in colours_of(name) else None,
    )


def _is_ground(name: str) -> bool:
    return name.split()[-1] in _GROUND


def colours_of(name: str) -> tuple[str, ...]:
    """The colours that are said of a class: courts by their paint, other parts of the ground by none."""
    if not _is_ground(name):
        return _SAID_COLOURS
    return _PAINTED if name.split()[-1] == 'court' else ()


def _each(images: list[CocoImage], options: _Options, workers: int) -> Iterator[_Described]:
    describe = partial(_describe, options=options)
    if workers <= 1:
        yield from map(describe, images)
        return
    with multiprocessing.get_context().Pool(workers, end_by_signals) as pool:
        yield from pool.imap(describe, images, chunksize=4)


def convert_coco(
    annotations: str | os.PathLike,
    images: str | os.PathLike,
    out: str | os.PathLike,
    names: dict[str, str] | None = None,
    per_object: int = 3,
    shares: dict[str, float] | None = None,
    no_target_share: float = 0.0,
    never_absent: Sequence[str] = (),
    several: int = 0,
    min_area: int = MIN_AREA,
    seed: int = 0,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> ConversionReport:
    """Convert a COCO instance set; all or nothing, and the same bytes for the same arguments.

    Every object of an image is known to the grammar, also those that get no sentence, so that no sentence fits two.
    It cannot know objects that the set does not annotate.

    Args:
        annotations: The COCO file, with polygons or RLEs.
        images: The folder of its images; those with expressions are copied, byte for byte.
        out: Folder to be made, in the layout of RRSIS-D; `rrsisd/conversion.json` in it is the report.
        names: How classes are said, singular, by their names in the file; by default `said_name`.
        per_object: At most this many different sentences an object.
        shares: Of the images in train, val and test; by default 0.7, 0.1, 0.2.
        no_target_share: Share of refs that mean nothing in their image, marked `no_target`: a sentence about a class
            that the image does not show. Only right where every object of the class is annotated.
        never_absent: Classes, by their names in the file, that are not: no sentence says that they are absent.
        several: At most this many sentences an image that mean every object of a kind, marked `several`: data sets
            leave them out unless they are asked for. Only right where every object of the classes is annotated.
        min_area: Objects of fewer pixels get no sentence (they are ruled out by the others' all the same).
        seed: Of everything random.
        workers: Processes.
        progress: Is called with (images done, images in all).

    Returns:
        What was made and what was left out.

    Raises:
        DataError: The COCO file, an image or an argument cannot be used, or nothing can be said.
    """
    shares = shares or DEFAULT_SHARES
    check_draw(shares, seed)
    if per_object < 1 or several < 0 or not 0 <= no_target_share < 0.5:
        raise DataError(
            f'per_object {per_object}, several {several}, no_target_share {no_target_share}: use at least 1, at least '
            '0, and 0 <= share < 0.5'
        )
    coco, categories = read_coco(annotations)
    unknown = sorted({*(names or ()), *never_absent} - set(categories.values()))
    if unknown:
        raise DataError(f'{annotations} has no category {unknown[0]!r}; there are {", ".join(categories.values())}')
    if not Path(images).is_dir():
        raise DataError(f'{images} is not a folder; give the folder of the images')
    said = {key: (names or {}).get(name, said_name(name)) for key, name in categories.items()}
    may_be_absent = tuple(key for key, name in categories.items() if name not in never_absent)
    options = _Options(Path(images), said, per_object, no_target_share, several, min_area, seed, may_be_absent)
    splits = split_images([image.file_name for image in coco], shares, seed)
    report, tables = ConversionReport(), RRSISDTables(categories)
    with new_folder(out) as root:
        for done, described in enumerate(_each(coco, options, workers), 1):
            _add(described, splits[described.image.file_name], tables, report)
            if described.objects:
                target = root / IMAGE_FOLDER / described.image.file_name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(Path(images) / described.image.file_name, target)
            if progress is not None:
                progress(done, len(coco))
        if not tables.refs:
            raise DataError(f'{annotations}: not one object could be described; {dict(report.left_out)}')
        report.notes += empty_splits(report.images, shares, 'described images')
        tables.write(root)
        (root / 'rrsisd/conversion.json').write_text(json.dumps(vars(report), indent=1))
    return report


def _add(described: _Described, split: str, tables: RRSISDTables, report: ConversionReport) -> None:
    report.left_out.update(described.left_out)
    if not described.objects:
        report.images_left_out += 1
        return
    report.images[split] += 1
    image_id = tables.add_image(described.image.file_name, described.image.size)
    for one in described.objects:
        ann_id = tables.add_object(image_id, one.rle, one.category_id, one.bbox, one.area)
        tables.add_ref(ann_id, split, one.sentences, one.no_target, one.several)
        report.refs[split] += 1
        report.sentences[split] += len(one.sentences)
        report.no_target[split] += one.no_target
        report.several[split] += one.several
        report.kinds.update('+'.join(sorted(kinds)) for kinds in one.kinds)
