"""Trainings that are killed, go on, and end bitwise where an uninterrupted one ends; NaN and dead workers."""

import multiprocessing
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from helpers import survival_site
from helpers.paths import ROOT
from helpers.tiny import SIZE, UNION_SIZE
from helpers.training_site import CONFIG
from rs2sam2.engine.work_dir import NAME, latest_checkpoint
from rs2sam2.synthetic.dataset import build_demo_dataset
from rs2sam2.weights.files import load_pickle, open_state_dict, save_checkpoint

OWN = """
_base_ = ['base.py']
custom_imports = dict(imports=['rs2sam2', 'helpers.survival_site'], allow_failed_imports=False)
model = dict(decode_head=dict(losses=[
    dict(type='ReferringCrossEntropyLoss'), dict(type='ReferringDiceLoss'), dict(type='PoisonLoss')]))
train_cfg = dict(max_epochs=2, val_interval=1)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, end=9, by_epoch=False),
    dict(type='MultiStepLR', milestones=[1], gamma=0.5, by_epoch=True),
]
val_evaluator = [dict(type='EpochScore')]
default_hooks = dict(checkpoint=dict(save_best='test/score', every_iters=2))
custom_hooks = [dict(type='StopAtNonfiniteHook'), dict(type='DieHook')]
"""


@pytest.fixture(scope='module')
def site(tmp_path_factory) -> Path:
    """A folder with drawn scenes, and a config of a tiny training on them with every source of randomness."""
    folder = tmp_path_factory.mktemp('site')
    build_demo_dataset(folder / 'data', dict(train=3, val=1, test=1), size=96)
    (folder / 'base.py').write_text(CONFIG)
    text = OWN
    for split in ('train', 'val'):
        tokenizer = dict(type='RefSegTokenizer', path=f'{folder}/data/tokenizer', num_pieces=165)
        pipeline = [
            dict(type='LoadRGBImage'),
            dict(type='LoadReferringMask'),
            dict(type='RandomBlackBoxes', share=0.7, count=(1, 4), size=16)
            if split == 'train'
            else dict(type='DieInWorker'),
            dict(type='DieInWorker'),
            dict(type='ResizeTwoViews', size=SIZE, union_size=UNION_SIZE, resize_mask=split == 'train'),
            dict(type='TokenizeExpression', tokenizer=tokenizer),
            dict(type='PackRefSegInputs'),
        ]
        dataset = dict(data_root=f'{folder}/data', pipeline=pipeline)
        text += f'{split}_dataloader = dict(batch_size=2, num_workers=0, persistent_workers=False, dataset={dataset})\n'
    (folder / 'config.py').write_text(text)
    return folder


@pytest.fixture(scope='module')
def forks():
    """Starts processes that have all imports behind them."""
    context = multiprocessing.get_context('forkserver')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('PYTHONPATH', str(ROOT / 'tests'), prepend=os.pathsep)
        patch.setenv('OMP_NUM_THREADS', '1')
        context.set_forkserver_preload(['rs2sam2', 'helpers.survival_site'])
        yield context


class Training:
    """A training in the site, each start of which is a process of its own (or several)."""

    def __init__(self, site: Path, forks, name: str, *options: str, processes: int = 1, flags: tuple = ()) -> None:
        self.work_dir, self.flags = site / name, flags
        self.site, self.forks, self.options, self.processes = site, forks, options, processes
        self.log = site / f'{name}.log'

    def start(self, resume: bool = False, **environment: object) -> list:
        argv = ['config.py', '--work-dir', self.work_dir.name, *self.flags, *(['--resume'] if resume else [])]
        argv += ['--cfg-options', *self.options] if self.options else []
        if self.processes > 1:
            argv += ['--launcher', 'pytorch']
        with socket.socket() as probe:
            probe.bind(('127.0.0.1', 0))
            port = probe.getsockname()[1]
        started = []
        for rank in range(self.processes):
            ranks = dict(
                RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=self.processes, MASTER_ADDR='127.0.0.1', MASTER_PORT=port
            )
            env = {key: str(value) for key, value in {**ranks, **environment}.items()}
            arguments = (argv, str(self.site), str(self.log), env)
            started.append(self.forks.Process(target=survival_site.train, args=arguments))
            started[-1].start()
        return started

    def run(self, expect: int = 0, **options: object) -> str:
        """Start and wait; returns what this start logged."""
        before = len(self.new_log())
        started = self.start(**options)
        for process in started:
            process.join(300)
        log = self.new_log(before)
        assert [process.exitcode for process in started] == [expect] * self.processes, log[-3000:]
        return log

    def new_log(self, before: int = 0) -> str:
        return self.log.read_text()[before:] if self.log.exists() else ''

    def content(self, name: str = 'epoch_2.pth') -> dict:
        return load_pickle(self.work_dir / name)


