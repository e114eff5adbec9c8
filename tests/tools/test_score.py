"""tools/analysis_tools/score.py: foreign masks give our own numbers, and what does not fit is one line."""

import json
import re
import runpy
import sys
from dataclasses import asdict

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from helpers.data_trees import annotation, ref, rle_of, square, write_rrsisd
from helpers.paths import ROOT
from rs2sam2.datasets.foreign_masks import find_masks
from rs2sam2.datasets.rrsisd import RRSISDDataset
from rs2sam2.datasets.transforms import LoadReferringMask
from rs2sam2.errors import DataError
from rs2sam2.evaluation.results import read_results, write_results
from rs2sam2.evaluation.rrsis_metric import RRSISMetric, parse_protocol
from rs2sam2.evaluation.tables import BREAKDOWNS

SENTENCES = {
    3: ['The ship on the left', 'The red ship', 'It'],
    5: ['The dam'],
    12: ['A red ship at the very top of it all'],
    7: ['x', 'y'],
}
OTHERS = {20: 'val', 21: 'train'}


@pytest.fixture(scope='module')
def tree(tmp_path_factory):
    """A data set whose test split has refs with one sentence and with several, masks of two sizes, one empty."""
    refs = [ref(number, 'test', sentences) for number, sentences in SENTENCES.items()]
    refs += [ref(number, split) for number, split in OTHERS.items()]
    masks = {12: square(2, 60, 50), 5: np.zeros((40, 40), np.uint8)}
    rows = [
        annotation(number, **({'segmentation': [rle_of(masks[number])]} if number in masks else {}))
        for number in (*SENTENCES, *OTHERS)
    ]
    return write_rrsisd(tmp_path_factory.mktemp('tree'), refs, rows)


@pytest.fixture(scope='module')
def samples(tree):
    dataset = RRSISDDataset(data_root=str(tree), split='test', pipeline=[], lazy_init=True)
    return {sample['sample_id']: sample for sample in dataset.list_samples()}


@pytest.fixture(scope='module')
def logits(samples):
    """What a model of ours predicts, (1, 16, 16) log-odds a sample."""
    return {
        sample_id: torch.randn(1, 16, 16, generator=torch.Generator().manual_seed(i))
        for i, sample_id in enumerate(samples)
    }


def truth_of(sample):
    return LoadReferringMask().transform({**sample, 'ori_shape': (40, 40)})['gt_seg_map']


def own_rows(samples, logits, protocol):
    """The rows of tools/test.py: the metric on logits."""
    metric = RRSISMetric(protocol, results_file='asked for, so that masks are kept')
    for sample_id, sample in samples.items():
        truth = torch.from_numpy(truth_of(sample))[None]
        data = dict(gt_sem_seg=dict(data=truth), seg_logits=dict(data=logits[sample_id]))
        metric.process(None, [sample | data])
    return metric.results


def masks_for(samples, logits, protocol):
    """The masks that those logits are at the size of a protocol."""
    _, side = parse_protocol(protocol)
    masks = {}
    for sample_id, sample in samples.items():
        size = (side, side) if side else truth_of(sample).shape
        masks[sample_id] = (F.interpolate(logits[sample_id][None], size=size, mode='bilinear')[0, 0] > 0).numpy()
    return masks


def refs_of(sample_id):
    number, _, k = sample_id.partition('_')
    return int(number), int(k or 0)


def write_pictures(masks, folder):
    folder.mkdir()
    for sample_id, mask in masks.items():
        Image.fromarray(mask).save(folder / f'{sample_id}.png')
    return folder


def write_by_ref(masks, folder):
    for sample_id, mask in masks.items():
        number, k = refs_of(sample_id)
        path = folder / f'{number:05d}/{k}.tif'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask.astype(np.uint8) * 255).save(path)
    return folder


def rows_by_id(masks):
    return [dict(sample_id=sample_id, segmentation=rle_of(mask.astype(np.uint8))) for sample_id, mask in masks.items()]


def write_json(masks, path):
    path = path.with_suffix('.json')
    path.write_text(json.dumps(rows_by_id(masks)))
    return path


def write_json_lines(masks, path):
    path = path.with_suffix('.jsonl')
    rows = [
        dict(ref_id=refs_of(row['sample_id'])[0], sentence=refs_of(row['sample_id'])[1], rle=row['segmentation'])
        for row in rows_by_id(masks)
    ]
    path.write_text('\n'.join(map(json.dumps, rows)))
    return path


