"""The data sets on small trees in the real layout, with the real sets' flaws and with every kind of broken file."""

import json
import os
import pickle
from collections import Counter

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from PIL import Image
from torch.utils.data import DataLoader

from helpers.data_trees import JPEGS, PIPELINE, annotation, ref, rle_of, square, write_rrsisd
from rs2sam2.datasets.refsegrs import RefSegRSDataset
from rs2sam2.datasets.rrsisd import RRSISDDataset
from rs2sam2.datasets.transforms import LoadReferringMask, LoadRGBImage
from rs2sam2.errors import ConfigError, DataError
from rs2sam2.structures import ReferringSample


@pytest.fixture
def tree(tmp_path):
    """10 train, 3 val, 2 test refs; train 1 is empty, train 2 has an image of 41x40, train 3 two sentences."""
    refs = [ref(n, 'train') for n in range(1, 11)] + [ref(n, 'val') for n in (11, 12, 13)]
    refs += [ref(n, 'test') for n in (14, 15)]
    refs[2] = ref(3, 'train', ['the upper ship', 'the ship at the top'])
    annotations = [annotation(n) for n in range(1, 16)]
    annotations[0] = annotation(1, segmentation=[rle_of(np.zeros((40, 40), np.uint8))])
    (tmp_path / JPEGS).mkdir(parents=True)
    Image.fromarray(np.full((41, 40, 3), 9, np.uint8)).save(tmp_path / JPEGS / '00002.jpg')
    return write_rrsisd(tmp_path, refs, annotations)


def rewrite(root, change):
    """Change the lists of refs and annotations on disk in place."""
    path = root / 'rrsisd/refs(unc).p'
    refs = pickle.loads(path.read_bytes())
    instances = json.loads((root / 'rrsisd/instances.json').read_text())
    change(refs, instances)
    path.write_bytes(pickle.dumps(refs))
    (root / 'rrsisd/instances.json').write_text(json.dumps(instances))


def refused(message, kind=DataError, **kwargs):
    with pytest.raises(kind, match=message) as caught:
        RRSISDDataset(**kwargs)
    assert '\n' not in str(caught.value)


def test_one_sample_a_sentence(tree):
    dataset = RRSISDDataset(data_root=str(tree), split='train', pipeline=PIPELINE)
    assert len(dataset) == 11
    infos = [dataset.get_data_info(i) for i in range(11)]
    assert [info['sample_id'] for info in infos] == ['1', '2', '3_0', '3_1', *map(str, range(4, 11))]
    assert infos[3]['expression'] == 'the ship at the top'
    assert infos[0]['category'] == 'ship'
    assert infos[0]['img_path'] == str(tree / JPEGS / '00001.jpg')
    assert isinstance(infos[0]['segmentation'][0]['counts'], str)
    assert len(RRSISDDataset(data_root=str(tree), split='val')) == 3
    assert len(RRSISDDataset(data_root=str(tree), split='test')) == 2
    assert dataset.metainfo['classes'] == ('background', 'referent')
    assert len(dataset.metainfo['palette']) == 2


def test_meta_information_is_no_files_name(tree):
    dataset = RRSISDDataset(data_root=str(tree), metainfo=dict(about=__file__), pipeline=PIPELINE)
    assert dataset.metainfo['about'] == __file__
    assert dataset.metainfo['classes'] == ('background', 'referent')


def test_known_flaws_are_data(tree):
    dataset = RRSISDDataset(data_root=str(tree), split='train', pipeline=PIPELINE, test_mode=True)
    empty, odd, first, second = (dataset[i]['data_samples'] for i in range(4))
    assert empty.gt_sem_seg.data.sum() == 0
    assert odd.metainfo['ori_shape'] == (41, 40)
    expected = Image.fromarray(square(2)).resize((64, 64), Image.Resampling.NEAREST)
    np.testing.assert_array_equal(odd.gt_sem_seg.data[0], np.array(expected))
    torch.testing.assert_close(first.gt_sem_seg.data, second.gt_sem_seg.data)


def test_habits_of_mmseg(tree):
    root = str(tree)
    whole = RRSISDDataset(data_root=root)
    assert len(RRSISDDataset(data_root=root, indices=4)) == 4
    some = RRSISDDataset(data_root=root, indices=[2, 5], serialize_data=False)
    assert [some.get_data_info(i)['sample_id'] for i in range(2)] == ['3_0', '5']
    lazy = RRSISDDataset(data_root=str(tree / 'nowhere'), lazy_init=True, metainfo=dict(dataset_name='mine'))
    assert lazy.metainfo['dataset_name'] == 'mine'
    with pytest.raises(DataError, match='nowhere is not a folder; set data_root'):
        lazy.full_init()
    absolute = RRSISDDataset(
        ann_file=f'{root}/rrsisd/refs(unc).p',
        instances_file=f'{root}/rrsisd/instances.json',
        data_prefix=dict(img_path=f'{root}/{JPEGS}'),
    )
    assert absolute.get_data_info(0) == whole.get_data_info(0)