def differences(a: Any, b: Any, where: str = '') -> list[str]:
    """Where two checkpoints differ, bit by bit."""
    if isinstance(a, torch.Tensor):
        return [] if torch.equal(a, b) and a.dtype == b.dtype else [where]
    if isinstance(a, HistoryBuffer):
        return [] if np.array_equal(a._log_history, b._log_history) else [where]
    if isinstance(a, dict):
        found = [] if a.keys() == b.keys() else [f'{where}: {sorted(map(str, a.keys() ^ b.keys()))}']
        return found + [one for key in a.keys() & b.keys() for one in differences(a[key], b[key], f'{where}.{key}')]
    if isinstance(a, (list, tuple)):
        found = [] if len(a) == len(b) else [where]
        return found + [one for i, (x, y) in enumerate(zip(a, b)) for one in differences(x, y, f'{where}.{i}')]  # noqa: B905
    return [] if a == b else [where]


def assert_same_training(a: dict, b: dict) -> None:
    """Weights, optimizer, schedules, random states, position, and the losses of every iteration."""
    for key in ('state_dict', 'optimizer', 'param_schedulers', 'rng', 'position'):
        assert not differences(a[key], b[key], key)
    logged, other = a['message_hub']['log_scalars'], b['message_hub']['log_scalars']
    assert len(logged['train/loss']._log_history) == a['meta']['iter']
    for key in ('train/loss', 'train/lr', 'train/base_lr', 'train/grad_norm'):
        assert not differences(logged[key], other[key], key)


@pytest.fixture(scope='module')
def reference(site, forks) -> dict:
    training = Training(site, forks, 'reference')
    training.run()
    names = sorted(path.name for path in training.work_dir.glob('*.pth'))
    assert names == ['best_test_score_epoch_2.pth', 'epoch_1.pth', 'epoch_2.pth']
    return training.content()


WORKERS = ('train_dataloader.num_workers=2', 'train_dataloader.persistent_workers=True')


@pytest.mark.parametrize(
    ('options', 'die_after', 'saved'), [((), 4, 4), (WORKERS, 9, 8)], ids=['0 workers', '2 workers']
)
def test_resumed_in_mid_epoch_ends_bitwise_as_uninterrupted(site, forks, reference, options, die_after, saved):
    training = Training(site, forks, f'resumed{len(options)}{die_after}', *options)
    training.run(expect=-signal.SIGKILL, DIE_AFTER=die_after)
    log = training.run(resume=True)
    assert re.search(rf'resumed \S*resume_iter_{saved}.pth', log)
    assert_same_training(training.content(), reference)


@pytest.mark.slow
@pytest.mark.ci
def test_two_processes_and_accumulated_gradients_resume_bitwise(site, forks):
    """Windows of 2 in epochs of an odd number of iterations: the last one of an epoch is short."""
    options = (
        'train_dataloader.batch_size=1',
        'optim_wrapper.accumulative_counts=2',
        'train_cfg.max_epochs=2',
        *WORKERS,
    )
    trainings = [
        Training(site, forks, f'{name}2', *options, processes=2, flags=('--auto-scale-lr',))
        for name in ('whole', 'torn')
    ]
    assert 'learning rates times 0.333333: an update sees 4 samples, the config is for 12' in trainings[0].run()
    trainings[1].run(expect=-signal.SIGKILL, DIE_AFTER=5)
    assert latest_checkpoint(trainings[1].work_dir).name == 'resume_iter_4.pth'
    trainings[1].run(resume=True)
    contents = [training.content() for training in trainings]
    assert len(contents[0]['rng']) == 2
    assert contents[0]['position']['batches'] % 2
    assert contents[0]['optimizer']['param_groups'][0]['initial_lr'] == pytest.approx(1.5e-3 * 4 / 12)
    assert_same_training(*contents)


