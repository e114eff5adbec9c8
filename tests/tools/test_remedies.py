"""What an error of a training tells the user to do is done here, and helps."""

import runpy
import shutil
import sys
from pathlib import Path

import pytest
import torch
from mmengine.logging import MMLogger

from helpers.paths import ROOT
from rs2sam2.weights.adapters import ADAPTERS
from rs2sam2.weights.files import load_pickle, save_checkpoint

# The smallest training that has an epoch, a validation and a best checkpoint.
SMALL = (
    'train_dataloader.dataset.indices=4', 'val_dataloader.dataset.indices=2', 'train_dataloader.batch_size=2',
    'val_dataloader.batch_size=2',
)  # fmt: skip
NO_VALIDATION = 'val_cfg=None val_dataloader=None val_evaluator=None'


@pytest.fixture
def train(site, tmp_path, monkeypatch, capfd):
    """train.py in this process: returns the error's line, or None where it went well; `train.log` is all of it."""
    monkeypatch.chdir(site)
    count = 0

    def train(*options: str, work_dir: Path = tmp_path / 'work', text: str = '', flags=()) -> str | None:
        nonlocal count
        count += 1
        config = tmp_path / f'config{count}.py'
        config.write_text(f'_base_ = [{str(site / "config.py")!r}]\n{text}\n')
        # Runs of the same second and name would share mmengine's visualizer.
        options = (*SMALL, *options, f'experiment_name={tmp_path.name}{count}')
        argv = ['train.py', str(config), '--work-dir', str(work_dir), *flags, '--cfg-options', *options]
        monkeypatch.setattr(sys, 'argv', argv)
        code = 0
        try:
            runpy.run_path(str(ROOT / 'tools/train.py'), run_name='__main__')
        except SystemExit as stopped:
            code = stopped.code
        streams = capfd.readouterr()
        train.log = streams.out + streams.err
        lines = [line for line in streams.err.splitlines() if line.startswith('error: ')]
        assert 'Traceback' not in streams.err
        assert (code, len(lines)) in ((0, 0), (2, 1)), train.log
        return lines[0] if lines else None

    yield train
    for logger in (MMLogger._instance_dict or {}).values():
        for handler in logger.handlers:
            handler.close()


BY_ITERATIONS = """
train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=2)
default_hooks = dict(
    logger=dict(log_metric_by_epoch=False), checkpoint=dict(by_epoch=False, every_iters=None, interval=2))
log_processor = dict(by_epoch=False)
"""
SAMPLER = "batch_sampler=dict(type='torch.utils.data.BatchSampler', drop_last=False)"


@pytest.mark.parametrize(
    ('wrong', 'words', 'remedy'),
    [
        ('train_cfg.val_interval=0', 'val_interval=0: a whole number from 1 upwards; without', NO_VALIDATION),
        ('train_dataloader.batch_size=99 train_dataloader.drop_last=True', 'set drop_last=False',
         'train_dataloader.batch_size=99 train_dataloader.drop_last=False'),
        ('train_dataloader.batch_size=99 train_dataloader.drop_last=True', 'lower batch_size', ''),
        ('default_hooks.checkpoint.out_dir=elsewhere', 'leave out out_dir', ''),
        ('randomness.seed=-1', 'randomness.seed=-1: a whole number from 0 to', ''),
        ('randomness.seed=0.5', 'randomness.seed=0.5', ''),
        ('randomness.seed=abc', 'randomness.seed=abc', 'randomness.seed=None'),
        ('train_dataloader.num_workers=-1', 'num_workers of a data loader=-1', ''),
        ('train_dataloader.batch_size=two', 'batch_size of a data loader=two', ''),
        ('train_cfg.max_epochs=0', 'train_cfg.max_epochs=0', ''),
        ('optim_wrapper.optimizer.lr=-1', 'optim_wrapper cannot be built: ', ''),
        ('optim_wrapper.accumulative_counts=0', 'optim_wrapper cannot be built: ', ''),
    ],
)  # fmt: skip
def test_options_that_are_refused_and_their_remedy(train, wrong, words, remedy):
    line = train(*wrong.split())
    assert line is not None
    assert words in line
    assert train(*remedy.split()) is None


@pytest.mark.parametrize(
    ('wrong', 'words', 'remedy'),
    [
        ('default_hooks = dict(checkpoint=dict(by_epoch=False))', 'by iterations set interval', BY_ITERATIONS),
        (f'train_dataloader = dict({SAMPLER})', 'set train_cfg.type=EpochBasedTrainLoop',
         f"train_dataloader = dict({SAMPLER})\ntrain_cfg = dict(type='EpochBasedTrainLoop')"),
        ("optim_wrapper = dict(paramwise_cfg=dict(fusion=('nothing.',)))", "begins with 'nothing.'; leave it out", ''),
        ("param_scheduler = [dict(type='LinearLR', begin=9, end=3)]", 'param_scheduler cannot be built: ', ''),
    ],
)  # fmt: skip
def test_configs_that_are_refused_and_their_remedy(train, wrong, words, remedy):
    line = train(text=wrong)
    assert line is not None
    assert words in line
    assert train(text=remedy) is None


