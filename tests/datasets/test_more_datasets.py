"""RISBench, NWPU-Refer and JSON lines on small trees; the real refs and rows of the shared data."""

import json
import pickle
import re
import shutil

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from rs2sam2.datasets import jsonl, masks
from rs2sam2.datasets.jsonl import JSONLRefSegDataset
from rs2sam2.datasets.nwpu_refer import NWPUReferDataset
from rs2sam2.datasets.refsegrs import RefSegRSDataset
from rs2sam2.datasets.risbench import RISBenchDataset
from rs2sam2.datasets.rrsisd import RRSISDDataset
from rs2sam2.datasets.transforms import LoadReferringMask, LoadRGBImage
from rs2sam2.errors import ConfigError, DataError

LOAD = [LoadRGBImage(), LoadReferringMask()]
HEIGHT, WIDTH = 30, 40


def save_image(path, size=(HEIGHT, WIDTH), value=90):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save(path)


def rectangle(x1, y1, x2, y2, size=(HEIGHT, WIDTH)):
    mask = np.zeros(size, np.uint8)
    mask[y1:y2, x1:x2] = 1
    return mask


def rle_of(mask):
    rle = coco_mask.encode(np.asfortranarray(mask))
    return dict(size=list(rle['size']), counts=rle['counts'].decode())


def refused(build, message, kind=DataError):
    with pytest.raises(kind, match=message) as caught:
        build()
    assert '\n' not in str(caught.value)


# RISBench


def test_risbench(tmp_path):
    for name in ('a_0.png', 'a_1.png'):
        save_image(tmp_path / 'img_rgb' / name)
    masks = rectangle(2, 3, 9, 8), rectangle(20, 10, 25, 30)
    (tmp_path / 'mask').mkdir()
    Image.fromarray(masks[0] * 255).save(tmp_path / 'mask/a_0.png')
    Image.fromarray(masks[1]).save(tmp_path / 'mask/a_1.png')
    (tmp_path / 'output_phrase_val.txt').write_text('a_0.png The  small ship .\n\na_1.png The tree\n')
    dataset = RISBenchDataset(data_root=str(tmp_path), split='val', pipeline=LOAD, test_mode=True)
    assert [dataset.get_data_info(i)['sample_id'] for i in range(2)] == ['a_0.png', 'a_1.png']
    assert dataset.get_data_info(0)['expression'] == 'The  small ship .'
    for index in range(2):
        np.testing.assert_array_equal(dataset[index]['gt_seg_map'], masks[index])
    assert sum(dataset.metainfo['split_counts'].values()) == 52472


# NWPU-Refer


def ref(number, ann_id, sentences=('two ships',), **more):
    fields = dict(ref_id=number, image_id=1, ann_id=ann_id, category_id=[1], split='train', file_name='1.jpg')
    return fields | dict(sentences=[dict(sent=one) for one in sentences]) | more


def write_nwpu(root, refs):
    save_image(root / 'images/1.jpg')
    (root / 'new_refs(unc).p').write_bytes(pickle.dumps(refs))
    annotations = [
        dict(id=5, image_id=1, category_id=1, segmentation=[[2, 2, 10, 2, 10, 8, 2, 8]]),
        dict(
            id=6, image_id=1, category_id=1, segmentation=[[20, 2, 30, 2, 30, 8, 20, 8], [20, 9, 30, 9, 30, 11, 20, 11]]
        ),
        dict(id=7, image_id=1, category_id=2, segmentation=rle_of(rectangle(0, 20, 5, 25))),
    ]
    images = [dict(id=1, height=HEIGHT, width=WIDTH, file_name='1.jpg')]
    categories = [dict(id=1, name='ship'), dict(id=2, name='harbor')]
    content = dict(annotations=annotations, images=images, categories=categories)
    (root / 'new_instances.json').write_text(json.dumps(content))
    return str(root)


def test_several_objects_a_sentence(tmp_path):
    root = write_nwpu(tmp_path, [ref(1, [5, 6]), ref(2, [6, 7]), ref(3, 5), ref(4, [7], category_id=None)])
    dataset = NWPUReferDataset(data_root=root, pipeline=LOAD, test_mode=True)
    first, second, small = (
        rectangle(2, 2, 10, 8),
        rectangle(20, 2, 30, 8) | rectangle(20, 9, 30, 11),
        rectangle(0, 20, 5, 25),
    )
    for index, expected in enumerate((first | second, second | small, first, small)):
        np.testing.assert_array_equal(dataset[index]['gt_seg_map'], expected)
    assert [dataset.get_data_info(i)['category'] for i in range(4)] == ['ship', None, 'ship', 'harbor']


