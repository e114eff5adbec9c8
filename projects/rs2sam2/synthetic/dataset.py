"""Writes scenes with their expressions in the on-disk layout of RRSIS-D."""

import multiprocessing
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from rs2sam2.datasets.masks import encode_mask
from rs2sam2.datasets.rrsisd import RRSISDDataset
from rs2sam2.datasets.rrsisd_layout import IMAGE_FOLDER, RRSISDTables, new_folder
from rs2sam2.errors import DataError
from rs2sam2.signals import end_by_signals
from rs2sam2.synthetic.scene import CATEGORIES, Scene, draw_scene
from rs2sam2.synthetic.tokenizer import train_tokenizer
from rs2sam2.synthetic.windows import draw_windows
from rs2sam2.text.grammar import (
    ReferringExpression,
    absent_expression,
    absent_group,
    describe_groups,
    describe_objects,
    vocabulary,
)

T = TypeVar('T')
R = TypeVar('R')

JPEG_QUALITY = 92
_RRSISD: tuple[str, ...] = RRSISDDataset.METAINFO['categories']  # an id is an index into it
_SPLITS = ('train', 'val', 'test')
_MAX_REFS = 4
_WINDOWS_EACH = 4  # of a mosaic
_SENTENCE_SHARES = (0.4, 0.35, 0.25)  # of objects with one, two and three sentences


def category_id(category: str) -> int:
    """RRSIS-D's id of a class as it is said: 'storage tank' -> 15."""
    return _RRSISD.index(category.replace(' ', ''))


@dataclass(frozen=True)
class _Job:
    split: str
    index: int
    file_name: str


@dataclass(frozen=True)
class _Object:
    """One object as the tables have it; the mask of one that is not there is empty."""

    rle: dict[str, Any]
    category: str
    bbox: tuple[float, ...]
    area: int


@dataclass(frozen=True)
class _Described:
    """What the parent process needs of one scene; the picture is on disk already."""

    job: _Job
    objects: list[_Object]
    refs: list[tuple[int, bool, list[str]]]  # position among the objects, no target, sentences
    groups: list[
        tuple[_Object, str]
    ]  # all objects of a kind as one, none where the mask is empty; what is said of them


def _describe(scene: Scene, rng: np.random.Generator) -> list[tuple[int, bool, list[str]]]:
    """Sentences for up to `_MAX_REFS` objects of the scene that the grammar can tell apart."""
    expressions: dict[int, list[ReferringExpression]] = {}
    for expression in describe_objects(scene.objects, scene.image.shape[:2], rng, per_object=len(_SENTENCE_SHARES)):
        expressions.setdefault(expression.object_id, []).append(expression)
    chosen = sorted(rng.permutation(sorted(expressions))[:_MAX_REFS])
    counts = 1 + rng.choice(len(_SENTENCE_SHARES), len(chosen), p=_SENTENCE_SHARES)
    refs = []
    for key, count in zip(chosen, counts, strict=True):
        # What one looks like comes before where it is, and that before where it is seen from another object.
        simple_first = sorted(expressions[key], key=lambda e: ('relation' in e.kinds, 'position' in e.kinds))
        refs.append((int(key), False, [expression.text for expression in simple_first[:count]]))
    return refs


def _describe_groups(scene: Scene, rng: np.random.Generator, train: bool) -> list[tuple[_Object, str]]:
    """A sentence that means every object of a kind; of train scenes also one of which there is none."""
    size, found = scene.image.shape[:2], []
    for group in describe_groups(scene.objects, size, rng):
        mask = np.any(scene.masks[list(group.object_ids)], axis=0)
        found.append((_whole(scene.objects[group.object_ids[0]].category, mask), group.text))
    absent = sorted(set(CATEGORIES) - {o.category for o in scene.objects})
    if train and (text := absent_group(scene.objects, absent, rng)) is not None:
        category = next(one for one in CATEGORIES if f' {one}s' in text)
        found.append((_whole(category, np.zeros(size, bool)), text))
    return found