@pytest.mark.slow
@pytest.mark.ci
def test_another_number_of_processes_goes_on_with_the_unseen_samples(site, forks):
    training = Training(site, forks, 'fewer', 'train_dataloader.batch_size=1', processes=2)
    training.run(expect=-signal.SIGKILL, DIE_AFTER=3)
    training.processes = 1
    log = training.run(resume=True)
    assert 'resumed with 1 samples a step instead of 2' in log
    assert re.search(r'resumed .*resume_iter_2.pth: epoch 0, iteration 4', log)
    batches = training.content()['position']['batches']
    assert training.content()['meta']['iter'] == 2 * batches
    assert f'[1][ 5/{batches}]' in log
    assert f'[1][ 4/{batches}]' not in log


@pytest.mark.slow
@pytest.mark.ci
def test_a_killed_validation_is_made_up_for(site, forks, reference):
    """Killed between the checkpoint of an epoch and the best checkpoint of its validation."""
    training = Training(site, forks, 'validation')
    training.run(expect=-signal.SIGKILL, DIE_IN_VALIDATION=1)
    assert [path.name for path in training.work_dir.glob('*.pth')] == ['epoch_1.pth']
    log = training.run(resume=True)
    assert 'is saved to best_test_score_epoch_1.pth' in log
    assert_same_training(training.content(), reference)


def finished(work_dir: Path) -> int:
    """Check every file that has a final name, strictly; returns the iterations behind the last one."""
    iterations = [0]
    for path in work_dir.glob('*.pth'):
        file = open_state_dict(path)
        assert sum(tensor.double().sum() for tensor in file.values()).isfinite()
        if NAME.fullmatch(path.name):
            assert {'optimizer', 'rng', 'position', 'message_hub', 'param_schedulers'} <= file.content.keys()
            iterations.append(file.content['meta']['iter'])
    return max(iterations)


def kill_loop(training: Training, reference: dict, kills: int, seed: int) -> list[str]:
    """Kill a training again and again, at random moments and while it saves; returns what happened."""
    draw, story, done, best = random.Random(seed), [], 0, False
    last = f'epoch_{reference["meta"]["epoch"]}.pth'
    while len(story) < kills:
        kind = ('while writing', 'at a call', 'at a time')[len(story) % 3]
        environment = dict(DIE_AT_CALL=draw.randint(1, 100)) if kind == 'at a call' else {}
        before = len(training.new_log())
        (process,) = training.start(resume=True, **environment)
        begin, wait, files, written = None, draw.uniform(0, 8), draw.randint(1, 5), set()
        while process.exitcode is None:
            written |= {path.name for path in training.work_dir.glob('.*.pth.*.tmp')}
            if kind == 'while writing' and len(written) >= files:
                time.sleep(draw.uniform(0, 0.02))
                process.kill()
            if kind == 'at a time' and begin is None and 'Checkpoints will' in training.new_log(before):
                begin = time.monotonic()
            if begin is not None and time.monotonic() - begin > wait:
                process.kill()
            process.join(0.002)
        log = training.new_log(before)
        assert process.exitcode in (-signal.SIGKILL, 0), log[-3000:]
        # It went on from the last finished checkpoint.
        resumed = re.search(r'resumed .*: epoch \d+, iteration (\d+)', log)
        assert resumed is None or int(resumed[1]) == done, log[-3000:]
        now = finished(training.work_dir)
        assert now >= done
        found = latest_checkpoint(training.work_dir)
        assert (0 if found is None else load_pickle(found)['meta']['iter']) == now
        # A checkpoint comes every two iterations, and no iteration runs while one is written.
        lost = done + log.count('Epoch(train)') - now
        assert lost <= 2
        found_best = list(training.work_dir.glob('best_*.pth'))
        assert found_best or not best, 'the best checkpoint is gone'
        best = bool(found_best)
        if process.exitcode == 0:
            # It was faster than the kill: begin again from nothing.
            assert_same_training(training.content(last), reference)
            for path in training.work_dir.glob('*.pth'):
                path.unlink()
            (training.work_dir / 'last_checkpoint').unlink()
            done, best = 0, False
            continue
        story.append(f'{kind}: iteration {done} -> {now}, {lost} lost')
        done = now
    training.run(resume=True)
    assert_same_training(training.content(last), reference)
    names = sorted(path.name for path in training.work_dir.iterdir() if re.search(r'\.pth|\.tmp', path.name))
    epoch = reference['meta']['epoch']
    assert names == [f'best_test_score_{last}', f'epoch_{epoch - 1}.pth', last]
    return story