@pytest.mark.parametrize('mark', [dict(ann_id=[-1]), dict(ann_id=-1), dict(ann_id=[], no_target=True)])
def test_no_object_a_sentence(tmp_path, mark):
    root = write_nwpu(tmp_path, [ref(1, [5]), ref(2, None) | mark])
    dataset = NWPUReferDataset(data_root=root, pipeline=LOAD, test_mode=True)
    assert [dataset.get_data_info(i)['no_target'] for i in range(2)] == [False, True]
    assert dataset[1]['gt_seg_map'].shape == (HEIGHT, WIDTH)
    assert not dataset[1]['gt_seg_map'].any()
    assert len(NWPUReferDataset(data_root=root, no_target='drop')) == 1


def test_no_object_is_never_guessed(tmp_path):
    for ann_id in ([], None, [5, -1]):
        root = write_nwpu(tmp_path, [ref(1, [5]), ref(2, ann_id)])
        refused(lambda root=root: NWPUReferDataset(data_root=root), 'ref 2 has no object .* not marked no_target')
        assert len(NWPUReferDataset(data_root=root, skip_ids=[2])) == 1
    root = write_nwpu(tmp_path, [ref(1, [5], no_target=True)])
    refused(lambda: NWPUReferDataset(data_root=root), r'ref 1 is marked no_target but has the objects \[5\]')
    root = write_nwpu(tmp_path, [ref(1, [5, 99])])
    refused(lambda: NWPUReferDataset(data_root=root), 'no annotation 99 for ref 1')


def test_languages(tmp_path):
    root = write_nwpu(tmp_path, [ref(1, [5], ['the left ship', '左边的船']), ref(2, [6], ['右侧的 ship'])])

    def sentences(language):
        dataset = NWPUReferDataset(data_root=root, language=language)
        return [dataset.get_data_info(i)['expression'] for i in range(len(dataset))]

    assert sentences('all') == ['the left ship', '左边的船', '右侧的 ship']
    assert sentences('en') == ['the left ship']
    assert sentences('zh') == ['左边的船', '右侧的 ship']
    refused(lambda: NWPUReferDataset(data_root=root, language='fr'), 'there are all, en, zh', ConfigError)
    root = write_nwpu(tmp_path, [ref(1, [5])])
    refused(lambda: NWPUReferDataset(data_root=root, language='zh'), 'no usable sample')


# JSON lines


def write_jsonl(root, *lines):
    for name in ('a.png', 'sub/b.tif'):
        save_image(root / name)
    Image.fromarray(rectangle(3, 4, 9, 20) * 255).save(root / 'm.png')
    Image.fromarray(rectangle(3, 4, 9, 20).T * 255).save(root / 'turned.png')
    text = '\n'.join(one if isinstance(one, str) else json.dumps(one, ensure_ascii=False) for one in lines)
    (root / 'train.jsonl').write_text(text + '\n', encoding='utf-8')
    return str(root)


def test_every_kind_of_mask(tmp_path):
    rle = rle_of(rectangle(1, 1, 5, 5))
    root = write_jsonl(
        tmp_path,
        dict(image='a.png', expression='the shed', mask='m.png', category='shed'),
        '',
        dict(id='x', image='a.png', expressions=['one', '二'], rle=rle),
        dict(image='sub/b.tif', expression='both', rle=[rle, rle_of(rectangle(8, 8, 10, 12))]),
        dict(image='a.png', expression='field', polygons=[[0, 0, 10, 0, 10, 5, 0, 5]]),
        dict(image='a.png', expression='cars', boxes=[[5, 6, 9, 11], [20.0, 0, 40, 30]]),
        dict(image='a.png', expression='a ship', no_target=True, geo={}),
    )
    dataset = JSONLRefSegDataset(data_root=root, pipeline=LOAD, test_mode=True)
    infos = [dataset.get_data_info(i) for i in range(7)]
    assert [one['sample_id'] for one in infos] == ['1', 'x_0', 'x_1', '4', '5', '6', '7']
    assert [one['expression'] for one in infos[1:3]] == ['one', '二']
    assert [one['no_target'] for one in infos] == [False] * 6 + [True]
    assert infos[0]['category'] == 'shed'
    expected = [
        rectangle(3, 4, 9, 20),
        rectangle(1, 1, 5, 5),
        rectangle(1, 1, 5, 5),
        rectangle(1, 1, 5, 5) | rectangle(8, 8, 10, 12),
        rectangle(0, 0, 10, 5),
        rectangle(5, 6, 9, 11) | rectangle(20, 0, 40, 30),
        rectangle(0, 0, 0, 0),
    ]
    for index, mask in enumerate(expected):
        np.testing.assert_array_equal(dataset[index]['gt_seg_map'], mask)
    assert len(JSONLRefSegDataset(data_root=root, skip_ids=['x', 'sub/b.tif', 7])) == 3
    assert len(JSONLRefSegDataset(data_root=root, no_target='drop')) == 6


