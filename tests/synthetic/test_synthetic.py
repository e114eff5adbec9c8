"""The embedded data set: pictures, masks, and the on-disk layout."""

import copy
import hashlib
import json
import pickle
import runpy
import sys

import numpy as np
import pytest
import sentencepiece
from PIL import Image, ImageFilter
from pycocotools import mask as coco_mask

from helpers.paths import ROOT
from rs2sam2.datasets.rrsisd import RRSISDDataset
from rs2sam2.datasets.transforms.loading import LoadReferringMask, LoadRGBImage
from rs2sam2.errors import DataError
from rs2sam2.synthetic.canvas import Canvas
from rs2sam2.synthetic.dataset import build_demo_dataset
from rs2sam2.synthetic.layouts import LAYOUTS
from rs2sam2.synthetic.mosaic import draw_mosaic
from rs2sam2.synthetic.scene import CATEGORIES, draw_scene
from rs2sam2.text.colours import measure_colour

SPLITS = {'train': 10, 'val': 2, 'test': 3}


@pytest.fixture(scope='module')
def demo(tmp_path_factory):
    return build_demo_dataset(tmp_path_factory.mktemp('demo') / 'set', SPLITS, size=128, seed=3)


def tables(folder):
    refs = pickle.loads((folder / 'rrsisd/refs(unc).p').read_bytes())
    return refs, json.loads((folder / 'rrsisd/instances.json').read_text())