def test_filter_by_category(tree):
    rewrite(tree, lambda refs, _: [one.update(category_id=2) for one in refs[4:6]])
    kept = RRSISDDataset(data_root=str(tree), filter_cfg=dict(categories=['airplane']))
    assert [kept.get_data_info(i)['sample_id'] for i in range(len(kept))] == ['5', '6']
    refused(r"no sample .* \['dam'\]", data_root=str(tree), filter_cfg=dict(categories=['dam']))
    refused('it knows only categories', ConfigError, data_root=str(tree), filter_cfg=dict(size=3))


def test_category_names(tree):
    rewrite(tree, lambda _, instances: instances.update(categories=[dict(id=13, name='vessel')]))
    assert RRSISDDataset(data_root=str(tree)).get_data_info(0)['category'] == 'vessel'
    rewrite(tree, lambda refs, _: refs[1].update(category_id=4))
    refused('ref 2 is of category 4', data_root=str(tree))


def test_other_forms_of_segmentation(tree):
    polygon = [[5, 2, 20, 2, 20, 11, 5, 11]]

    def change(refs, instances):
        instances['annotations'][3]['segmentation'] = rle_of(square(4))
        instances['annotations'][4]['segmentation'] = polygon
        instances['images'] = [dict(id=5, height=40, width=40)]

    rewrite(tree, change)
    dataset = RRSISDDataset(data_root=str(tree), pipeline=[LoadRGBImage(), LoadReferringMask()])
    np.testing.assert_array_equal(dataset[4]['gt_seg_map'], square(4))
    np.testing.assert_array_equal(dataset[5]['gt_seg_map'], square(2))
    assert dataset[5]['mask_size'] == (40, 40)


def test_sentences_that_mean_nothing(tree, caplog):
    def change(refs, instances):
        refs[4].update(no_target=True, ann_id=None)

    rewrite(tree, change)
    assert len(RRSISDDataset(data_root=str(tree))) == 10
    kept = RRSISDDataset(data_root=str(tree), no_target='keep', pipeline=PIPELINE)
    assert len(kept) == 11
    sample = kept[5]['data_samples']
    assert sample.metainfo['no_target'] is True
    assert sample.gt_sem_seg.data.sum() == 0
    refused('no_target=.* there are drop and keep', ConfigError, data_root=str(tree), no_target='maybe')


def test_sentences_that_mean_several_are_left_out_unless_asked_for(tree):
    def change(refs, instances):
        refs[4].update(several=True)

    rewrite(tree, change)
    assert len(RRSISDDataset(data_root=str(tree))) == 10
    assert len(RRSISDDataset(data_root=str(tree), several='keep')) == 11
    assert len(RRSISDDataset(data_root=str(tree), several='only')) == 1
    refused('several=.* there are drop, keep and only', ConfigError, data_root=str(tree), several='all')


def test_skip_ids(tree):
    os.remove(tree / JPEGS / '00004.jpg')
    os.remove(tree / JPEGS / '00007.jpg')
    rewrite(tree, lambda _, instances: instances['annotations'].pop(8))
    refused('no annotation 9 for ref 9', data_root=str(tree), skip_ids=['4', '7'])
    refused(r'00004\.jpg is missing \(1 files.*skip_ids to .*4', data_root=str(tree), skip_ids=[7, '9'])
    refused(r"skip_ids names \['99'\]", data_root=str(tree), skip_ids=[4, 7, 9, 99])
    refused('give a list of ids', ConfigError, data_root=str(tree), skip_ids='4')
    dataset = RRSISDDataset(data_root=str(tree), skip_ids=[4, '7', '9', '3_1'])
    ids = [dataset.get_data_info(i)['sample_id'] for i in range(len(dataset))]
    assert ids == ['1', '2', '3_0', '5', '6', '8', '10']
    # One list serves all splits, and a ref's id stands for all its sentences.
    assert len(RRSISDDataset(data_root=str(tree), split='val', skip_ids=[4, 7, 9])) == 3
    assert len(RRSISDDataset(data_root=str(tree), skip_ids=[4, 7, 9, 3])) == 6