GOOD = dict(image='a.png', expression='the shed', boxes=[[1, 1, 5, 5]])


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('{"image": ', r'train\.jsonl:2: not a whole JSON object'),
        ('[1]', r':2: list instead of a JSON object'),
        (GOOD | dict(colour='red'), r":2: unknown field 'colour'; there are id, image"),
        (dict(expression='x', boxes=[[1, 1, 5, 5]]), ':2: no image; name the image file'),
        (dict(image='a.png', boxes=[[1, 1, 5, 5]]), ':2: no expression or expressions'),
        (GOOD | dict(expressions=['x']), ':2: both expression and expressions'),
        (dict(image='a.png', expression='x'), ':2: the sentence has no object; give one of mask, rle'),
        (GOOD | dict(no_target=True), ":2: no_target is true, but there is 'boxes'"),
        (GOOD | dict(mask='m.png'), ':2: both mask and boxes; keep one'),
        (GOOD | dict(boxes=[]), ':2: boxes is empty'),
        (GOOD | dict(no_target=1), ':2: no_target is 1'),
        (GOOD | dict(expression='  '), 'sample 2 has an empty expression'),
        (dict(image='a.png', expressions=[], mask='m.png'), ':2: expressions is not a list of texts, or has none'),
        (GOOD | dict(boxes=[[1, 1, 5]]), r':2: the box \[1, 1, 5\] is not'),
        (GOOD | dict(boxes=[[5, 1, 5, 9]]), r':2: the box \[5, 1, 5, 9\] has no area'),
        (GOOD | dict(boxes=[[5, 1, 50, 9]]), r':2: x = 50 lies outside the image of 40 x 30 pixels \(w x h\)'),
        (GOOD | dict(boxes=[[5, 1, float('nan'), 9]]), r':2: .*NaN'),
        (GOOD | dict(id='1'), 'has the id 1 twice'),
        (dict(image='a.png', expression='x', polygons=[[0, 0, 1e9, 4, 5, 5]]), r':2: x = 1000000000\.0 lies outside'),
        (dict(image='a.png', expression='x', polygons=[[0, -9, 4, 4, 5, 5]]), ':2: y = -9 lies outside'),
        (dict(image='a.png', expression='x', polygons=[[0, 0, 5, 5]]), r':2 cannot be decoded: a polygon is not'),
        (dict(image='a.png', expression='x', polygons=[[0, 0], [5, 5]]), r':2 cannot be decoded: a polygon is not'),
        (dict(image='a.png', expression='x', polygons=[0, 0, 5, 5, 7, 9]), ':2: polygons is not a list of flat lists'),
        (dict(image='a.png', expression='x', rle=['abc']), ':2: rle is not an RLE'),
        (dict(image='a.png', expression='x', rle=dict(size=[30, 40], counts='zz')), ':2 cannot be decoded'),
        (dict(image='a.png', expression='x', rle=rle_of(rectangle(0, 0, 4, 4, (40, 30)))), r':2: its mask is 40 x 30'),
        (dict(image='a.png', expression='x', mask='turned.png'), r':2: its mask is 40 x 30 .*image .* 30 x 40'),
        (dict(image='a.png', expression='x', mask='gone.png'), r'gone\.png is missing'),
        (dict(image='gone.png', expression='x', mask='m.png'), r'gone\.png is missing'),
        (dict(image='train.jsonl', expression='x', mask='m.png'), 'is not an image that PIL knows'),
    ],
)  # fmt: skip
def test_bad_lines(tmp_path, line, message):
    root = write_jsonl(tmp_path, GOOD, line)
    refused(lambda: JSONLRefSegDataset(data_root=root), message)


