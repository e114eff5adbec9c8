"""What a resumed training takes from its checkpoint, from its config and from the folder; what it leaves alone."""

import os
import re
import shutil
from pathlib import Path

import pytest

from helpers.trainings import Training, assert_same_training
from rs2sam2.weights.files import load_pickle, save_checkpoint


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob('*.pth'))


@pytest.fixture(scope='module')
def one_epoch(site, forks) -> Training:
    training = Training(site, forks, 'one_epoch', 'train_cfg.max_epochs=1')
    training.run()
    assert names(training.work_dir) == ['best_test_score_epoch_1.pth', 'epoch_1.pth']
    return training


@pytest.mark.parametrize('how', ['copy', 'load_from', 'crafted'])
def test_resuming_touches_no_file_of_another_run(site, forks, one_epoch, reference, how):
    """The checkpoint says, by absolute paths, which best one is replaced."""
    before = {path: path.read_bytes() for path in one_epoch.work_dir.rglob('*') if path.is_file()}
    first, training = one_epoch.work_dir, Training(site, forks, f'from_{how}')
    victim = site / 'best_test_score_epoch_1.pth'
    victim.write_text('not yours')
    if how == 'copy':
        shutil.copytree(first, training.work_dir)
        # As a copy may come: in any order.
        os.utime(training.work_dir / 'last_checkpoint', (1, 1))
    elif how == 'load_from':
        training.options = (f'load_from={first}/epoch_1.pth',)
    else:
        training.work_dir.mkdir()
        content = load_pickle(first / 'epoch_1.pth')
        info = content['message_hub']['runtime_info']
        info.update(best_ckpt=str(victim), last_ckpt=str(victim), keep_ckpt_ids=['/../../x', 7, 8, 9])
        save_checkpoint(training.work_dir / 'epoch_1.pth', content)
    log = training.run(resume=True)
    assert re.search(r'resumed .*: epoch 1, iteration \d+', log)
    assert ('is none of this work dir' in log) == (how != 'copy')
    assert {path: path.read_bytes() for path in first.rglob('*') if path.is_file()} == before
    assert victim.read_text() == 'not yours'
    own = ['epoch_2.pth'] if how == 'load_from' else ['epoch_1.pth', 'epoch_2.pth']
    assert names(training.work_dir) == ['best_test_score_epoch_2.pth', *own]
    assert_same_training(training.content(), reference)
    if how == 'load_from':
        log = training.run(resume=True)
        assert 'is not read: this work dir holds a later epoch_2.pth' in log
        assert re.search(r'resumed \S*from_load_from/epoch_2.pth', log)


CHANGED = (
    'optim_wrapper.optimizer.lr=0.0004',
    'optim_wrapper.optimizer.weight_decay=0.05',
    'param_scheduler.0.end=15',
    'param_scheduler.1.gamma=0.1',
)


def test_a_changed_config_is_used_and_said(site, forks, one_epoch):
    """The learning rates of the rest are those of a training that had the config from the beginning."""
    training = Training(site, forks, 'changed', *CHANGED)
    shutil.copytree(one_epoch.work_dir, training.work_dir)
    log = training.run(resume=True)
    (line,) = re.findall(r'the config differs from what the checkpoint was trained with, and is used: .*', log)
    for words in (
        'lr of the group base 0.0004 (checkpoint: 0.0015)',
        'weight_decay of the group fusion 0.05 (checkpoint: 0.01)',
        'LinearLR.end 15 (checkpoint: 9)',
        'MultiStepLR.gamma 0.1 (checkpoint: 0.5)',
        'MultiStepLR.end 2 (checkpoint: 1)',
        'learning rates now ',
    ):
        assert words in line, line
    fresh = Training(site, forks, 'changed_from_the_start', *CHANGED)
    fresh.run()
    resumed, whole = training.content(), fresh.content()
    assert resumed['optimizer']['param_groups'] == whole['optimizer']['param_groups']
    assert resumed['param_schedulers'] == whole['param_schedulers']
    count = resumed['position']['batches']
    for name in ('train/lr', 'train/base_lr'):
        ours, theirs = (one['message_hub']['log_scalars'][name].data[0] for one in (resumed, whole))
        assert ours[count:].tolist() == theirs[count:].tolist()
    assert 'the config differs' not in training.run(resume=True), 'they agree now'
    assert 'nothing is left to train: 2 of 2 epochs' in training.new_log()


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (('optim_wrapper.optimizer.type=SGD',), 'it is of AdamW, the config has SGD'),
        (('optim_wrapper.optimizer.amsgrad=True',), 'it was trained without amsgrad'),
        (('optim_wrapper.paramwise_cfg.fusion=("neck.",)',), 'tensors, '),
    ],
)
def test_the_state_of_another_optimizer_is_refused(site, forks, one_epoch, options, words):
    training = Training(site, forks, f'other_{options[0][-5:]}'.strip('")(,.'), *options)
    shutil.copytree(one_epoch.work_dir, training.work_dir)
    before = (training.work_dir / 'config.py').read_text()
    (line,) = re.findall(r'error: .*', training.run(expect=2, resume=True))
    assert 'does not fit this training: ' in line
    assert words in line
    assert 'load_from and without --resume' in line
    assert (training.work_dir / 'config.py').read_text() == before, 'its config is not replaced'


def test_weights_alone_are_no_training(site, forks, one_epoch):
    """A best checkpoint has no optimizer state: to resume it is to begin with its weights, and that is said."""
    best = one_epoch.work_dir / 'best_test_score_epoch_1.pth'
    training = Training(site, forks, 'from_best', f'load_from={best}', 'train_cfg.max_epochs=1')
    log = training.run(resume=True)
    assert f'training starts fresh from the weights of {best}' in log
    assert 'resumed' not in log