def run_code(path):
    class Attack:
        def __reduce__(self):
            return (os.system, (f'touch {path}',))

    return [Attack()]


def test_a_pickle_never_runs_code(tree):
    file = tree / 'rrsisd/refs(unc).p'
    for protocol in (0, 2, 4, 5):
        file.write_bytes(pickle.dumps(run_code(tree / 'ran'), protocol=protocol))
        refused(r'refs\(unc\)\.p asks for (posix|os)\.system.*refused', data_root=str(tree))
    assert not (tree / 'ran').exists()
    for evil in (
        b'cbuiltins\neval\n(S"1"\ntR.',
        b'\x80\x04\x8c\x08builtins\x8c\x07getattr\x93.',
        b'c__builtin__\nexec\n.',
    ):
        file.write_bytes(evil)
        refused('asks for .*refused', data_root=str(tree))


def test_plain_pickles_of_any_protocol(tree):
    file = tree / 'rrsisd/refs(unc).p'
    refs = pickle.loads(file.read_bytes())
    refs[0]['extra'] = [{1, 2}, frozenset('a'), (None, True, 1.5, 2**70)]
    for protocol in range(6):
        file.write_bytes(pickle.dumps(refs, protocol=protocol))
        assert len(RRSISDDataset(data_root=str(tree))) == 11
    # As Python 2 wrote it: byte strings, here UTF-8 ones.
    file.write_bytes(b"(lp0\n(dp1\nS'ref_id'\nI1\nsS'ann_id'\nI1\nsS'image_id'\nI1\nsS'split'\nS'train'\nsS'file_name'\n"
                     b"S'00001.jpg'\nsS'sentences'\n(lp2\n(dp3\nS'sent'\nS'the caf\\xc3\\xa9'\nsasa.")  # fmt: skip
    assert RRSISDDataset(data_root=str(tree)).get_data_info(0)['expression'] == 'the café'


@pytest.mark.parametrize(
    'content', [b'', b'hello', b'<html></html>', b'PK\x03\x04', b'\x80\x04]', b'\x80\x04\x95' + b'\xff' * 30]
)
def test_not_a_pickle(tree, content):
    (tree / 'rrsisd/refs(unc).p').write_bytes(content)
    refused(r'refs\(unc\)\.p is not a whole pickle', data_root=str(tree))


def test_a_truncated_pickle(tree):
    file = tree / 'rrsisd/refs(unc).p'
    file.write_bytes(file.read_bytes()[:-40])
    refused('is not a whole pickle', data_root=str(tree))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda refs, _: refs.append(ref(1, 'train')), 'has the id 1 twice'),
        (lambda refs, _: refs[1]['sentences'][0].update(sent='  '), 'sample 2 has an empty expression'),
        (lambda refs, _: refs[1]['sentences'][0].update(sent=7), 'sentence 0 of ref 2 has no text'),
        (lambda refs, _: refs[1].update(sentences=[]), 'ref 2 has no sentence'),
        (lambda refs, _: refs[1].pop('file_name'), 'ref 2 has no file_name'),
        (lambda refs, _: refs[1].update(ann_id=[2]), r'ann_id of ref 2 is \[2\]'),
        (lambda refs, _: refs[1].pop('ann_id'), 'no annotation None for ref 2'),
        (lambda refs, _: refs[1].update(file_name='gone.jpg'), r'gone\.jpg is missing'),
        (lambda refs, _: refs.append('x'), 'is not a list of refs'),
        (lambda refs, _: [one.update(split='val') for one in refs], "no usable sample in split 'train'"),
        (lambda _, instances: instances['annotations'].pop(1), 'no annotation 2 for ref 2'),
        (lambda _, instances: instances['annotations'].append(annotation(2)), "the id '2' twice in `annotations`"),
        (lambda _, instances: instances['annotations'][1].pop('segmentation'), 'annotation 2 .* no segmentation'),
        (lambda _, instances: instances['annotations'][1].pop('id'), 'entry 1 of `annotations` has no id'),
        (lambda _, instances: instances.update(categories=[1]), 'entry 0 of `categories` has no id'),
        (lambda _, instances: instances.pop('annotations'), 'has no `annotations`'),
    ],
)
def test_broken_content_is_named(tree, change, message):
    rewrite(tree, change)
    refused(message, data_root=str(tree))


