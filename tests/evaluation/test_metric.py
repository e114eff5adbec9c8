"""RRSISMetric against an independent computation, and what it refuses."""

import io
import json
import logging

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.logging import MMLogger
from mmengine.structures import PixelData
from PIL import Image

from rs2sam2.datasets.masks import decode_segmentation
from rs2sam2.errors import ConfigError, DataError
from rs2sam2.evaluation.nearest import pil_nearest_index, resize_nearest
from rs2sam2.evaluation.rrsis_metric import RRSISMetric
from rs2sam2.structures import RefSegDataSample


def make_sample(index: int, truth: np.ndarray, logits: np.ndarray | None = None, **fields) -> RefSegDataSample:
    sample = RefSegDataSample()
    meta = {
        'sample_id': f's{index}',
        'img_path': f'images/{index // 2}.png',
        'expression': 'The ship on the left' if index % 2 else 'A red ship',
        'category': ('ship', 'dam', None)[index % 3],
        'ori_shape': truth.shape,
        'no_target': False,
    }
    meta.update({key: fields.pop(key) for key in list(fields) if key in meta})
    sample.set_metainfo(meta)
    sample.gt_sem_seg = PixelData(data=torch.from_numpy(truth[None]))
    if logits is not None:
        sample.seg_logits = PixelData(data=torch.from_numpy(logits))
    for key, value in fields.items():
        setattr(sample, key, value)
    return sample


