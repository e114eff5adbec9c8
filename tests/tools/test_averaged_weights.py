"""The recipe's averaged weights: what a checkpoint holds, that resuming keeps both, that testing takes the average."""

import shutil

import pytest
import torch
from mmengine.hooks import EMAHook

from helpers.paths import ROOT
from helpers.training_site import run
from rs2sam2.engine.runner import StrictRunner
from rs2sam2.errors import ConfigError
from rs2sam2.weights.files import load_pickle

HOOKS = """
custom_hooks = [*_base_.custom_hooks, dict(type='EMAHook', momentum=0.3, strict_load=True)]
train_cfg = dict(max_epochs=2, val_interval=1)
"""


@pytest.fixture(scope='module')
def trained(site):
    """Two epochs in one go, and the second resumed from the first's checkpoint."""
    (site / 'ema.py').write_text((site / 'config.py').read_text().replace('train_cfg = dict(max_epochs=1)', HOOKS))
    run(ROOT / 'tools/train.py', 'ema.py', '--work-dir', 'whole', cwd=site)
    (site / 'resumed').mkdir()
    shutil.copy(site / 'whole/epoch_1.pth', site / 'resumed')
    (site / 'resumed/last_checkpoint').write_text('epoch_1.pth')
    run(ROOT / 'tools/train.py', 'ema.py', '--work-dir', 'resumed', '--resume', cwd=site)
    return site


def load(path):
    return load_pickle(path)


def test_a_resumed_training_is_the_uninterrupted_one(trained):
    one, other = load(trained / 'whole/epoch_2.pth'), load(trained / 'resumed/epoch_2.pth')
    for part in ('state_dict', 'ema_state_dict'):
        assert one[part].keys() == other[part].keys()
        assert all(torch.equal(tensor, other[part][name]) for name, tensor in one[part].items())


def test_a_checkpoint_holds_the_average_and_beside_it_the_weights_themselves(trained):
    first, second = load(trained / 'whole/epoch_1.pth'), load(trained / 'whole/epoch_2.pth')
    assert second['ema_state_dict']['steps'] == 2 * first['ema_state_dict']['steps']
    name = 'sparse_proj.0.weight'
    assert not torch.equal(second['state_dict'][name], second['ema_state_dict'][f'module.{name}'])
    # The average lags behind: it is nearer to where it was than the weights are.
    moved = [(second[part][key] - first['state_dict'][name]).norm()
             for part, key in (('state_dict', name), ('ema_state_dict', f'module.{name}'))]  # fmt: skip
    assert moved[0] < moved[1]


def test_testing_takes_the_average(trained):
    test = (ROOT / 'tools/test.py', 'ema.py', 'whole/epoch_2.pth', '--work-dir', 'test', '--out', 'test')
    run(*test, cwd=trained)
    tested = (trained / 'test/results.jsonl').read_text()
    weights = load(trained / 'whole/epoch_2.pth')
    torch.save(dict(state_dict=weights['state_dict']), trained / 'average.pth')
    run(test[0], 'config.py', 'average.pth', *test[3:-1], 'plain', cwd=trained)
    assert (trained / 'plain/results.jsonl').read_text() == tested


def test_sharded_weights_are_refused(monkeypatch):
    monkeypatch.setattr(StrictRunner, 'is_sharded', True)
    monkeypatch.setattr(StrictRunner, '__init__', lambda self, *hooks: setattr(self, '_hooks', hooks))
    with pytest.raises(ConfigError, match='EMAHook'):
        StrictRunner(EMAHook()).train()
