"""GeneralizedRRSISMetric against a direct computation on masks, and its edges."""

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData

from rs2sam2.errors import ConfigError, DataError
from rs2sam2.evaluation.generalized_metric import GeneralizedRRSISMetric
from rs2sam2.evaluation.results import bootstrap_interval, read_results
from rs2sam2.structures import RefSegDataSample


def sample(index, truth, predicted, no_target=False, presence=None):
    one = RefSegDataSample(
        metainfo=dict(sample_id=str(index), img_path=None, expression='a ship', category=None, no_target=no_target)
    )
    one.gt_sem_seg = PixelData(data=torch.from_numpy(truth.astype(np.uint8))[None])
    one.seg_logits = PixelData(data=torch.from_numpy(np.where(predicted, 3.0, -3.0))[None])
    if presence is not None:
        one.presence = presence
    return one.to_dict()


def random_samples(seed, count=40, with_presence=False):
    rng = np.random.default_rng(seed)
    samples, plain = [], []
    for index in range(count):
        no_target = bool(rng.random() < 0.4)
        truth = np.zeros((12, 12), bool) if no_target else rng.random((12, 12)) < 0.3
        predicted = np.zeros((12, 12), bool) if rng.random() < 0.4 else rng.random((12, 12)) < 0.3
        presence = float(rng.random()) if with_presence else None
        samples.append(sample(index, truth, predicted, no_target, presence))
        plain.append((truth, predicted if presence is None or presence >= 0.5 else np.zeros_like(predicted), no_target))
    return samples, plain


def by_hand(plain):
    ious, inter, union, right = [], 0, 0, {True: [], False: []}
    for truth, predicted, no_target in plain:
        i, u = np.sum(truth * predicted), np.sum((truth + predicted) > 0)
        inter, union = inter + i, union + u
        if no_target:
            ious.append(1.0 if predicted.sum() == 0 else 0.0)
            right[True].append(predicted.sum() == 0)
        else:
            ious.append(i / u)
            right[False].append(predicted.sum() > 0)
    return {
        'gIoU': 100 * np.mean(ious),
        'cIoU': 100 * inter / union,
        'N-acc': 100 * np.mean(right[True]),
        'T-acc': 100 * np.mean(right[False]),
    }


@pytest.mark.parametrize('with_presence', [False, True])
def test_against_a_direct_computation(with_presence):
    for seed in range(5):
        samples, plain = random_samples(seed, with_presence=with_presence)
        metric = GeneralizedRRSISMetric(protocol='native')
        for start in range(0, len(samples), 7):
            metric.process(None, samples[start : start + 7])
        got = metric.evaluate(len(samples))
        expected = by_hand(plain)
        for name, value in expected.items():
            assert got[f'grrsis/{name}'] == pytest.approx(value, abs=1e-9), name
        assert got['grrsis/gIoU+cIoU'] == pytest.approx(expected['gIoU'] + expected['cIoU'])


def test_a_perfect_model_and_one_that_always_finds_something():
    truth, nothing = np.eye(8, dtype=bool), np.zeros((8, 8), bool)
    perfect, eager = GeneralizedRRSISMetric(protocol='native'), GeneralizedRRSISMetric(protocol='native')
    perfect.process(None, [sample(0, truth, truth), sample(1, nothing, nothing, no_target=True)])
    eager.process(None, [sample(0, truth, truth), sample(1, nothing, truth, no_target=True)])
    names = ('gIoU', 'cIoU', 'N-acc', 'T-acc')
    first, second = perfect.evaluate(2), eager.evaluate(2)
    assert [first[f'grrsis/{name}'] for name in names] == [100, 100, 100, 100]
    assert [second[f'grrsis/{name}'] for name in names] == [50, 50, 0, 100]


def test_an_empty_ground_truth_alone_is_not_a_sentence_without_target():
    truth, nothing = np.eye(8, dtype=bool), np.zeros((8, 8), bool)
    metric = GeneralizedRRSISMetric(protocol='native')
    # The first is one of RRSIS-D's three flawed masks: IoU 0 and, being empty, a wrong answer for T-acc.
    metric.process(None, [sample(0, nothing, nothing), sample(1, nothing, nothing, True), sample(2, truth, truth)])
    got = metric.evaluate(3)
    assert got['grrsis/T-acc'] == 50
    assert got['grrsis/N-acc'] == 100
    assert got['grrsis/gIoU'] == pytest.approx(200 / 3)


def test_results_file_and_interval(tmp_path):
    samples, plain = random_samples(3)
    metric = GeneralizedRRSISMetric(protocol='native', results_file=str(tmp_path / 'results.jsonl'))
    metric.process(None, samples)
    metric.evaluate(len(samples))
    rows = read_results(tmp_path / 'results.jsonl')
    assert [row.no_target for row in rows] == [no_target for *_, no_target in plain]
    assert [row.empty_prediction for row in rows] == [not predicted.any() for _, predicted, _ in plain]
    for name, value in by_hand(plain).items():
        low, high = bootstrap_interval(rows, name)
        assert low <= value <= high
        assert low < high


def test_refused():
    truth, nothing = np.eye(8, dtype=bool), np.zeros((8, 8), bool)
    metric = GeneralizedRRSISMetric(protocol='native')
    with pytest.raises(DataError, match='its ground truth is not empty'):
        metric.process(None, [sample(0, truth, truth, no_target=True)])
    metric.process(None, [sample(0, truth, truth)])
    with pytest.raises(DataError, match='0 of 1 samples are marked'):
        metric.evaluate(1)
    metric = GeneralizedRRSISMetric(protocol='native')
    metric.process(None, [sample(0, nothing, nothing, no_target=True)])
    with pytest.raises(DataError, match='1 of 1 samples are marked'):
        metric.evaluate(1)
    with pytest.raises(ConfigError, match='no probability'):
        GeneralizedRRSISMetric(presence_threshold=2)
    with pytest.raises(ConfigError, match='has no breakdown'):
        GeneralizedRRSISMetric(breakdown=['size'])