def random_case(index: int) -> tuple[np.ndarray, np.ndarray]:
    """A mask of an odd size and logits that agree with it more or less; each fourth mask and fifth prediction empty."""
    rng = np.random.default_rng(index)
    h, w = (int(n) for n in rng.integers(17, 90, 2) | 1)
    truth = np.zeros((h, w), np.uint8)
    if index % 4:
        y, x = rng.integers(0, h // 2), rng.integers(0, w // 2)
        truth[y : y + h // 3, x : x + w // 2] = 1
        truth ^= (rng.random((h, w)) < 0.03).astype(np.uint8)
    small = np.asarray(Image.fromarray(truth * 255).resize((16, 24), Image.BILINEAR), np.float32) / 128 - 1
    logits = small + rng.normal(0, 0.6, small.shape).astype(np.float32)
    return truth, (logits if index % 5 else -np.abs(logits) - 1)[None].astype(np.float32)


def bilinear(logits: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Half-pixel bilinear sampling with clamped borders, written out, in double precision."""
    out = logits.astype(np.float64)
    for axis, target in enumerate(size):
        source = out.shape[axis]
        at = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
        low = np.floor(at).astype(int)
        high = np.minimum(low + 1, source - 1)
        part = (at - low).reshape((-1, 1) if axis == 0 else (1, -1))
        out = out.take(low, axis) * (1 - part) + out.take(high, axis) * part
    return out


def independent(cases, protocol) -> tuple[dict, list]:
    pairs = []
    for truth, logits in cases:
        size = {'published_1024': (1024, 1024), 'native': truth.shape}.get(protocol, (protocol, protocol))
        target = np.asarray(Image.fromarray(truth).resize(size[::-1], Image.NEAREST)) == 1
        mask = bilinear(logits[0], size) > 0
        pairs.append((int((target & mask).sum()), int((target | mask).sum())))
    ious = np.array([i / u if u else 0 for i, u in pairs])
    expected = {f'rrsis/Pr@{t}': 100 * np.mean(ious >= t) for t in (0.5, 0.6, 0.7, 0.8, 0.9)}
    expected['rrsis/mIoU'] = 100 * ious.mean()
    expected['rrsis/oIoU'] = 100 * sum(i for i, _ in pairs) / max(1, sum(u for _, u in pairs))
    expected['rrsis/mIoU+oIoU'] = expected['rrsis/mIoU'] + expected['rrsis/oIoU']
    return expected, pairs


def run(samples, size=None, **kwargs) -> tuple[dict, RRSISMetric]:
    metric = RRSISMetric(**kwargs)
    evaluator = Evaluator(metric)
    for start in range(0, len(samples), 3):
        evaluator.process(samples[start : start + 3])
    metric.seen = list(metric.results)
    return evaluator.evaluate(len(samples) if size is None else size), metric


@pytest.fixture
def log():
    """What the metric prints."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logger = MMLogger.get_instance('metric-test')
    logger.addHandler(handler)
    yield stream
    logger.removeHandler(handler)


@pytest.mark.parametrize('protocol', ['published_1024', 'native', 97])
def test_equals_an_independent_computation(protocol):
    cases = [random_case(index) for index in range(10)]
    metrics, metric = run([make_sample(i, *case) for i, case in enumerate(cases)], protocol=protocol)
    expected, pairs = independent(cases, protocol)
    # Counts differ where an interpolated logit is 0 to single precision: at most a pixel or two.
    counted = np.array([(row.intersection, row.union) for row in metric.seen])
    assert np.abs(counted - np.array(pairs)).max() <= 2
    assert metrics.keys() == expected.keys()
    for key, value in expected.items():
        assert metrics[key] == pytest.approx(value, abs=1e-3), key
    assert 5 < metrics['rrsis/mIoU'] < 95


def test_exact_counts_and_rows(tmp_path):
    truth = np.zeros((4, 5), np.uint8)
    truth[:2] = 1
    logits = np.full((1, 4, 5), -1.0, np.float32)
    logits[:, 1:3] = 2.0
    empty = np.zeros_like(truth)
    samples = [
        make_sample(0, truth, logits, pred_iou=torch.tensor(0.25), presence=None),
        make_sample(1, empty, -np.ones_like(logits), presence=0.5, pred_iou=None),
        make_sample(2, empty, logits),
        make_sample(3, truth, np.where(truth, 1.0, -1.0)[None].astype(np.float32)),
    ]
    file = tmp_path / 'new' / 'results.jsonl'
    metrics, _ = run(samples, protocol='native', results_file=str(file))
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    masks = [[decode_segmentation(row.pop(name), None, name) for name in ('mask', 'target')] for row in rows]
    for (mask, target), one in zip(masks, samples, strict=True):
        np.testing.assert_array_equal(mask, np.asarray(one.seg_logits.data[0]) > 0)
        np.testing.assert_array_equal(target, np.asarray(one.gt_sem_seg.data[0]))
    assert [(row['intersection'], row['union']) for row in rows] == [(5, 15), (0, 0), (0, 10), (10, 10)]
    assert rows[0] == {
        'sample_id': 's0', 'img_path': 'images/0.png', 'expression': 'A red ship', 'category': 'ship',
        'no_target': False, 'protocol': 'native', 'intersection': 5, 'union': 15, 'iou': 5 / 15, 'target_share': 0.5,
        'pred_iou': 0.25, 'presence': None, 'empty_prediction': False, 'precision': None,
        'averaged_over': None,
    }  # fmt: skip
    assert [row['empty_prediction'] for row in rows] == [False, True, False, False]
    assert (rows[1]['iou'], rows[1]['presence'], rows[1]['target_share']) == (0.0, 0.5, 0.0)
    assert metrics['rrsis/oIoU'] == 100 * 15 / 35
    assert metrics['rrsis/mIoU'] == pytest.approx(100 * (1 / 3 + 1) / 4, abs=1e-12)
    assert metrics['rrsis/Pr@0.9'] == 25.0


def test_a_threshold_itself_counts():
    truth = np.ones((2, 5), np.uint8)
    samples = []
    for i, pixels in enumerate((5, 6, 7, 8, 9)):
        logits = np.where(np.arange(10) < pixels, 1.0, -1.0).reshape(1, 2, 5).astype(np.float32)
        samples.append(make_sample(i, truth, logits))
    metrics, _ = run(samples, protocol='native')
    assert [round(metrics[f'rrsis/Pr@{t}']) for t in (0.5, 0.6, 0.7, 0.8, 0.9)] == [100, 80, 60, 40, 20]


def test_two_channels_and_masks_without_logits():
    truth, logits = random_case(6)
    two = np.concatenate([1 - logits, logits + 1])  # their difference is 2 x the logits
    labels = (logits > 0).astype(np.int64)
    _, one_channel = run([make_sample(0, truth, logits)], protocol=64)
    _, two_channels = run([make_sample(0, truth, two)], protocol=64)
    _, mask = run([make_sample(0, truth, pred_sem_seg=PixelData(data=torch.from_numpy(labels)))], protocol=64)
    one, two, mask = (metric.seen[0] for metric in (one_channel, two_channels, mask))
    assert abs(one.intersection - two.intersection) <= 1
    assert abs(one.union - two.union) <= 1
    target = np.asarray(Image.fromarray(truth).resize((64, 64), Image.NEAREST)) == 1
    nearest = np.asarray(Image.fromarray(labels[0].astype(np.uint8)).resize((64, 64), Image.NEAREST)) == 1
    assert (mask.intersection, mask.union) == (int((target & nearest).sum()), int((target | nearest).sum()))


def test_nearest_is_pil_nearest():
    # 64 -> 480, 512 -> 480 and 10 -> 15 are sizes where torch's `nearest-exact` picks other pixels.
    sizes = [(64, 480), (512, 480), (10, 15), (15, 10), (800, 1024), (801, 1024), (787, 1024), (7, 7), (1, 9), (9, 1)]
    sizes += [(int(a), int(b)) for a, b in np.random.default_rng(0).integers(1, 700, (60, 2))]
    for index, (source, target) in enumerate(sizes):
        mask = np.random.default_rng(index).integers(0, 2, (source, source + 2)).astype(np.uint8)
        expected = np.asarray(Image.fromarray(mask).resize((target + 3, target), Image.NEAREST))
        assert (resize_nearest(torch.from_numpy(mask), (target, target + 3)).numpy() == expected).all(), (
            source,
            target,
        )
    torch_picks = torch.nn.functional.interpolate(torch.arange(512.0)[None, None], size=480, mode='nearest-exact')[
        0, 0
    ].long()
    assert not torch.equal(pil_nearest_index(512, 480), torch_picks)
    # At 1024, the published protocol, both agree for every usual size.
    for source in (512, 787, 800, 801, 1000, 2048):
        ramp = torch.arange(float(source))[None, None]
        exact = torch.nn.functional.interpolate(ramp, size=1024, mode='nearest-exact')[0, 0].long()
        assert torch.equal(pil_nearest_index(source, 1024), exact)


def test_table(log):
    samples = [make_sample(i, *random_case(i)) for i in range(8)]
    published = {'name': 'RS2-SAM2, RRSIS-D test', 'values': {'oIoU': 78.99, 'mIoU': 66.72}}
    breakdown = ('category', 'size', 'position_words')
    metrics, _ = run(samples, protocol=480, published=published, breakdown=breakdown)
    text = log.getvalue()
    assert 'protocol 480x480' in text
    assert '8 samples' in text
    assert f'{metrics["rrsis/oIoU"]:.2f}' in text
    assert '95 % interval' in text
    assert 'published: RS2-SAM2, RRSIS-D test' in text
    assert '66.72' in text
    assert 'another protocol' in text
    assert '| dam      | 3 |' in text
    assert '| empty' in text
    assert '| with position words    | 4 |' in text
    assert '| without position words | 4 |' in text
    run(samples, protocol='published_1024', published=published)
    run(samples, protocol=480, published={**published, 'protocol': 480})
    assert 'another protocol' not in log.getvalue()[len(text) :]
    run(samples, protocol='native', published={**published, 'protocol': 480})
    assert 'were counted at 480 x 480 pixels: another protocol' in log.getvalue()


@pytest.mark.parametrize(
    ('change', 'text'),
    [
        ({'no_target': True}, "'s6' is marked `no_target`"),
        ({'truth': 255}, "'s6': its ground truth holds values other than 0 and 1"),
        ({'logits': np.nan}, "'s6': the predicted logits are not numbers"),
        ({'logits': np.inf}, "'s6': the predicted logits are not numbers"),
        ({'channels': 3}, "'s6': `seg_logits` has 3 channels"),
        ({'without': 'seg_logits'}, "'s6': neither `seg_logits` nor `pred_sem_seg`"),
        ({'without': 'gt_sem_seg'}, "'s6' has no `gt_sem_seg`"),
    ],
)
def test_refused_samples(change, text):
    truth, logits = random_case(6)
    if 'truth' in change:
        truth = truth * 255
    if 'logits' in change:
        logits[0, 3, 3] = np.nan
    if 'channels' in change:
        logits = np.concatenate([logits] * 3)
    sample = make_sample(6, truth, logits, no_target=change.get('no_target', False))
    if 'without' in change:
        delattr(sample, change['without'])
    with pytest.raises(DataError, match=r'^[^\n]*$') as error:
        run([sample])
    assert text in str(error.value)


def test_duplicates_and_missing_samples():
    samples = [make_sample(i, *random_case(1)) for i in (1, 2, 2)]
    with pytest.raises(DataError, match="sample id 's2' occurs twice"):
        run(samples)
    with pytest.raises(DataError, match='2 results for 5 samples'):
        run(samples[:2], size=5)
    with pytest.raises(DataError, match='no samples'):
        run([])


@pytest.mark.parametrize(
    'kwargs',
    [
        {'protocol': 'published'},
        {'protocol': 0},
        {'protocol': True},
        {'breakdown': ('colour',)},
        {'published': {'name': 'x', 'values': {'gIoU': 1.0}}},
        {'published': {'name': 'x'}},
    ],
)
def test_refused_configs(kwargs):
    with pytest.raises(ConfigError, match='RRSISMetric'):
        RRSISMetric(**kwargs)
