"""Windows of drawn mosaics and what they are asked."""

import hashlib

import numpy as np
import pytest

from rs2sam2.datasets.rrsisd import RRSISDDataset
from rs2sam2.datasets.transforms.loading import LoadReferringMask, LoadRGBImage
from rs2sam2.errors import DataError
from rs2sam2.synthetic.dataset import build_window_dataset
from rs2sam2.synthetic.mosaic import Mosaic, draw_mosaic
from rs2sam2.synthetic.scene import CATEGORIES
from rs2sam2.synthetic.windows import ABSENT, draw_windows, questions
from rs2sam2.text.semantics import ReferredObject

VIEW = 96


def test_every_question_means_all_of_its_kind_or_nothing():
    windows = [one for seed in range(4) for one in draw_windows(np.random.default_rng(seed), VIEW, 4)]
    again = [one for seed in range(4) for one in draw_windows(np.random.default_rng(seed), VIEW, 4)]
    asked = [one for _, each in windows for one in each]
    assert [one.text for one in asked] == [one.text for _, each in again for one in each]
    assert all(np.array_equal(a, b) for (a, _), (b, _) in zip(windows, again, strict=True))
    assert {image.shape for image, _ in windows} == {(VIEW, VIEW, 3)}
    for _, each in windows:
        assert len({one.category for one in each}) == len(each) >= ABSENT
        assert not (np.sum([one.mask for one in each], axis=0) > 1).any()
        for one in each:
            assert one.text.startswith('All ')
            assert one.text.endswith(f' {one.category}s')
    shown = np.array([one.mask.any() for one in asked])
    assert 0.1 < shown.mean() < 0.5


def test_questions_follow_from_what_is_shown():
    """A gray and a red ship, and a corner of a bridge of which nobody can say that it is seen."""
    labels = np.zeros((VIEW, VIEW), np.int32)
    labels[10:30, 10:30], labels[50:70, 10:30], labels[0:3, 0:3] = 1, 2, 3
    objects = (
        ReferredObject(0, 'ship', (10, 10, 30, 30), 400.0, 'gray'),
        ReferredObject(1, 'ship', (10, 50, 30, 70), 400.0, 'red'),
        ReferredObject(2, 'bridge', (-90, -90, 3, 3), 4000.0, 'white'),
    )
    meant = {'All ships': (1, 2), 'All gray ships': (1,), 'All red ships': (2,)}
    mosaic, seen = Mosaic(np.zeros((VIEW, VIEW, 3), np.uint8), labels, objects), set()
    for seed in range(60):
        found = questions(mosaic, labels, np.random.default_rng(seed))
        assert [one.category for one in found[:1]] == ['ship']
        assert 'bridge' not in {one.category for one in found}
        assert {one.category for one in found[1:]} < set(CATEGORIES)
        for one in found:
            if 'ship' not in one.text:
                assert not one.mask.any()
            else:
                # 'white' and 'black' may be said of a gray ship, 'brown', 'orange' and 'purple' of a red one.
                assert not {'white', 'black', 'brown', 'orange', 'purple'} & set(one.text.split())
                assert np.array_equal(one.mask, np.isin(labels, meant.get(one.text, ())))
                seen.add(one.text)
    assert seen > set(meant)


def test_a_data_set_of_windows(tmp_path):
    folder = build_window_dataset(tmp_path / 'a', 2, VIEW, seed=5)
    again = build_window_dataset(tmp_path / 'b', 2, VIEW, seed=5, workers=2)
    digests = [
        [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(one.rglob('*')) if path.is_file()]
        for one in (folder, again)
    ]
    assert digests[0] == digests[1]
    pipeline = [LoadRGBImage(), LoadReferringMask()]
    kept = dict(several='only', no_target='keep', metainfo=dict(split_counts={}), pipeline=pipeline)
    dataset = RRSISDDataset(data_root=str(folder), split='train', **kept)
    samples = [dataset[index] for index in range(len(dataset))]
    assert len({sample['img_path'] for sample in samples}) == 8
    assert all(sample['gt_seg_map'].any() != sample['no_target'] for sample in samples)
    pictures = [draw_windows(np.random.default_rng([5, 3, index]), VIEW, 4) for index in range(2)]
    expected = [one for each in pictures for _, asked in each for one in asked]
    assert [sample['expression'] for sample in samples] == [one.text for one in expected]
    assert all(np.array_equal(a['gt_seg_map'] > 0, b.mask) for a, b in zip(samples, expected, strict=True))
    with pytest.raises(DataError, match='exists and is not an empty folder'):
        build_window_dataset(folder, 1, VIEW)


def test_windows_are_cut_from_mosaics_as_scenes_are():
    rng = np.random.default_rng(11)
    (window, _), *_ = draw_windows(rng, VIEW, 1)
    mosaic = draw_mosaic(np.random.default_rng(11), round(2 * VIEW * 1.9), view=VIEW)
    corners = np.argwhere(mosaic.image[:, :, 0] == window[0, 0, 0])
    assert any(
        np.array_equal(mosaic.image[y : y + VIEW, x : x + VIEW], window)
        for y, x in corners
        if y + VIEW <= len(mosaic.image) and x + VIEW <= len(mosaic.image)
    )
