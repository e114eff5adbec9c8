"""COCO sets converted to the layout of RRSIS-D: made-up scenes, every bad file, and NWPU VHR-10."""

import json
import pickle
import re
import runpy
import sys
from collections import Counter

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from helpers.paths import ROOT
from rs2sam2.datasets.coco import read_coco, said_name
from rs2sam2.datasets.coco_to_rrsisd import AMBIGUOUS, CROWD, EMPTY, PARTS, TINY, convert_coco
from rs2sam2.datasets.rrsisd import RRSISDDataset
from rs2sam2.datasets.splits import split_images
from rs2sam2.datasets.transforms import LoadReferringMask, LoadRGBImage
from rs2sam2.errors import DataError

HEIGHT, WIDTH = 120, 160
WHITE, RED = (250, 250, 250), (200, 30, 30)


def box(x, y, w=20, h=14):
    return [[x, y, x + w, y, x + w, y + h, x, y + h]]


class Set:
    """A COCO set in the making."""

    def __init__(self, root):
        self.root = root
        (root / 'images').mkdir()
        self.content = dict(images=[], annotations=[])
        self.content['categories'] = [dict(id=3, name='small_ship'), dict(id=7, name='storagetank')]

    def image(self, name, *objects):
        """Objects: category id, polygons, colour."""
        pixels = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
        image_id = len(self.content['images']) + 10
        for category_id, segmentation, colour in objects:
            mask = coco_mask.decode(coco_mask.frPyObjects(segmentation, HEIGHT, WIDTH)).max(2)
            pixels[mask > 0] = colour
            self.add(image_id, category_id, segmentation)
        (self.root / 'images' / name).parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(self.root / 'images' / name)
        self.content['images'].append(dict(id=image_id, file_name=name, height=HEIGHT, width=WIDTH))
        return image_id

    def add(self, image_id, category_id, segmentation, **more):
        one = dict(id=len(self.content['annotations']) + 1, image_id=image_id, category_id=category_id)
        self.content['annotations'].append(one | dict(segmentation=segmentation) | more)
        return one['id']

    def convert(self, out='out', **kwargs):
        path = self.root / 'coco.json'
        path.write_text(json.dumps(self.content))
        return convert_coco(path, self.root / 'images', self.root / out, **kwargs)

    def refs(self, out='out'):
        return pickle.loads((self.root / out / 'rrsisd/refs(unc).p').read_bytes())


@pytest.fixture
def coco(tmp_path):
    made = Set(tmp_path)
    for number in range(10):
        objects = [(3, box(10 + 5 * number, 10), WHITE), (3, box(120, 90), RED), (7, box(20, 90), WHITE)]
        made.image(f'{number}.png', *objects[: 1 + number % 3])
    return made


def test_round_trip_through_the_data_set(coco):
    report = coco.convert()
    assert report.images == Counter(train=7, val=1, test=2)
    seen = []
    for split in ('train', 'val', 'test'):
        dataset = RRSISDDataset(
            data_root=str(coco.root / 'out'),
            split=split,
            pipeline=[LoadRGBImage(), LoadReferringMask()],
            metainfo=dict(split_counts={}),
        )
        assert len(dataset) == report.sentences[split]
        seen += [dataset[i] for i in range(len(dataset))]
    masks = [
        coco_mask.decode(coco_mask.frPyObjects(a['segmentation'], HEIGHT, WIDTH)).max(2)
        for a in coco.content['annotations']
    ]
    masks = {mask.tobytes() for mask in masks}
    categories = Counter(sample['category'] for sample in seen)
    assert set(categories) == {'small_ship', 'storagetank'}
    for sample in seen:
        assert sample['gt_seg_map'].tobytes() in masks
        assert ('small ship' if sample['category'] == 'small_ship' else 'storage tank') in sample['expression']
    assert {sample['img_path'].split('/')[-1] for sample in seen} == {f'{n}.png' for n in range(10)}


def test_colour_is_measured(coco):
    coco.convert(per_object=9)
    texts = [sentence['sent'] for ref in coco.refs() for sentence in ref['sentences']]
    assert any('red small ship' in text for text in texts)
    assert not any('red storage tank' in text or 'gray' in text for text in texts)


def test_no_image_is_in_two_splits_and_shares_hold():
    names = [f'{n}.jpg' for n in range(101)]
    shares = dict(train=7, val=1, test=2)
    splits = split_images(names, shares, 0)
    assert Counter(splits.values()) == Counter(train=71, val=10, test=20)
    assert splits == split_images(names[::-1], shares, 0) != split_images(names, shares, 1)
    assert set(split_images(names, dict(train=1, val=0, test=0), 0).values()) == {'train'}


