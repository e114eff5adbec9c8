"""Segmentations against masks drawn here, and broken ones that pycocotools would not notice."""

import json
import resource

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from rs2sam2.datasets.masks import check_segmentation, decode_segmentation, run_lengths
from rs2sam2.errors import DataError


def random_mask(rng, height, width, share):
    return (rng.random((height, width)) < share).astype(np.uint8)


def encode(mask):
    rle = coco_mask.encode(np.asfortranarray(mask))
    return dict(size=list(rle['size']), counts=rle['counts'].decode())


def runs_of(mask):
    flat = mask.flatten(order='F').astype(np.int64)
    edges = np.concatenate(([0], np.flatnonzero(np.diff(flat)) + 1, [flat.size]))
    runs = np.diff(edges)
    return runs if flat[0] == 0 else np.concatenate(([0], runs))


@pytest.mark.parametrize('share', [0.0, 0.002, 0.5, 0.998, 1.0])
def test_run_lengths_are_those_of_the_mask(share):
    rng = np.random.default_rng(0)
    for height, width in [(1, 1), (3, 5), (64, 48), (700, 900)]:
        mask = random_mask(rng, height, width, share)
        np.testing.assert_array_equal(run_lengths(encode(mask)['counts']), runs_of(mask))


def test_every_form_of_rle_gives_the_mask():
    mask = random_mask(np.random.default_rng(1), 37, 53, 0.3)
    rle = encode(mask)
    forms = [
        rle,
        [rle],
        dict(rle, counts=rle['counts'].encode()),
        dict(size=(37, 53), counts=runs_of(mask).tolist()),
        [dict(size=[37, 53], counts=runs_of(mask).tolist())],
    ]
    for form in forms:
        decoded = decode_segmentation(form, None, 'x')
        np.testing.assert_array_equal(decoded, mask)
        assert decoded.dtype == np.uint8
        assert decoded.flags.c_contiguous


def test_parts_are_united():
    rng = np.random.default_rng(2)
    first, second = random_mask(rng, 20, 30, 0.2), random_mask(rng, 20, 30, 0.2)
    np.testing.assert_array_equal(decode_segmentation([encode(first), encode(second)], None, 'x'), first | second)
    square = [2, 3, 7, 3, 7, 9, 2, 9]
    drawn = np.zeros((20, 30), np.uint8)
    drawn[3:9, 2:7] = 1
    np.testing.assert_array_equal(decode_segmentation([square], (20, 30), 'x'), drawn)
    np.testing.assert_array_equal(decode_segmentation(square, (20, 30), 'x'), drawn)
    np.testing.assert_array_equal(decode_segmentation([square, encode(first)], (20, 30), 'x'), drawn | first)


def test_nothing_is_an_empty_mask():
    assert decode_segmentation([], (4, 6), 'x').shape == (4, 6)
    assert decode_segmentation([], (4, 6), 'x').sum() == 0
    assert decode_segmentation(dict(size=[4, 6], counts=[24]), None, 'x').sum() == 0


GOOD = encode(random_mask(np.random.default_rng(3), 16, 16, 0.3))
BAD = {
    'size too small': (dict(GOOD, size=[16, 15]), 'cover 256 pixels where its size 16x15 has 240'),
    'size too large': (dict(GOOD, size=[800, 800]), 'cover 256 pixels'),
    'cut off': (dict(GOOD, counts=GOOD['counts'][:-3]), '.'),
    'cut inside a number': (dict(size=[800, 800], counts='PPY'), 'break off'),
    'empty text': (dict(GOOD, counts=''), 'cover 0 pixels'),
    'garbage': (dict(GOOD, counts='hello world'), 'character that no RLE has'),
    'not ascii': (dict(GOOD, counts='é12'), 'character that no RLE has|cover'),
    'huge number': (dict(GOOD, counts='o' * 40 + '1'), 'too large'),
    'negative run': (dict(size=[4, 4], counts=[20, -8, 4]), 'negative'),
    'negative run as text': (dict(size=[4, 4], counts='O'), 'negative'),
    'fractions': (dict(size=[4, 4], counts=[4.5, 11.5]), 'neither'),
    'overflow': (dict(size=[4, 4], counts=[16, 2**80]), 'neither'),
    'no counts': (dict(size=[4, 4]), 'without counts'),
    'no size': (dict(counts='0'), 'without size'),
    'size of zero': (dict(size=[0, 4], counts=[0]), 'not .height, width.'),
    'size of three': (dict(size=[4, 4, 1], counts=[16]), 'not .height, width.'),
    'parts of two sizes': ([GOOD, dict(size=[4, 4], counts=[16])], 'different sizes'),
    'box': ([[1, 2, 3, 4]], 'three corners'),
    'odd polygon': ([[1, 2, 3, 4, 5, 6, 7]], 'three corners'),
    'pairs': ([[[1, 2], [3, 4], [5, 6]]], 'three corners'),
    'no number': ([[1, 2, 3, 4, 5, float('nan')]], 'far outside'),
    'far away': ([[1, 2, 3, 4, 5, 1e9]], 'far outside'),
    'text': ('abc', 'not an RLE or a list'),
    'None': (None, 'not an RLE or a list'),
    'list of None': ([None], 'three corners'),
}