def test_broken_files_are_named(tree):
    file = tree / 'rrsisd/instances.json'
    whole = file.read_text()
    file.write_text(whole[: len(whole) // 2])
    refused(r'instances\.json is not whole JSON', data_root=str(tree))
    file.write_bytes(b'\xff\xfe\x00')
    refused(r'instances\.json is not whole JSON', data_root=str(tree))
    file.unlink()
    refused(r'cannot read .*instances\.json.*No such file', data_root=str(tree))
    (tree / 'rrsisd/refs(unc).p').unlink()
    refused(r'cannot read .*refs\(unc\)\.p.*No such file', data_root=str(tree))
    refused('there are train, val, test', ConfigError, data_root=str(tree), split='testA')


def test_no_image_folder(tree):
    refused('elsewhere is not a folder', data_root=str(tree), data_prefix=dict(img_path='elsewhere'))


def test_broken_masks_and_images_name_the_sample(tree):
    rewrite(tree, lambda _, instances: instances['annotations'][3]['segmentation'][0].update(size=[39, 40]))
    dataset = RRSISDDataset(data_root=str(tree), pipeline=PIPELINE)
    with pytest.raises(DataError, match=r'sample 4 .*cover 1600 pixels'):
        dataset[4]
    path = tree / JPEGS / '00005.jpg'
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(DataError, match=r'00005\.jpg'):
        dataset[5]


@pytest.fixture
def crowd(tmp_path):
    """Six images with three ships each and six with one, so that some samples must borrow from elsewhere."""
    refs, annotations = [], []
    for image in range(12):
        for k in range(3 if image < 6 else 1):
            number = 10 * image + k
            more = dict(image_id=image, file_name=f'{image:05d}.jpg')
            refs.append(
                ref(number, 'test', [f'ship {k} of image {image}' if image < 11 else 'ship 0 of image 10'], **more)
            )
            annotations.append(annotation(number))
    return write_rrsisd(tmp_path, refs, annotations)


def infos_of(root, **kwargs):
    dataset = RRSISDDataset(data_root=str(root), split='test', **kwargs)
    return [dataset.get_data_info(i) for i in range(len(dataset))]


def test_shuffled_expressions(crowd):
    plain, shuffled = infos_of(crowd), infos_of(crowd, control='shuffled_expressions')
    assert shuffled == infos_of(crowd, control='shuffled_expressions')
    for before, after in zip(plain, shuffled, strict=True):
        assert before['expression'] != after['expression']
        assert before == dict(after, expression=before['expression'])
        if before['image_id'] < 6:
            assert after['expression'].endswith(f'of image {before["image_id"]}')
    assert {after['expression'] for after in shuffled} <= {before['expression'] for before in plain}
    subset = infos_of(crowd, control='shuffled_expressions', indices=[3, 20])
    assert [info['expression'] for info in subset] == [shuffled[3]['expression'], shuffled[20]['expression']]


def test_shuffled_images(crowd):
    plain, shuffled = infos_of(crowd), infos_of(crowd, control='shuffled_images')
    for before, after in zip(plain, shuffled, strict=True):
        assert before['img_path'] != after['img_path']
        assert os.path.exists(after['img_path'])
        assert before == dict(after, img_path=before['img_path'])
    assert len({after['img_path'] for after in shuffled}) > 6
    with pytest.raises(ConfigError, match='there are shuffled_expressions, shuffled_images'):
        infos_of(crowd, control='shuffled')


def test_what_a_spawned_worker_receives(tree):
    dataset = RRSISDDataset(data_root=str(tree), pipeline=PIPELINE)
    copy = pickle.loads(pickle.dumps(dataset))
    assert [copy.get_data_info(i) for i in range(11)] == [dataset.get_data_info(i) for i in range(11)]
    assert copy[5]['inputs'].token_ids.tolist() == dataset[5]['inputs'].token_ids.tolist()


def test_controls_need_something_to_swap(tmp_path):
    write_rrsisd(tmp_path, [ref(1, 'test')], [annotation(1)])
    for control in ('shuffled_expressions', 'shuffled_images'):
        with pytest.raises(DataError, match='cannot be shuffled'):
            infos_of(tmp_path, control=control)


def test_workers(tree):
    dataset = RRSISDDataset(data_root=str(tree), pipeline=PIPELINE)
    loader = DataLoader(dataset, 4, num_workers=2, collate_fn=pseudo_collate, multiprocessing_context='fork')
    batches = list(loader)
    assert len(batches) == 3
    inputs = batches[0]['inputs']
    assert isinstance(inputs, ReferringSample)
    assert [image.shape for image in inputs.image] == [(3, 64, 64)] * 4
    assert [image.shape for image in inputs.union_image] == [(3, 16, 16)] * 4
    assert len({len(ids) for ids in inputs.token_ids}) > 1
    ids = [sample.metainfo['sample_id'] for batch in batches for sample in batch['data_samples']]
    assert ids == ['1', '2', '3_0', '3_1', *map(str, range(4, 11))]


@pytest.fixture
def refsegrs(tmp_path):
    for folder in ('images', 'masks'):
        (tmp_path / folder).mkdir()
    for number in range(8):
        Image.fromarray(np.full((32, 32, 3), number, np.uint8)).save(tmp_path / f'images/{number}.tif')
        Image.fromarray(square(number, 32, 32) * 255).save(tmp_path / f'masks/{number}.tif')
    lines = {'train': range(5), 'val': (5, 6), 'test': (7,)}
    for split, numbers in lines.items():
        text = ''.join(f'{number} vehicle number {number}\n' for number in numbers)
        (tmp_path / f'output_phrase_{split}.txt').write_text(text)
    return tmp_path


def test_refsegrs(refsegrs):
    dataset = RefSegRSDataset(data_root=str(refsegrs), split='val', pipeline=PIPELINE)
    assert len(dataset) == 2
    sample = dataset[1]['data_samples']
    assert sample.metainfo['sample_id'] == '6'
    assert sample.metainfo['expression'] == 'vehicle number 6'
    assert sample.metainfo['category'] is None
    expected = Image.fromarray(square(6, 32, 32)).resize((64, 64), Image.Resampling.NEAREST)
    np.testing.assert_array_equal(sample.gt_sem_seg.data[0], np.array(expected))
    assert dataset.metainfo['split_counts'] == dict(train=2172, val=431, test=1817)
    assert len(RefSegRSDataset(data_root=str(refsegrs), skip_ids=['2'])) == 4
    shuffled = RefSegRSDataset(data_root=str(refsegrs), control='shuffled_expressions')
    assert all(str(info['sample_id']) not in info['expression'] for info in map(shuffled.get_data_info, range(5)))


def test_refsegrs_bad_input(refsegrs):
    def refuse(message, content=None, **kwargs):
        if content is not None:
            (refsegrs / 'output_phrase_train.txt').write_bytes(content)
        with pytest.raises(DataError, match=message) as caught:
            RefSegRSDataset(data_root=str(refsegrs), **kwargs)
        assert '\n' not in str(caught.value)

    refuse(r"skip_ids names \['6'\]", skip_ids=['6'])
    (refsegrs / 'masks/3.tif').unlink()
    refuse(r'masks/3\.tif is missing')
    refuse('has the id 1 twice', b'1 a ship\n\n1 another ship\n')
    refuse('sample 1 has an empty expression', b'1\n')
    refuse('no usable sample', b'\n')
    refuse('is not UTF-8 text', b'1 caf\xe9\n')
    (refsegrs / 'output_phrase_train.txt').unlink()
    refuse(r'cannot read .*output_phrase_train\.txt')


@pytest.mark.shared
def test_the_real_refs(shared, tmp_path):
    """All 17,402 real refs, with made-up masks and image files that exist only by name."""
    source = shared / 'data' / 'rrsisd' / 'refs(unc).p'
    refs = pickle.loads(source.read_bytes())
    (tmp_path / JPEGS).mkdir(parents=True)
    (tmp_path / 'rrsisd').mkdir()
    for one in refs:
        (tmp_path / JPEGS / one['file_name']).touch()
    (tmp_path / 'rrsisd/refs(unc).p').symlink_to(source)
    segmentation = [rle_of(square(1))]
    annotations = [dict(id=one['ann_id'], category_id=one['category_id'], segmentation=segmentation) for one in refs]
    (tmp_path / 'rrsisd/instances.json').write_text(json.dumps(dict(annotations=annotations)))
    categories = Counter()
    for split, count in dict(train=12181, val=1740, test=3481).items():
        dataset = RRSISDDataset(data_root=str(tmp_path), split=split, control='shuffled_expressions')
        assert len(dataset) == count == dataset.metainfo['split_counts'][split]
        by_id = {str(one['ref_id']): one for one in refs if one['split'] == split}
        for info in map(dataset.get_data_info, range(count)):
            one = by_id.pop(info['sample_id'])
            assert info['img_path'].endswith(one['file_name'])
            assert info['expression'] != one['sentences'][0]['sent']
            # The sentences name the class in their own spelling; most contain the category's first letters.
            categories[info['category'], info['category'].lower()[:4] in one['sentences'][0]['sent'].lower()] += 1
        assert not by_id
    assert len({category for category, _ in categories}) == 20
    named = sum(count for (_, found), count in categories.items() if found)
    assert named / 17402 > 0.95