def test_same_seed_same_bytes_whatever_the_workers(coco):
    kwargs = dict(no_target_share=0.3)
    for out, more in (('a', {}), ('b', dict(workers=2)), ('c', dict(seed=1))):
        coco.convert(out, **kwargs, **more)
    files = [path.relative_to(coco.root / 'a') for path in sorted((coco.root / 'a').rglob('*')) if path.is_file()]
    assert len(files) == 13
    content = [[(coco.root / out / file).read_bytes() for file in files] for out in 'ab']
    assert content[0] == content[1]
    assert (coco.root / 'a/rrsisd/refs(unc).p').read_bytes() != (coco.root / 'c/rrsisd/refs(unc).p').read_bytes()


def test_no_target_is_marked_and_its_class_is_absent(coco):
    report = coco.convert(no_target_share=0.4)
    marked = [ref for ref in coco.refs() if ref.get('no_target')]
    assert len(marked) == report.no_target.total() > 0
    instances = json.loads((coco.root / 'out/rrsisd/instances.json').read_text())
    present = {(a['image_id'], a['category_id']) for a in instances['annotations'] if a['area']}
    for ref in marked:
        assert (ref['image_id'], ref['category_id']) not in present
        assert not coco_mask.decode(instances['annotations'][ref['ann_id']]['segmentation']).any()
    assert not [ref for ref in coco.refs() if 'no_target' in ref and not ref['no_target']]


def test_sentences_that_mean_several_are_marked_and_change_no_others(coco):
    coco.convert('a')
    report = coco.convert('b', several=2)
    plain, more = ([ref for ref in coco.refs(out) if not ref.get('several')] for out in 'ab')
    assert [ref['sentences'][0]['sent'] for ref in plain] == [ref['sentences'][0]['sent'] for ref in more]
    marked = [ref for ref in coco.refs('b') if ref.get('several')]
    assert len(marked) == report.several.total() > 0
    instances = json.loads((coco.root / 'b/rrsisd/instances.json').read_text())
    for ref in marked:
        mask = coco_mask.decode(instances['annotations'][ref['ann_id']]['segmentation'])[..., 0]
        ys, xs = np.nonzero(mask)
        box = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
        assert instances['annotations'][ref['ann_id']]['bbox'] == box
    with pytest.raises(DataError, match='several -1'):
        coco.convert('c', several=-1)


def test_a_class_that_is_never_said_to_be_absent(coco):
    report = coco.convert(no_target_share=0.45, never_absent=['storagetank'])
    assert report.no_target.total() == 0
    with pytest.raises(DataError, match="no category 'tank'"):
        coco.convert('b', never_absent=['tank'])


def test_what_is_left_out_is_counted_and_still_rules_out(tmp_path):
    made = Set(tmp_path)
    made.image('twins.png', (3, box(70, 50), WHITE), (3, box(70, 50), WHITE))
    made.image('tiny.png', (3, box(10, 10), WHITE), (3, box(120, 90, 4, 4), WHITE))
    made.image('parts.png', (7, box(10, 10) + box(100, 90), WHITE))
    crowd = made.image('crowd.png', (3, box(10, 10), WHITE), (7, box(80, 50), WHITE))
    made.add(crowd, 3, dict(size=[HEIGHT, WIDTH], counts=[5000, 40, HEIGHT * WIDTH - 5040]), iscrowd=1)
    empty = made.image('empty.png', (7, box(80, 50), WHITE))
    made.add(empty, 7, dict(size=[HEIGHT, WIDTH], counts=[HEIGHT * WIDTH]))
    report = made.convert(per_object=9, shares=dict(train=1.0))
    assert report.left_out == {AMBIGUOUS: 2, TINY.format(100): 1, PARTS: 1, CROWD: 2, EMPTY: 1}
    assert report.images_left_out == 2
    assert json.loads((tmp_path / 'out/rrsisd/conversion.json').read_text())['left_out'] == report.left_out
    for ref in made.refs():
        if ref['file_name'] == 'tiny.png':
            # The tiny one is not described, but 'the small ship' alone would not tell them apart.
            assert not [s for s in ref['sentences'] if s['sent'] in ('The small ship', 'A small ship')]


@pytest.mark.parametrize(
    ('name', 'said'),
    [
        ('storage_tank', 'storage tank'),
        ('storagetank', 'storage tank'),
        ('StorageTank', 'storage tank'),
        ('Expressway-Service-area', 'expressway service area'),
        ('Small_Vehicle', 'small vehicle'),
        ('airplane', 'airplane'),
        ('A220', 'A220'),
    ],
)
def test_class_names_are_said_in_english(name, said):
    assert said_name(name) == said