def digest(folder):
    files = sorted(path for path in folder.rglob('*') if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize('layout', LAYOUTS, ids=lambda layout: layout.__name__)
def test_masks_are_where_the_objects_were_drawn(layout):
    for seed in range(3):
        canvas = Canvas(np.random.default_rng([7, seed]), 160)
        layout(canvas)
        empty = copy.deepcopy(canvas)
        empty.placed = []
        image, masks = (array.astype(int) for array in canvas.finish())
        bare, _ = (array.astype(int) for array in empty.finish())
        assert masks.sum(0).max() <= 1
        assert len(masks) == len(canvas.placed) > 0
        changed = np.abs(image - bare).max(-1) > 6
        for mask in masks.astype(bool):
            assert changed[mask].mean() > 0.9
        # Off the masks' antialiased rim nothing is drawn but shadow, which only darkens.
        covered = Image.fromarray((masks.any(0) * 255).astype(np.uint8)).filter(ImageFilter.MaxFilter(3))
        assert (image - bare)[np.asarray(covered) == 0].max() <= 0


def test_scenes_repeat_and_keep_what_they_promise():
    seen, colours = set(), 0
    for seed in range(100):
        scene = draw_scene(np.random.default_rng([1, seed]), 192)
        assert scene.image.shape == (192, 192, 3)
        assert 2 <= len(scene.objects) <= 6
        assert scene.masks.sum(0).max() == 1
        assert len({o.category for o in scene.objects}) < len(scene.objects)
        for o, mask in zip(scene.objects, scene.masks, strict=True):
            rows, columns = np.nonzero(mask)
            assert o.bbox == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            assert o.area == mask.sum() >= 0.008 * 192 * 192
            assert o.colour in (None, measure_colour(scene.image[mask]))
            colours += o.colour is not None
            seen.add(o.category)
    again = draw_scene(np.random.default_rng([1, 99]), 192)
    assert np.array_equal(again.image, scene.image)
    assert again.objects == scene.objects
    assert seen == set(CATEGORIES)
    assert colours > 150


def test_paint_is_the_colour_that_is_said():
    total, true = 0, 0
    for seed in range(24):
        canvas = Canvas(np.random.default_rng([2, seed]), 160)
        LAYOUTS[seed % len(LAYOUTS)](canvas)
        image, masks = canvas.finish()
        for (sprite, _, _), mask in zip(canvas.placed, masks, strict=True):
            measured = measure_colour(image[mask])
            assert sprite.colour is None or measured in (None, sprite.colour), sprite.category
            total += sprite.colour is not None
            true += sprite.colour is not None and measured == sprite.colour
    assert true >= 0.9 * total


def test_layout_is_that_of_rrsisd(demo):
    refs, instances = tables(demo)
    annotations = {a['id']: a for a in instances['annotations']}
    images = {i['id']: i for i in instances['images']}
    assert [c['id'] for c in instances['categories']] == list(range(20))
    assert instances['categories'][15]['name'] == 'storagetank'
    assert len(images) == sum(SPLITS.values()) == len(list((demo / 'images/rrsisd/JPEGImages').glob('*.jpg')))
    for split, number in SPLITS.items():
        assert len({r['image_id'] for r in refs if r['split'] == split}) == number
    assert len({(r['image_id'], r['split']) for r in refs}) == len(images)
    assert len({r['ref_id'] for r in refs}) == len(refs)
    sent_ids = [s['sent_id'] for r in refs for s in r['sentences']]
    assert len(set(sent_ids)) == len(sent_ids)
    for ref in refs:
        annotation = annotations[ref['ann_id']]
        assert annotation['image_id'] == ref['image_id']
        assert annotation['category_id'] == ref['category_id']
        assert images[ref['image_id']]['file_name'] == ref['file_name']
        assert ref['sent_ids'] == [s['sent_id'] for s in ref['sentences']]
        assert 1 <= len(ref['sentences']) <= 3
        assert all(s['tokens'] == s['raw'].split() and s['sent'] == s['raw'] for s in ref['sentences'])
        with Image.open(demo / 'images/rrsisd/JPEGImages' / ref['file_name']) as image:
            assert image.size == (128, 128)


def test_rles_decode_to_the_annotated_masks(demo):
    refs, instances = tables(demo)
    empty = {r['ann_id'] for r in refs if r.get('no_target')}
    groups = {r['ann_id'] for r in refs if r.get('several')}
    by_image = {}
    for annotation in instances['annotations']:
        (rle,) = annotation['segmentation']
        assert isinstance(rle['counts'], str)
        mask = coco_mask.decode(rle)
        assert mask.shape == (128, 128)
        assert mask.sum() == annotation['area']
        assert (annotation['area'] == 0) == (annotation['id'] in empty)
        if annotation['area']:
            rows, columns = np.nonzero(mask)
            box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert annotation['bbox'] == box
            if annotation['id'] not in groups:
                by_image.setdefault(annotation['image_id'], []).append(mask)
    assert all(np.sum(masks, 0).max() == 1 for masks in by_image.values())


def test_the_data_set_class_reads_it(demo):
    refs, instances = tables(demo)
    refs = [ref for ref in refs if not ref.get('several')]
    areas = {a['id']: a['area'] for a in instances['annotations']}
    pipeline = [LoadRGBImage(), LoadReferringMask()]
    for split in SPLITS:
        expected = [(s['sent'], areas[r['ann_id']]) for r in refs if r['split'] == split for s in r['sentences']]
        dataset = RRSISDDataset(data_root=str(demo), split=split, no_target='keep', pipeline=pipeline)
        samples = [dataset[index] for index in range(len(dataset))]
        assert [(s['expression'], s['gt_seg_map'].sum()) for s in samples] == expected


def test_negative_refs_are_of_train_and_of_an_absent_class(tmp_path):
    folder = build_demo_dataset(tmp_path / 'set', {'train': 20, 'test': 6}, size=64, seed=0, no_target_share=0.3)
    refs, instances = tables(folder)
    refs = [ref for ref in refs if not ref.get('several')]
    negative = [r for r in refs if r.get('no_target')]
    assert {r['split'] for r in negative} == {'train'}
    assert 0.15 < len(negative) / sum(r['split'] == 'train' for r in refs) < 0.45
    for ref in negative:
        shown = [a for a in instances['annotations'] if a['image_id'] == ref['image_id'] and a['area']]
        assert ref['category_id'] not in {a['category_id'] for a in shown}


def test_same_arguments_give_the_same_bytes_whatever_the_processes(demo, tmp_path):
    other = build_demo_dataset(tmp_path / 'a', SPLITS, size=128, seed=3, workers=2)
    assert digest(other) == digest(demo)
    assert list(tmp_path.iterdir()) == [other]
    assert digest(build_demo_dataset(tmp_path / 'b', SPLITS, size=128, seed=4)) != digest(demo)


def test_a_longer_train_split_leaves_the_test_scenes_alone(demo, tmp_path):
    other = build_demo_dataset(tmp_path / 'a', {'train': 11, 'test': 3}, size=128, seed=3)

    def scenes(folder, split):
        names = sorted({r['file_name'] for r in tables(folder)[0] if r['split'] == split})
        return [(folder / 'images/rrsisd/JPEGImages' / name).read_bytes() for name in names]

    assert scenes(other, 'test') == scenes(demo, 'test')
    assert scenes(other, 'train')[:10] == scenes(demo, 'train')
    assert len({*scenes(demo, 'train'), *scenes(demo, 'val'), *scenes(demo, 'test')}) == 15


def test_tokenizer_knows_the_sentences_in_the_scheme_of_beit3(demo):
    model = sentencepiece.SentencePieceProcessor(model_file=str(demo / 'tokenizer/sentencepiece.bpe.model'))
    assert [model.id_to_piece(i) for i in range(3)] == ['<unk>', '<s>', '</s>']
    refs, _ = tables(demo)
    for ref in refs:
        for sentence in ref['sentences']:
            # Only 'All', which no other sentence has, is spelled.
            spelled = 2 * (sentence['tokens'][0] == 'All')
            assert len(model.encode(sentence['raw'])) == len(sentence['tokens']) + spelled
    assert model.unk_id() not in model.encode('A Windmill, 3 metres high!')


def test_refuses_what_it_cannot_do(tmp_path):
    full = tmp_path / 'full'
    full.mkdir()
    (full / 'mine.txt').write_text('keep')
    with pytest.raises(DataError, match=r'full exists and is not an empty folder'):
        build_demo_dataset(full, {'train': 1}, size=64)
    assert (full / 'mine.txt').read_text() == 'keep'
    for splits, options, message in (
        ({'train': 0}, {}, 'at least one train scene'),
        ({'train': 1, 'dev': 1}, {}, "unknown split 'dev'"),
        ({'train': 1}, {'size': 20}, 'size 20'),
        ({'train': 1}, {'no_target_share': 0.9}, 'no-target share 0.9'),
        ({'train': 1}, {'seed': -5}, 'seed -5'),
        ({'train': 1}, {'workers': 0}, 'workers 0'),
    ):
        with pytest.raises(DataError, match=message):
            build_demo_dataset(tmp_path / 'new', splits, **options)
    assert [path.name for path in tmp_path.iterdir()] == ['full']


def test_a_failure_in_the_middle_leaves_nothing_behind(tmp_path):
    def fail(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_demo_dataset(tmp_path / 'set', {'train': 2}, size=64, progress=fail)
    assert list(tmp_path.iterdir()) == []


def test_command_line(tmp_path, monkeypatch, capsys):
    tool = runpy.run_path(str(ROOT / 'tools/dataset_converters/make_synthetic_scenes.py'))
    out = str(tmp_path / 'set')
    arguments = ['--out', out, '--train', '2', '--val', '1', '--test', '1', '--size', '64', '--workers', '1']
    monkeypatch.setattr(sys, 'argv', ['make_synthetic_scenes.py', *arguments])
    assert tool['main']() == 0
    assert '4 scenes' in capsys.readouterr().out
    assert tool['main']() == 2
    assert capsys.readouterr().err == (
        f'error: {out} exists and is not an empty folder: remove it or name another one\n'
    )


def test_a_mosaic_has_its_objects_whole_where_its_labels_say():
    mosaic = draw_mosaic(np.random.default_rng(4), 600)
    again = draw_mosaic(np.random.default_rng(4), 600)
    assert mosaic.image.shape == (600, 600, 3)
    assert np.array_equal(mosaic.image, again.image)
    assert len(mosaic.objects) > 6
    for one in mosaic.objects:
        x0, y0, x1, y1 = map(int, one.bbox)
        mask = mosaic.labels == one.object_id + 1
        assert mask.sum() == mask[y0:y1, x0:x1].sum() == one.area
    assert len(draw_mosaic(np.random.default_rng(4), 600, most=5).objects) <= 5


def test_sentences_that_mean_several_come_last_and_are_marked(demo):
    refs, instances = tables(demo)
    marks = [bool(ref.get('several')) for ref in refs]
    assert marks == sorted(marks)
    several = [ref for ref in refs if ref.get('several')]
    assert [sum(ref['split'] == split for ref in several) for split in ('train', 'val', 'test')] == [20, 2, 3]
    singles = {one['id']: one for one in instances['annotations'] if one['id'] < min(ref['ann_id'] for ref in several)}
    for ref in several:
        mask = coco_mask.decode(instances['annotations'][ref['ann_id']]['segmentation'])[..., 0].astype(bool)
        assert mask.any() != ref.get('no_target', False)
        for one in singles.values():
            if one['image_id'] == ref['image_id'] and one['area'] and one['category_id'] == ref['category_id']:
                inside = coco_mask.decode(one['segmentation'])[..., 0].astype(bool) & mask
                assert inside.sum() in (0, one['area'])
    without = len(RRSISDDataset(data_root=str(demo), split='test'))
    assert len(RRSISDDataset(data_root=str(demo), split='test', several='only')) == 3
    assert len(RRSISDDataset(data_root=str(demo), split='test', several='keep')) == without + 3