def test_three_kills(site, forks, reference):
    kill_loop(Training(site, forks, 'kills'), reference, kills=3, seed=0)


@pytest.mark.slow
def test_twenty_kills(site, forks):
    options = ('train_cfg.max_epochs=6', *WORKERS)
    whole = Training(site, forks, 'six_epochs', *options)
    whole.run()
    story = kill_loop(Training(site, forks, 'twenty', *options), whole.content('epoch_6.pth'), kills=20, seed=1)
    print('\n'.join(story))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob('*.pth'))


@pytest.fixture(scope='module')
def one_epoch(site, forks) -> Training:
    training = Training(site, forks, 'one_epoch', 'train_cfg.max_epochs=1')
    training.run()
    assert names(training.work_dir) == ['best_test_score_epoch_1.pth', 'epoch_1.pth']
    return training


@pytest.mark.parametrize('how', ['copy', 'load_from', 'crafted'])
def test_resuming_touches_no_file_of_another_run(site, forks, one_epoch, how):
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
    if how == 'load_from':
        log = training.run(resume=True)
        assert 'is not read: this work dir holds a later epoch_2.pth' in log
        assert re.search(r'resumed \S*from_load_from/epoch_2.pth', log)


@pytest.mark.parametrize('kind', ['loss', 'gradient'])
def test_nan_stops_all_processes_with_the_samples(site, forks, kind):
    training = Training(site, forks, f'nan_{kind}', 'train_dataloader.batch_size=1', processes=2)
    log = training.run(expect=2, POISON_RANK=1, POISON_AT=4, POISON_KIND=kind)
    lines = [line for line in log.splitlines() if line.startswith('error: ')]
    assert len(lines) == 1, log
    what = r'the loss is nan on rank 1 for sample \S+;' if kind == 'loss' else 'the gradient is not finite'
    assert re.match(rf'error: epoch 1, iteration 4: {what}', lines[0])
    assert finished(training.work_dir) == 2
    # Fourth iteration: the optimizer had made three steps, and the last checkpoint is of the second.
    assert latest_checkpoint(training.work_dir).name == 'resume_iter_2.pth'


@pytest.mark.parametrize(('number', 'words'), [(signal.SIGKILL, 'memory'), (signal.SIGBUS, 'shared memory')])
def test_a_dead_worker_is_named(site, forks, number, words):
    training = Training(site, forks, f'worker{int(number)}', 'train_dataloader.num_workers=1')
    log = training.run(expect=2, resume=True, WORKER_SIGNAL=int(number))
    assert 'nothing to resume in' in log
    (line,) = re.findall(r'error: .*', log)
    assert re.match(r'error: rank 0: data loader worker \d+ was lost \(killed by signal: ', line), line
    assert words in line


@pytest.mark.slow
@pytest.mark.ci
def test_torchrun_restarts_by_itself(site, forks):
    """tools/dist_train.sh with MAX_RESTARTS: both processes go on from the last checkpoint, bitwise."""
    options = ('train_cfg.max_epochs=1',)
    whole = Training(site, forks, 'whole_restart', *options, processes=2)
    whole.run()
    # A checkpoint of an older run in the same work dir is not this run's.
    (site / 'restarted').mkdir()
    (site / 'restarted/epoch_7.pth').write_bytes((whole.work_dir / 'epoch_1.pth').read_bytes())
    command = [ROOT / 'tools/dist_train.sh', 'config.py', '2', '--work-dir', 'restarted', '--cfg-options', *options]
    paths = dict(PYTHONPATH=f'{ROOT}/tests', PATH=f'{Path(os.sys.executable).parent}:{os.environ["PATH"]}')
    environment = {
        **os.environ,
        **paths,
        'OMP_NUM_THREADS': '1',
        'MAX_RESTARTS': '1',
        'DIE_AFTER': '3',
    }
    done = subprocess.run(list(map(str, command)), cwd=site, env=environment, capture_output=True, text=True)
    log = done.stdout + done.stderr
    assert done.returncode == 0, log[-3000:]
    assert re.search(r'resumed \S*restarted/resume_iter_2.pth', log)
    assert_same_training(load_pickle(site / 'restarted/epoch_1.pth'), whole.content('epoch_1.pth'))