def change_annotation(**fields):
    return lambda coco: coco.content['annotations'][1].update(fields)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda c: c.content['images'].append(c.content['images'][0]), 'coco.json has the id in `images`: 10 twice'),
        (change_annotation(id=1), 'id in `annotations`: 1 twice'),
        (lambda c: c.content['categories'].append(dict(id=3, name='x')), 'id in `categories`: 3 twice'),
        (lambda c: c.content['images'][1].update(file_name='0.png'), r'image file 0\.png twice'),
        (change_annotation(image_id=99), 'annotation 2 is of image 99, which is not in `images`'),
        (change_annotation(category_id=99), 'annotation 2 is of category 99'),
        (change_annotation(segmentation=[]), 'annotation 2 has no segmentation; give masks'),
        (change_annotation(segmentation=box(150, 10)), r'annotation 2 of 1\.png has a polygon .* 10 pixels beyond'),
        (change_annotation(segmentation=[[1, 2, 3, 4]]), r'annotation 2 of 1\.png cannot be decoded'),
        (change_annotation(segmentation=dict(size=[9, 9], counts=[81])), r'annotation 2 .* a mask of size \[9, 9\]'),
        (lambda c: c.content['images'][0].update(height=121), r'0\.png is of size \[120, 160\] .* says \[121, 160\]'),
        (lambda c: c.content['images'][0].pop('width'), '`width` of entry 0 of `images` is None'),
        (lambda c: c.content['images'][0].update(file_name='../0.png'), 'lies outside the folder'),
        (lambda c: c.content.pop('annotations'), 'has no `annotations`'),
        (lambda c: (c.root / 'images/3.png').unlink(), r'3\.png is missing'),
        (lambda c: (c.root / 'images/3.png').write_bytes(b'\x89PNG'), r'3\.png is not an image'),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_leaves_nothing(coco, change, message):
    change(coco)
    with pytest.raises(DataError, match=message) as caught:
        coco.convert()
    assert '\n' not in str(caught.value)
    assert sorted(path.name for path in coco.root.iterdir()) == ['coco.json', 'images']


def test_bad_arguments(coco):
    for kwargs, message in (
        (dict(names={'boat': 'boat'}), "no category 'boat'"),
        (dict(shares=dict(train=0)), 'give finite numbers'),
        (dict(no_target_share=0.5), '0 <= share < 0.5'),
        (dict(min_area=10**6), 'not one object could be described'),
    ):
        with pytest.raises(DataError, match=message):
            coco.convert(**kwargs)
    (coco.root / 'out').mkdir()
    (coco.root / 'out/mine').touch()
    with pytest.raises(DataError, match='exists and is not an empty folder'):
        coco.convert()
    (coco.root / 'coco.json').write_text('{"images": [')
    with pytest.raises(DataError, match='is not whole JSON'):
        read_coco(coco.root / 'coco.json')


def test_tool(coco, monkeypatch, capsys):
    (coco.root / 'coco.json').write_text(json.dumps(coco.content))
    (coco.root / 'names.json').write_text('{"small_ship": "boat"}')
    args = ['coco2rrsis.py', coco.root / 'coco.json', coco.root / 'images', coco.root / 'out', '--workers', '1']
    monkeypatch.setattr(sys, 'argv', [str(part) for part in (*args, '--names', coco.root / 'names.json')])
    runpy.run_path(str(ROOT / 'tools/dataset_converters/coco2rrsis.py'), run_name='__main__')
    assert 'sentences' in capsys.readouterr().out
    assert any('boat' in sentence['sent'] for ref in coco.refs() for sentence in ref['sentences'])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(ROOT / 'tools/dataset_converters/coco2rrsis.py'), run_name='__main__')
    assert stopped.value.code == 2
    assert re.fullmatch(r'error: .*/out exists and is not an empty folder.*\n', capsys.readouterr().err)


@pytest.mark.shared
def test_nwpu_vhr10(shared, tmp_path):
    """Some of the real set: its polygons stay the same masks, and its classes are said in English."""
    content = json.loads((shared / 'data/nwpu_vhr10/instances_train.json').read_text())
    content['images'] = content['images'][::40]
    kept = {image['id']: image for image in content['images']}
    content['annotations'] = [one for one in content['annotations'] if one['image_id'] in kept]
    (tmp_path / 'some.json').write_text(json.dumps(content))
    report = convert_coco(
        tmp_path / 'some.json', shared / 'data/nwpu_vhr10/images', tmp_path / 'out', no_target_share=0.1
    )
    assert report.images.total() + report.images_left_out == 13
    assert report.refs.total() - report.no_target.total() + report.left_out.total() == len(content['annotations'])
    masks = set()
    for one in content['annotations']:
        height, width = kept[one['image_id']]['height'], kept[one['image_id']]['width']
        rles = coco_mask.frPyObjects(one['segmentation'], height, width)
        masks.add((kept[one['image_id']]['file_name'], coco_mask.decode(rles).max(2).tobytes()))
    for split in ('train', 'val', 'test'):
        dataset = RRSISDDataset(data_root=str(tmp_path / 'out'), split=split, pipeline=[LoadReferringMask()])
        for index in range(len(dataset)):
            sample = dataset[index]
            assert (sample['img_path'].split('/')[-1], sample['gt_seg_map'].tobytes()) in masks
            assert sample['category'].replace('_', ' ') in sample['expression']