def test_without_workers_as_a_dead_worker_advises(train):
    """The shipped configs keep workers and prefetch between epochs, which torch refuses of none."""
    loaders = [f'{split}_dataloader.{option}' for split in ('train', 'val') for option in (
        'num_workers=0', 'persistent_workers=True', 'prefetch_factor=4', 'timeout=60',
    )]  # fmt: skip
    assert train(*loaders) is None


def test_weights_that_are_a_part_are_named_where_the_message_says(train, tmp_path, site):
    assert train() is None
    state = load_pickle(tmp_path / 'work/epoch_1.pth')['state_dict']
    adapter = ADAPTERS['beit3']
    part = {adapter.table.to_official(n): t for n, t in state.items() if adapter.fills(n) and not adapter.why_new(n)}
    torch.save(dict(model=part), tmp_path / 'beit3.pth')
    line = train(f'load_from={tmp_path}/beit3.pth')
    assert "init_cfg=[dict(type='OfficialWeights', source='beit3', checkpoint=...)]" in line
    official = f"init_cfg=[dict(type='OfficialWeights', source='beit3', checkpoint='{tmp_path}/beit3.pth')]"
    assert train(text=f'model = dict({official})') is None
    pretrained = f"init_cfg=dict(type='Pretrained', checkpoint='{tmp_path}/beit3.pth')"
    assert "use 'OfficialWeights' or load_from" in train(text=f'model = dict(backbone=dict({pretrained}))')
    assert train(f'load_from={tmp_path}/work/epoch_1.pth') is None


def test_what_cannot_be_resumed_and_the_ways_out(train, tmp_path):
    assert train(work_dir=tmp_path / 'a') is None
    last = tmp_path / 'a/epoch_1.pth'
    (best,) = (tmp_path / 'a').glob('best_*')
    # Weights only, named as a whole checkpoint.
    shutil.copytree(tmp_path / 'a', tmp_path / 'weights_only')
    shutil.copy(best, tmp_path / 'weights_only/epoch_1.pth')
    assert 'load_from, not --resume' in train(work_dir=tmp_path / 'weights_only', flags=('--resume',))
    assert train(f'load_from={tmp_path}/weights_only/epoch_1.pth') is None
    # Another optimizer.
    sgd = "optim_wrapper = dict(optimizer=dict(_delete_=True, type='SGD', lr=0.001))"
    line = train(text=sgd, work_dir=tmp_path / 'a', flags=('--resume',))
    assert 'start from its weights with load_from and without --resume' in line
    assert train(f'load_from={last}', text=sgd) is None
    # In the middle of an epoch, with another loop.
    content = load_pickle(last)
    content['position']['batch'] = 1
    (tmp_path / 'middle').mkdir()
    save_checkpoint(
        tmp_path / 'middle/resume_iter_1.pth', {**content, 'meta': {**content['meta'], 'epoch': 0, 'iter': 1}}
    )
    line = train('train_cfg.type=EpochBasedTrainLoop', work_dir=tmp_path / 'middle', flags=('--resume',))
    assert 'set train_cfg.type=ResumableTrainLoop' in line
    assert train(work_dir=tmp_path / 'middle', flags=('--resume',)) is None
    # Nothing is left: more epochs, as the log says.
    assert train(work_dir=tmp_path / 'a', flags=('--resume',)) is None
    assert 'raise train_cfg.max_epochs' in train.log
    assert train('train_cfg.max_epochs=2', work_dir=tmp_path / 'a', flags=('--resume',)) is None
    assert (tmp_path / 'a/epoch_2.pth').exists()


@pytest.mark.parametrize(
    'damage',
    [
        dict(position=dict(batch=0)), dict(position=3), dict(rng=[1]), dict(param_schedulers=[dict(), dict()]),
        dict(meta=dict(epoch='x', iter=None)), dict(message_hub=dict(log_scalars=1)),
    ],
)  # fmt: skip
def test_a_damaged_training_state_is_one_line(train, tmp_path, damage):
    source = tmp_path.parent / 'damaged_source'
    if not source.exists():
        assert train(work_dir=source) is None
    content = load_pickle(source / 'epoch_1.pth')
    for key, value in damage.items():
        content[key] = {**content[key], **value} if isinstance(value, dict) and key != 'position' else value
    (tmp_path / 'damaged').mkdir()
    save_checkpoint(tmp_path / 'damaged/epoch_1.pth', content)
    line = train('train_cfg.max_epochs=2', work_dir=tmp_path / 'damaged', flags=('--resume',))
    assert line is None or 'epoch_1.pth' in line
    if line is not None:
        assert 'start from its weights with load_from and without --resume' in line
        assert train(f'load_from={tmp_path}/damaged/epoch_1.pth') is None


def test_work_dirs_that_cannot_be(train, tmp_path):
    (tmp_path / 'file').write_text('')
    for folder in (tmp_path / 'file', tmp_path / 'file/below', Path('/proc/nowhere'), tmp_path / ('x' * 300)):
        line = train(work_dir=folder)
        assert f'{folder} cannot be written' in line
        assert 'choose another folder' in line


def test_tensorboard_without_its_package(train, monkeypatch):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name, *a: None if name == 'tensorboard' else find(name, *a))
    assert 'pip install tensorboard' in train(flags=('--tensorboard',))