def test_bad_files(tmp_path):
    root = write_jsonl(tmp_path)
    refused(lambda: JSONLRefSegDataset(data_root=root), 'has no usable sample')
    refused(lambda: JSONLRefSegDataset(data_root=root, split='val'), r'cannot read .*val\.jsonl')
    (tmp_path / 'train.jsonl').write_bytes(json.dumps(GOOD).encode('utf-16'))
    refused(lambda: JSONLRefSegDataset(data_root=root), 'is not UTF-8 text')


# The real refs and rows


@pytest.fixture(scope='module')
def real_refs(shared, tmp_path_factory):
    """The real refs of RRSIS-D with made-up annotations and images that exist but hold nothing."""
    root = tmp_path_factory.mktemp('rrsisd')
    (root / 'rrsisd').mkdir()
    (root / 'images/rrsisd/JPEGImages').mkdir(parents=True)
    shutil.copy(shared / 'data/rrsisd/refs(unc).p', root / 'rrsisd')
    refs = pickle.loads((root / 'rrsisd/refs(unc).p').read_bytes())
    for one in refs:
        (root / 'images/rrsisd/JPEGImages' / one['file_name']).touch()
    polygon = [[5, 5, 60, 5, 60, 90, 5, 90]]
    fields = ('category_id', 'image_id')
    annotations = [dict(id=one['ann_id'], segmentation=polygon, **{key: one[key] for key in fields}) for one in refs]
    (root / 'rrsisd/instances.json').write_text(json.dumps(dict(annotations=annotations)))
    return str(root), refs


@pytest.mark.shared
def test_real_refs(shared, real_refs):
    root, refs = real_refs
    readme = (shared / 'data/README.md').read_text()
    expressions, categories, counts = [], set(), []
    for split in ('train', 'val', 'test'):
        dataset = RRSISDDataset(data_root=root, split=split)
        infos = [dataset.get_data_info(i) for i in range(len(dataset))]
        expressions += [one['expression'] for one in infos]
        categories |= {one['category'] for one in infos}
        counts.append(len(infos))
        assert len(infos) == dataset.metainfo['split_counts'][split]
    said = re.search(r'all ([\d,]+) refs of RRSIS-D \(([\d,]+) / ([\d,]+) / ([\d,]+)\)', readme).groups()
    assert [sum(counts), *counts] == [int(number.replace(',', '')) for number in said] == [17402, 12181, 1740, 3481]
    assert sorted(expressions) == sorted(one['sentences'][0]['sent'] for one in refs)
    listed = re.search(r'category ids 0\.\.19: ([^.]*)\.', readme).group(1)
    names = [name.strip() for name in listed.split(',')]
    assert tuple(names) == RRSISDDataset.METAINFO['categories']
    assert categories == set(names)
    words = {word for one in expressions for word in re.findall(r"[a-z'-]+", one.lower())}
    lengths = [len(one.split()) for one in expressions]
    assert (len(words), min(lengths), max(lengths)) == (95, 3, 20)


def rows(shared, name):
    lines = (shared / 'data/annotation_samples' / name).read_text().splitlines()
    return [json.loads(line) for line in lines]


def mask_of(row):
    segmentation = row['segmentation'] if isinstance(row['segmentation'], list) else [row['segmentation']]
    return coco_mask.decode(segmentation).max(2)


def check_rows(dataset, samples):
    assert len(dataset) == len(samples)
    for index, row in enumerate(samples):
        sample = dataset[index]
        assert sample['expression'] == row['sent']
        assert 0 < mask_of(row).sum() < mask_of(row).size
        np.testing.assert_array_equal(sample['gt_seg_map'], mask_of(row))


@pytest.mark.shared
def test_real_rrsisd_row(shared, tmp_path):
    (row,) = rows(shared, 'rrsisd_val_sample.jsonl')
    number = row['image_id']
    save_image(tmp_path / 'images/rrsisd/JPEGImages' / row['file_name'], (800, 800))
    (tmp_path / 'rrsisd').mkdir()
    one = ref(number, row['ann_id'], [row['sent']], image_id=number, file_name=row['file_name'], split='val')
    one['category_id'] = row['category_id']
    (tmp_path / 'rrsisd/refs(unc).p').write_bytes(pickle.dumps([one]))
    annotation = dict(id=row['ann_id'], image_id=number, segmentation=row['segmentation'])
    (tmp_path / 'rrsisd/instances.json').write_text(json.dumps(dict(annotations=[annotation])))
    dataset = RRSISDDataset(data_root=str(tmp_path), split='val', pipeline=LOAD, test_mode=True)
    check_rows(dataset, [row])
    assert dataset.get_data_info(0)['category'] == row['category_name']