def write_stack(masks, path):
    path = path.with_suffix('.npz')
    np.savez_compressed(path, masks=np.stack(list(masks.values())), ids=list(masks))
    return path


def write_arrays(masks, path):
    path = path.with_suffix('.npz')
    np.savez(path, **{sample_id: mask.astype(np.float32) for sample_id, mask in masks.items()})
    return path


FORMS = [write_pictures, write_by_ref, write_json, write_json_lines, write_stack, write_arrays]


@pytest.fixture
def score(monkeypatch, capsys):
    """Runs the tool: exit code, what it printed, what it told."""

    def run(*args):
        monkeypatch.setattr(sys, 'argv', ['score.py', *map(str, args)])
        code = 0
        try:
            runpy.run_path(str(ROOT / 'tools/analysis_tools/score.py'), run_name='__main__')
        except SystemExit as end:
            code = end.code
        printed = capsys.readouterr()
        told = [line for line in printed.err.splitlines() if line.startswith('error: ')]
        return code, printed.out, told

    return run


def core(row):
    return {key: value for key, value in asdict(row).items() if key not in ('pred_iou', 'presence')}


def test_our_own_results_are_a_form_too(tree, samples, logits, tmp_path, score):
    expected = own_rows(samples, logits, 'native')
    write_results(expected, tmp_path / 'results.jsonl')
    code, _, told = score(
        tmp_path / 'results.jsonl', '--dataset', tree, '--protocol', 'native', '--out', tmp_path / 'out'
    )
    assert (code, told) == (0, [])
    assert [core(row) for row in read_results(tmp_path / 'out/results.jsonl')] == [core(row) for row in expected]


# A stack holds masks of one size, so none at the images' own sizes.
CASES = [(write, protocol) for write in FORMS for protocol in ('rs2sam2', 'rmsin', 'native')]
CASES.remove((write_stack, 'native'))


@pytest.mark.parametrize(('write', 'protocol'), CASES)
def test_our_masks_in_foreign_forms_give_our_numbers(tree, samples, logits, tmp_path, score, write, protocol):
    path = write(masks_for(samples, logits, protocol), tmp_path / 'theirs')
    code, printed, told = score(path, '--dataset', tree, '--protocol', protocol, '--out', tmp_path / 'out')
    assert (code, told) == (0, [])
    expected = own_rows(samples, logits, protocol)
    assert [core(row) for row in read_results(tmp_path / 'out/results.jsonl')] == [core(row) for row in expected]
    assert any(0 < row.iou < 1 for row in expected)
    assert '7 of 7 samples of test matched' in printed
    assert 'resized' not in printed
    for table in RRSISMetric(protocol, breakdown=tuple(BREAKDOWNS)).tables(expected):
        assert table in printed
    assert (tmp_path / 'out/tables.md').read_text() == printed


def test_the_data_set_by_its_refs_or_by_a_config(tree, samples, logits, tmp_path, score):
    masks = write_json(masks_for(samples, logits, 'rmsin'), tmp_path / 'theirs')
    by_folder = score(masks, '--dataset', tree, '--protocol', 'rmsin')
    # Without the images.
    (tmp_path / 'bare').mkdir()
    for name in ('refs(unc).p', 'instances.json'):
        (tmp_path / 'bare' / name).write_bytes((tree / 'rrsisd' / name).read_bytes())
    assert score(masks, '--dataset', tmp_path / 'bare/refs(unc).p', '--protocol', '480') == by_folder
    options = ('--cfg-options', f'test_dataloader.dataset.data_root={tree}')
    code, printed, _ = score(masks, '--dataset', ROOT / 'configs/rmsin_rrsisd.py', '--protocol', 'lavt', *options)
    assert code == 0
    assert 'published: RMSIN, RRSIS-D test' in printed
    assert printed.splitlines()[0] == by_folder[1].splitlines()[0]