def _whole(category: str, mask: np.ndarray) -> _Object:
    """All that a sentence means as one object."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    bbox = (0.0, 0.0, 0.0, 0.0)
    if rows.size:
        bbox = (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
    return _Object(encode_mask(mask), category, bbox, int(mask.sum()))


def _make_scene(job: _Job, folder: Path, size: int, seed: int, no_target_share: float) -> _Described:
    """Draws one scene, writes its picture, returns its annotations and sentences."""
    rng = np.random.default_rng([seed, _SPLITS.index(job.split), job.index])
    refs: list[tuple[int, bool, list[str]]] = []
    while len(refs) < 2:
        scene = draw_scene(rng, size)
        refs = _describe(scene, rng)
    objects = [
        _Object(encode_mask(mask), o.category, o.bbox, int(mask.sum()))
        for mask, o in zip(scene.masks, scene.objects, strict=True)
    ]
    # One more ref without a target, as often as makes it `no_target_share` of all refs.
    if job.split == 'train' and rng.random() < len(refs) * no_target_share / (1 - no_target_share):
        absent = sorted(set(CATEGORIES) - {o.category for o in scene.objects})
        category = absent[rng.integers(len(absent))]
        refs.append((len(objects), True, [absent_expression(category, rng)]))
        objects.append(_Object(encode_mask(np.zeros((size, size), bool)), category, (0.0, 0.0, 0.0, 0.0), 0))
    Image.fromarray(scene.image).save(folder / job.file_name, quality=JPEG_QUALITY, subsampling=0)
    # A generator of their own, so that all other sentences are what they are without them.
    rng = np.random.default_rng([seed, _SPLITS.index(job.split), job.index, 1])
    return _Described(job, objects, refs, _describe_groups(scene, rng, job.split == 'train'))


def _add(scene: _Described, size: int, tables: RRSISDTables) -> int:
    """Adds a scene to the tables; returns the image's id."""
    image_id = tables.add_image(scene.job.file_name, (size, size))
    ids = [tables.add_object(image_id, o.rle, category_id(o.category), o.bbox, o.area) for o in scene.objects]
    for position, no_target, texts in scene.refs:
        tables.add_ref(ids[position], scene.job.split, texts, no_target)
    return image_id


def _add_groups(scene: _Described, image_id: int, tables: RRSISDTables) -> None:
    for one, text in scene.groups:
        ann_id = tables.add_object(image_id, one.rle, category_id(one.category), one.bbox, one.area)
        tables.add_ref(ann_id, scene.job.split, [text], no_target=not one.area, several=True)


def _map(make: Callable[[T], R], jobs: list[T], workers: int) -> Iterator[R]:
    if workers <= 1:
        yield from map(make, jobs)
        return
    with multiprocessing.get_context().Pool(workers, end_by_signals) as pool:
        yield from pool.imap(make, jobs, chunksize=8)