@pytest.mark.shared
def test_real_refsegrs_rows(shared, tmp_path):
    samples = rows(shared, 'refsegrs_val_sample.jsonl')
    (tmp_path / 'masks').mkdir()
    for row in samples:
        save_image(tmp_path / 'images' / row['file_name'], (512, 512))
        # Soft edges as in the real masks: what lies outside is at most 50.
        Image.fromarray(np.where(mask_of(row), 51, 50).astype(np.uint8)).save(tmp_path / 'masks' / row['file_name'])
    lines = [f'{row["image_id"]} {row["sent"]}\n' for row in samples]
    (tmp_path / 'output_phrase_val.txt').write_text(''.join(lines))
    check_rows(RefSegRSDataset(data_root=str(tmp_path), split='val', pipeline=LOAD, test_mode=True), samples)


@pytest.mark.shared
def test_real_risbench_rows(shared, tmp_path):
    samples = rows(shared, 'risbench_test_sample.jsonl')
    (tmp_path / 'mask').mkdir()
    for row in samples:
        save_image(tmp_path / 'img_rgb' / row['file_name'], (512, 512))
        Image.fromarray(mask_of(row)).save(tmp_path / 'mask' / row['file_name'])
    lines = [f'{row["file_name"]} {row["sent"]}\n' for row in samples]
    (tmp_path / 'output_phrase_test.txt').write_text(''.join(lines))
    check_rows(RISBenchDataset(data_root=str(tmp_path), split='test', pipeline=LOAD, test_mode=True), samples)


@pytest.mark.shared
def test_real_polygon_of_a_described_image(shared, tmp_path):
    content = json.loads((shared / 'data/described_image/P0224_0_800_0_800.json').read_text())
    shutil.copy(shared / 'data/described_image/P0224_0_800_0_800.png', tmp_path / 'image.png')
    polygons = [[value for corner in part for value in corner] for part in content['polygons'][0]]
    (tmp_path / 'train.jsonl').write_text(
        json.dumps(dict(image='image.png', expression='the tennis court at right', polygons=polygons))
    )
    sample = JSONLRefSegDataset(data_root=str(tmp_path), pipeline=LOAD, test_mode=True)[0]
    assert sample['gt_seg_map'].shape == sample['img'].shape[:2] == (800, 800)
    assert np.flatnonzero(sample['gt_seg_map'].any(0)).min() > 400


def test_no_mask_is_decoded_when_a_set_is_built(tmp_path, monkeypatch):
    Image.new('RGB', (40, 30)).save(tmp_path / 'a.png')
    rle = dict(size=[30, 40], counts=[100, 10, 1090])
    lines = [dict(image='a.png', expressions=[f'ship {n} {k}' for k in range(3)], rle=rle) for n in range(5)]
    (tmp_path / 'train.jsonl').write_text('\n'.join(map(json.dumps, lines)))
    checked, check = [], masks.check_segmentation
    monkeypatch.setattr(masks.coco_mask, 'decode', None)
    monkeypatch.setattr(jsonl, 'check_segmentation', lambda *args: checked.append(args) or check(*args))
    dataset = JSONLRefSegDataset(data_root=str(tmp_path), pipeline=[])
    assert (len(dataset), len(checked)) == (15, 5)
    for counts in ([100, 10, 1089], 'zz'):
        (tmp_path / 'train.jsonl').write_text(json.dumps(lines[0] | dict(rle=dict(rle, counts=counts))))
        with pytest.raises(DataError, match=r'train\.jsonl:1 cannot be decoded'):
            JSONLRefSegDataset(data_root=str(tmp_path), pipeline=[])


def test_a_separator_inside_a_phrase_is_no_end_of_line(tmp_path):
    for folder in ('images', 'masks'):
        (tmp_path / folder).mkdir()
        Image.new('L', (4, 4)).save(tmp_path / folder / 'a.tif')
    (tmp_path / 'output_phrase_train.txt').write_bytes('a the\u2028 ship\x0c here\x85 \r\n'.encode())
    dataset = RefSegRSDataset(data_root=str(tmp_path), pipeline=[])
    assert len(dataset) == 1
    assert dataset.get_data_info(0)['expression'].split() == ['the', 'ship', 'here']