def test_names_that_mean_a_sample(samples, tree, score, tmp_path):
    """Leading zeros, the image's name where it has one sentence, ref and sentence, COCO's own layout."""
    mask = rle_of(square(1))
    names = {'3_0': '00003_0', '3_1': '3/1', '3_2': '3-2', '5': '00005', '12': '12_0', '7_0': '07_00', '7_1': '7_1'}
    assert set(names) == set(samples)
    (tmp_path / 'x.json').write_text(json.dumps(dict.fromkeys(names.values(), mask)))
    assert score(tmp_path / 'x.json', '--dataset', tree)[0] == 0
    rows = [dict(image_id=name, segmentation=mask, score=0.3) for name in names.values()]
    (tmp_path / 'y.json').write_text(json.dumps(dict(annotations=rows)))
    assert score(tmp_path / 'y.json', '--dataset', tree)[1] == score(tmp_path / 'x.json', '--dataset', tree)[1]


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            lambda masks: masks.pop('3_1'),
            r"theirs.json has no mask for 1 of 7 samples \('3_1'\); write one for every sample",
        ),
        (
            lambda masks: masks.update({'7_2': masks['7_1']}),
            r"row 7: no sample is called '7_2' here, in no split",
        ),
        (
            lambda masks: masks.update({'20': masks['7_1']}),
            r"called '20' here: it is of split 'val'; 1 of 8 masks",
        ),
        (lambda masks: masks.update({'21_0': masks['7_1']}), r"called '21_0' here: it is of split 'train'"),
        (
            lambda masks: masks.update({'05': masks['7_1']}),
            r"sample '5' has two masks, .*:row 3 and .*:row 7; keep",
        ),
        (
            lambda masks: masks.update({'7_1': masks['7_1'][:100]}),
            r"row 6: the mask of sample '7_1' is 100 x 480 \(h x w\), not 480 x 480 as 6 of 7 are; write all at",
        ),
    ],
)
def test_a_set_that_does_not_fit_is_one_line(tree, samples, logits, tmp_path, score, change, message):
    masks = masks_for(samples, logits, 'rmsin')
    change(masks)
    code, printed, told = score(
        write_json(masks, tmp_path / 'theirs'), '--dataset', tree, '--protocol', 'rmsin', '--out', tmp_path / 'out'
    )
    assert (code, printed, len(told)) == (2, '', 1)
    assert re.search(message, told[0]), told[0]
    assert not (tmp_path / 'out/results.jsonl').exists()


def test_one_mask_of_another_size_among_those_of_their_images(tree, samples, logits, tmp_path, score):
    masks = masks_for(samples, logits, 'native')
    masks['12'] = masks['12'].repeat(2, axis=0)
    code, _, told = score(write_pictures(masks, tmp_path / 'theirs'), '--dataset', tree, '--protocol', 'native')
    assert code == 2
    assert "12.png: the mask of sample '12' is 120 x 50 (h x w), not 60 x 50, where 6 of 7 have the size" in told[0]


def test_masks_of_another_size_than_the_protocol_are_resized_and_said_to_be(tree, samples, logits, tmp_path, score):
    path = write_pictures(masks_for(samples, logits, 'native'), tmp_path / 'theirs')
    _, printed, _ = score(path, '--dataset', tree, '--protocol', 'rs2sam2')
    assert "masks of the ground truth's own size, resized to 1024 x 1024 by NEAREST" in printed


def test_scores_need_a_threshold(tree, samples, tmp_path, score):
    scores = {sample_id: np.linspace(0, 1, 1600, dtype=np.float32).reshape(40, 40) for sample_id in samples}
    np.savez(tmp_path / 'scores.npz', **scores)
    code, _, told = score(tmp_path / 'scores.npz', '--dataset', tree)
    assert (code, 'say by --threshold what is foreground' in told[0]) == (2, True)
    assert score(tmp_path / 'scores.npz', '--dataset', tree, '--threshold', '0.5')[0] == 0
    (tmp_path / 'grey').mkdir()
    for sample_id, one in scores.items():
        Image.fromarray((one * 255).astype(np.uint8)).save(tmp_path / f'grey/{sample_id}.png')
    code, _, told = score(tmp_path / 'grey', '--dataset', tree)
    assert (code, 'more than two colours' in told[0]) == (2, True)
    assert (
        score(tmp_path / 'grey', '--dataset', tree, '--threshold', '127')[1]
        == (score(tmp_path / 'scores.npz', '--dataset', tree, '--threshold', '0.5')[1])
    )


def test_a_stack_is_read_in_any_order(tmp_path):
    stack = np.random.default_rng(0).integers(0, 2, (5, 6, 7)).astype(bool)
    np.savez_compressed(tmp_path / 's.npz', masks=stack, ref_ids=np.arange(5), sentences=np.zeros(5, int))
    masks = find_masks(tmp_path / 's.npz')
    assert [mask.name for mask in masks] == [f'{i}/0' for i in range(5)]
    for index in (3, 1, 4, 0, 0, 2):
        np.testing.assert_array_equal(masks[index].read(), stack[index])


