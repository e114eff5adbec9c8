"""The model that travels with the package: there, small, right, and made by the demo's own training."""

import runpy
import sys

import numpy as np
import pytest

from helpers.paths import ROOT
from rs2sam2 import RS2SAM2Inferencer
from rs2sam2.datasets.rrsisd import RRSISDDataset
from rs2sam2.datasets.transforms import LoadReferringMask
from rs2sam2.synthetic.dataset import build_demo_dataset
from rs2sam2.weights.zoo import published

EMBEDDED = ROOT / 'projects/rs2sam2/bundles/demo'


def test_the_embedded_model_is_small_and_has_a_name():
    assert sum(path.stat().st_size for path in EMBEDDED.rglob('*')) < 5.2e6
    assert published()['demo'].place == EMBEDDED
    assert published()['demo'].licence == 'Apache-2.0'


def test_the_embedded_model_segments_scenes_that_it_has_not_seen(tmp_path):
    build_demo_dataset(tmp_path / 'data', dict(train=1, test=12), 160)
    dataset = RRSISDDataset(
        data_root=str(tmp_path / 'data'), split='test', metainfo=dict(split_counts={}), pipeline=[LoadReferringMask()]
    )
    samples = [dataset[index] for index in range(len(dataset))]
    pairs = [(sample['img_path'], sample['expression']) for sample in samples]
    ious = []
    for sample, result in zip(samples, RS2SAM2Inferencer('demo')(pairs=pairs, batch_size=8), strict=True):
        truth = sample['gt_seg_map'] > 0
        ious.append((result.mask & truth).sum() / (result.mask | truth).sum())
    assert len(ious) > 40
    # 64.8 over the 731 sentences of the whole split.
    assert np.mean(ious) > 0.5


@pytest.mark.slow
def test_the_demo_trains_what_it_ships(tmp_path, monkeypatch, capsys):
    """The whole way at a fraction of its length: draw, train, test with controls, pictures."""
    monkeypatch.chdir(tmp_path)
    demo = runpy.run_path(str(ROOT / 'tools/demo.py'))
    monkeypatch.setitem(demo['main'].__globals__, 'SCENES', dict(train=30, val=5, test=8))
    monkeypatch.setitem(demo['main'].__globals__, 'MOSAICS', 5)
    monkeypatch.setattr(sys, 'argv', ['demo.py', '--train'])
    demo['main']()
    assert 'images shuffled' in capsys.readouterr().out
    trained = RS2SAM2Inferencer(tmp_path / 'work_dirs/demo_train')
    shipped = RS2SAM2Inferencer('demo')
    assert {n: p.shape for n, p in trained.model.named_parameters()} == {
        n: p.shape for n, p in shipped.model.named_parameters()
    }
    assert (tmp_path / 'work_dirs/demo_train/pictures.png').stat().st_size > 10_000