@pytest.mark.parametrize('case', BAD)
def test_a_broken_segmentation_names_its_sample(case):
    segmentation, reason = BAD[case]
    with pytest.raises(DataError, match=reason) as caught:
        decode_segmentation(segmentation, (16, 16), 'sample 413')
    assert 'sample 413' in str(caught.value)
    assert '\n' not in str(caught.value)


def test_random_damage_is_noticed_or_harmless():
    """Whatever passes the check decodes to exactly the runs that were checked."""
    rng = np.random.default_rng(4)
    refused = 0
    for _ in range(400):
        mask = random_mask(rng, 24, 31, 0.2)
        rle = encode(mask)
        text = bytearray(rle['counts'].encode())
        for place in rng.integers(0, len(text), 2):
            text[place] = rng.integers(48, 112)
        damaged = dict(rle, counts=text.decode())
        try:
            decoded = decode_segmentation(damaged, None, 'x')
        except DataError:
            refused += 1
            continue
        runs = run_lengths(damaged['counts'])
        expected = np.repeat(np.arange(len(runs)) % 2, runs).reshape((24, 31), order='F')
        np.testing.assert_array_equal(decoded, expected)
    assert refused > 300


@pytest.mark.shared
def test_real_rows_decode(shared):
    folder = shared / 'data' / 'annotation_samples'
    rows = [json.loads(line) for path in sorted(folder.glob('*.jsonl')) for line in path.read_text().splitlines()]
    assert len(rows) == 9
    for row in rows:
        mask = decode_segmentation(row['segmentation'], None, row['file_name'])
        rle = row['segmentation'][0] if isinstance(row['segmentation'], list) else row['segmentation']
        assert mask.shape == tuple(rle['size'])
        assert 0 < mask.mean() < 0.5
        if 'bbox' in row:
            ys, xs = np.nonzero(mask)
            np.testing.assert_allclose([xs.min(), ys.min(), xs.max(), ys.max()], row['bbox'], atol=20)


def test_sizes_are_bounded_before_anything_is_decoded(monkeypatch):
    start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for rle in (
        dict(size=[100_000, 10_000], counts=[10**9]),
        dict(size=[2**16, 2**15], counts=[2**31]),
        dict(size=[100_000, 10_000], counts=[0, 10**9]),
    ):
        with pytest.raises(DataError, match=r'is more than 89,478,485 pixels.*RS2SAM2_MAX_PIXELS'):
            decode_segmentation(rle, (96, 96), 'x')
    with pytest.raises(DataError, match='an outline of'):
        decode_segmentation([[0, 0, 10**8, 1, 0, 1] * 100], (1, 80_000_000), 'x')
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start < 200_000  # kB
    monkeypatch.setenv('RS2SAM2_MAX_PIXELS', str(10**9))
    assert check_segmentation(dict(size=[100_000, 10_000], counts=[10**9]), None, 'x')[1] == (100_000, 10_000)


def test_checking_finds_what_decoding_finds():
    good = dict(size=[20, 30], counts=[10, 5, 585])
    rles, size = check_segmentation([good, [1, 1, 9, 1, 9, 9]], (20, 30), 'x')
    assert (len(rles), size) == (2, (20, 30))
    for wrong in (
        dict(good, counts=[10, 5]),
        dict(good, counts='zz'),
        [[1, 1, 2, 2]],
        [float('nan')] * 6,
        7,
        [True] * 6,
    ):
        with pytest.raises(DataError):
            check_segmentation(wrong, (20, 30), 'x')
        with pytest.raises(DataError):
            decode_segmentation(wrong, (20, 30), 'x')