HUGE = {'size': [10**5, 10**5], 'counts': [10**10]}


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        ('a.json', '[]', 'holds no mask'),
        ('a.json', '3', 'neither a list of rows nor an object'),
        ('a.json', '[3]', 'not a JSON object with an id'),
        ('a.json', '[{"segmentation": {"size": [2, 2], "counts": [4]}}]', 'says not which sample'),
        ('a.json', '[{"id": true, "segmentation": []}]', 'says not which sample'),
        ('a.json', '[{"id": 5}]', 'no mask in it'),
        ('a.json', '{"5": {"size": [2, 2], "counts": [4]}, "5": []}', 'twice in one object'),
        ('a.json', '[{"id": 5, "segmentation": {"size": [2, 2], "counts": [9]}}]', 'cannot be decoded'),
        ('a.json', json.dumps([dict(id=5, segmentation=HUGE)]), 'a mask of 100,000 x 100,000 pixels'),
        (
            'a.json',
            json.dumps([dict(id=5, size=[10**5, 10**5], segmentation=[[0, 0, 9, 0, 9, 9]])]),
            '100,000 x 100,000',
        ),
        ('a.jsonl', '{"id": 5\n', 'a.jsonl:1: '),
        ('a.npz', 'no archive', 'no whole .npz file'),
        ('a.txt', '', 'no set of masks: give a folder of pictures'),
    ],
)
def test_files_that_are_no_masks(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message) as error:
        [mask.read() for mask in find_masks(tmp_path / name)]
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(
    ('arrays', 'message'),
    [
        (dict(masks=np.zeros((2, 3, 4), bool)), 'without `ids`'),
        (dict(masks=np.zeros((2, 3, 4), bool), ids=[1]), 'not .n, h, w. in C order for the 1 of its ids'),
        (dict(masks=np.zeros((2, 3), bool), ids=[1, 2]), 'not .n, h, w.'),
        (dict(masks=np.zeros((2, 3, 4), bool), ids=[1.5, 2]), 'rows of whole numbers or texts'),
        ({'5': np.array([{}, 3], object)}, 'holds Python objects'),
        ({'5': np.zeros((2, 2), complex)}, 'not .h, w. numbers'),
        ({'5': np.zeros((3, 2, 2))}, 'not .h, w. numbers'),
        ({'5': np.full((2, 2), np.nan)}, 'NaN'),
        ({'5': np.array([[1, 2]])}, 'other values than 0 and one more'),
    ],
)
def test_arrays_that_are_no_masks(tmp_path, arrays, message):
    np.savez(tmp_path / 'a.npz', **arrays)
    with pytest.raises(DataError, match=message):
        [mask.read() for mask in find_masks(tmp_path / 'a.npz')]


def test_pictures_that_are_no_masks(tmp_path):
    Image.new('L', (4, 4)).save(tmp_path / 'a.jpg')
    with pytest.raises(DataError, match='a JPEG smears'):
        find_masks(tmp_path)
    (tmp_path / 'a.jpg').unlink()
    (tmp_path / '.hidden.png').touch()
    with pytest.raises(DataError, match='holds no mask'):
        find_masks(tmp_path)
    two = np.array([[10, 200]], np.uint8)
    Image.fromarray(two).save(tmp_path / 'a.png')
    with pytest.raises(DataError, match='none of them black'):
        find_masks(tmp_path)[0].read()
    # Full, empty, 16 bits, a palette.
    for values, expected in ((np.full((2, 2), 255, np.uint8), 4), (np.zeros((2, 2), np.uint8), 0)):
        Image.fromarray(values).save(tmp_path / 'a.png')
        assert find_masks(tmp_path)[0].read().sum() == expected
    Image.fromarray(np.array([[0, 65535]], np.uint16)).save(tmp_path / 'a.png')
    assert find_masks(tmp_path)[0].read().tolist() == [[False, True]]


def test_what_is_no_data_set_or_protocol(tmp_path, score):
    (tmp_path / 'a.json').write_text('{"5": []}')
    for args, message in (
        (('--dataset', tmp_path / 'a.csv'), 'is no data set'),
        (('--dataset', tmp_path / 'no.py'), 'no such config file'),
        (('--dataset', tmp_path, '--protocol', 'best'), "protocol='best'; use rs2sam2, "),
        (('--dataset', tmp_path, '--protocol', '0'), 'protocol=0; use'),
        (('--dataset', tmp_path, '--out', '/proc/nowhere'), 'cannot be written'),
    ):
        code, printed, told = score(tmp_path / 'a.json', *args)
        assert (code, printed, len(told)) == (2, '', 1)
        assert message in told[0]