def build_demo_dataset(
    out: str | os.PathLike[str],
    splits: dict[str, int],
    size: int = 256,
    seed: int = 0,
    no_target_share: float = 0.1,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Writes the embedded data set; all or nothing, and the same bytes for the same arguments.

    Every scene has, after all other refs, one that means every object of a kind, and a train scene one of a kind of
    which there is none; they are marked `several`, and data sets leave them out unless they are asked for.

    Args:
        out: folder to be made. It gets `images/rrsisd/JPEGImages/*.jpg`, `rrsisd/refs(unc).p`,
            `rrsisd/instances.json` and `tokenizer/sentencepiece.bpe.model` (it knows the grammar's words).
        splits: number of scenes of 'train', 'val' and 'test'; a scene belongs to one split. A scene's generator is
            seeded by (seed, split, index), so no scene of one split is seen in another.
        size: side of the images in pixels.
        seed: of everything random.
        no_target_share: share of the train refs whose class is absent from their image: `no_target` is True, the
            mask empty.
        workers: processes that draw.
        progress: is called with (scenes done, scenes in all).

    Returns:
        The folder.

    Raises:
        DataError: `out` holds something already, or an argument is out of range.
    """
    out = Path(out)
    if unknown := sorted(set(splits) - set(_SPLITS)):
        raise DataError(f'unknown split {unknown[0]!r}: use any of {", ".join(_SPLITS)}')
    if splits.get('train', 0) < 1 or min(splits.values()) < 0:
        raise DataError(f'splits {splits}: ask for at least one train scene and no negative number')
    if size < 64 or not 0 <= no_target_share < 0.5:
        raise DataError(f'size {size}, no-target share {no_target_share}: use at least 64, and 0 <= share < 0.5')
    if seed < 0 or workers < 1:
        raise DataError(f'seed {seed}, workers {workers}: use a seed from 0 on, and at least one worker')
    places = [(split, index) for split in _SPLITS for index in range(splits.get(split, 0))]
    jobs = [_Job(split, index, f'{number:05d}.jpg') for number, (split, index) in enumerate(places)]
    tables = RRSISDTables(dict(enumerate(_RRSISD)))
    with new_folder(out) as root:
        for folder in (IMAGE_FOLDER, 'tokenizer'):
            (root / folder).mkdir(parents=True)
        make = partial(_make_scene, folder=root / IMAGE_FOLDER, size=size, seed=seed, no_target_share=no_target_share)
        scenes = []
        for done, scene in enumerate(_map(make, jobs, workers), 1):
            scenes.append((scene, _add(scene, size, tables)))
            if progress is not None:
                progress(done, len(jobs))
        for scene, image_id in scenes:
            _add_groups(scene, image_id, tables)
        tables.write(root)
        (root / 'tokenizer/sentencepiece.bpe.model').write_bytes(train_tokenizer(vocabulary(CATEGORIES)))
    return out


def _make_windows(index: int, folder: Path, size: int, seed: int) -> list[_Described]:
    """Draws one mosaic, writes windows of it, returns their questions."""
    described = []
    for number, (picture, questions) in enumerate(
        draw_windows(np.random.default_rng([seed, len(_SPLITS), index]), size, _WINDOWS_EACH)
    ):
        job = _Job('train', index, f'{index * _WINDOWS_EACH + number:05d}.jpg')
        Image.fromarray(picture).save(folder / job.file_name, quality=JPEG_QUALITY, subsampling=0)
        groups = [(_whole(one.category, one.mask), one.text) for one in questions]
        described.append(_Described(job, [], [], groups))
    return described


def build_window_dataset(
    out: str | os.PathLike[str],
    mosaics: int,
    size: int = 160,
    seed: int = 0,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Writes a train split of windows of drawn mosaics: what a scene's windows are asked, most of it of kinds that they
    do not show. All sentences are marked `several`; layout and classes are those of `build_demo_dataset`.

    Args:
        out: folder to be made, without a tokenizer: that of the embedded data set knows all words.
        mosaics: to draw; each gives four windows.
        size: side of the windows in pixels.
        seed: of everything random.
        workers: processes that draw.
        progress: is called with (mosaics done, mosaics in all).

    Returns:
        The folder.

    Raises:
        DataError: `out` holds something already.
    """
    tables = RRSISDTables(dict(enumerate(_RRSISD)))
    with new_folder(Path(out)) as root:
        (root / IMAGE_FOLDER).mkdir(parents=True)
        make = partial(_make_windows, folder=root / IMAGE_FOLDER, size=size, seed=seed)
        for done, windows in enumerate(_map(make, list(range(mosaics)), workers), 1):
            for window in windows:
                _add_groups(window, _add(window, size, tables), tables)
            if progress is not None:
                progress(done, mosaics)
        tables.write(root)
    return Path(out)
