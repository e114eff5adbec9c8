"""Masks from COCO-style segmentations: run lengths (RLE) and polygons, decoded by pycocotools.

pycocotools checks nothing: run lengths that do not fill the mask crash it or give a wrong mask silently. So they are
checked here first.
"""

from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from rs2sam2.datasets.images import MAX_PIXELS, max_pixels
from rs2sam2.errors import DataError

Segmentation = dict | Sequence
# Longer groups than this (35 bits) hold no run of an image that pycocotools can count with its 32 bits.
_LONGEST_GROUP = 7
_LONGEST_OUTLINE = 10**7


def encode_mask(mask: np.ndarray) -> dict[str, Any]:
    """COCO's compressed run lengths of a (h, w) mask, ready for JSON."""
    rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return {'size': [int(side) for side in rle['size']], 'counts': rle['counts'].decode('ascii')}


def decode_segmentation(segmentation: Segmentation, size: tuple[int, int] | None, name: str) -> np.ndarray:
    """Decode a segmentation; the parts of a list are united.

    Nothing is allocated for more pixels than an image may have (`max_pixels`).

    Args:
        segmentation: One RLE (`{'size': [h, w], 'counts': ...}`, counts compressed text or a list of run lengths), or a
            list of RLEs and polygons (flat `[x0, y0, x1, y1, ...]`, pixels). An empty list is an empty mask.
        size: (h, w) for polygons and the empty list, unused by RLEs, which carry their own.
        name: What the mask belongs to, for the error text.

    Returns:
        The mask, (h, w) uint8, 1 on the object.

    Raises:
        DataError: The segmentation does not describe a mask of its size.
    """
    rles, size = check_segmentation(segmentation, size, name)
    if not rles:
        return np.zeros(size, dtype=np.uint8)
    # pycocotools decodes column by column.
    return np.ascontiguousarray(coco_mask.decode(rles[0] if len(rles) == 1 else coco_mask.merge(rles)))


def check_segmentation(
    segmentation: Segmentation, size: tuple[int, int] | None, name: str
) -> tuple[list[dict], tuple[int, int]]:
    """Check a segmentation without decoding it; see `decode_segmentation`.

    Returns:
        Its parts as compressed RLEs, and the size (h, w) of the mask.

    Raises:
        DataError: It does not describe a mask of its size.
    """
    try:
        parts = [segmentation] if isinstance(segmentation, dict) else segmentation
        if not isinstance(parts, (list, tuple)):
            raise ValueError(f'it is a {type(segmentation).__name__}, not an RLE or a list')
        if parts and _is_number(parts[0]):
            parts = [parts]
        rles = [_checked_rle(part) if isinstance(part, dict) else _rle_of_polygon(part, size) for part in parts]
        sizes = sorted({tuple(rle['size']) for rle in rles})
        if len(sizes) > 1:
            raise ValueError(f'its parts have different sizes, {sizes}')
        return rles, sizes[0] if sizes else _checked_size(size)
    except (ValueError, OverflowError) as error:
        raise DataError(
            f'the segmentation of {name} cannot be decoded: {error}; mend it or list the sample in skip_ids'
        ) from None


def run_lengths(counts: str | bytes) -> np.ndarray:
    """Read COCO's compressed run lengths.

    Each number is a group of characters, 5 bits each from the low end (character - 48, bit 5 = more follow), with a
    sign; from the fourth number on it is the difference to the number two before (pycocotools, maskApi.c).

    Args:
        counts: The compressed text.

    Returns:
        Run lengths (n,) int64, background first. They may be negative where the text is broken.

    Raises:
        ValueError: The text holds a character or a group that no encoder writes.
    """
    raw = counts.encode('ascii', 'replace') if isinstance(counts, str) else bytes(counts)
    chars = np.frombuffer(raw, dtype=np.uint8).astype(np.int64) - 48
    if chars.size == 0:
        return chars
    if chars.min() < 0 or chars.max() > 63:
        raise ValueError('its counts hold a character that no RLE has')
    last = chars & 0x20 == 0
    if not last[-1]:
        raise ValueError('its counts break off')
    ends = np.flatnonzero(last)
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    if lengths.max() > _LONGEST_GROUP:
        raise ValueError('its counts hold a number that is too large')
    place = np.arange(chars.size) - np.repeat(starts, lengths)
    runs = np.add.reduceat((chars & 0x1F) << (5 * place), starts)
    runs -= np.where(chars[ends] & 0x10, 1 << (5 * lengths), 0)
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return runs


def _checked_size(size: object) -> tuple[int, int]:
    if (
        not isinstance(size, (list, tuple))
        or len(size) != 2
        or not all(isinstance(side, (int, np.integer)) and not isinstance(side, bool) and side > 0 for side in size)
    ):
        raise ValueError(f'its size is {size!r:.80}, not [height, width]')
    limit = max_pixels()
    if size[0] * size[1] > limit:
        raise ValueError(
            f'its size {size[0]}x{size[1]} (h x w) is more than {limit:,} pixels; to allow more, set the environment '
            f'variable {MAX_PIXELS}'
        )
    return int(size[0]), int(size[1])


def _checked_rle(rle: dict) -> dict:
    missing = [key for key in ('size', 'counts') if key not in rle]
    if missing:
        raise ValueError(f'an RLE without {" and ".join(missing)}')
    height, width = _checked_size(rle['size'])
    counts = rle['counts']
    if isinstance(counts, (str, bytes)):
        runs = run_lengths(counts)
    elif isinstance(counts, (list, tuple)) and all(type(run) is int and abs(run) < 2**32 for run in counts):
        runs = np.array(counts, dtype=np.int64)
    else:
        raise ValueError('its counts are neither RLE text nor a list of run lengths')
    if (runs < 0).any():
        raise ValueError('it has a run of negative length')
    if runs.sum() != height * width:
        raise ValueError(f'its runs cover {runs.sum()} pixels where its size {height}x{width} has {height * width}')
    if isinstance(counts, (str, bytes)):
        return {'size': [height, width], 'counts': counts}
    return coco_mask.frPyObjects({'size': [height, width], 'counts': list(counts)}, height, width)


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _rle_of_polygon(polygon: object, size: object) -> dict:
    height, width = _checked_size(size)
    # pycocotools takes four numbers for a box, so a polygon needs its three corners here.
    if (
        not isinstance(polygon, (list, tuple))
        or len(polygon) < 6
        or len(polygon) % 2
        or not all(_is_number(value) for value in polygon)
    ):
        raise ValueError('a polygon is not a flat list of at least three corners x, y')
    corners = np.asarray(polygon, dtype=np.float64).reshape(-1, 2)
    if not np.all(np.abs(corners) <= 10 * max(height, width)):
        raise ValueError(f'a polygon reaches far outside its image of {height}x{width}')
    # pycocotools walks the outline step by step.
    steps = np.abs(np.diff(corners, axis=0, append=corners[:1])).max(axis=1).sum()
    if steps > _LONGEST_OUTLINE:
        raise ValueError(f'an outline of {steps:,.0f} pixels')
    return coco_mask.frPyObjects([list(polygon)], height, width)[0]
