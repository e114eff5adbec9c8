"""Signals to stop: a checkpoint is written where training can go on from, and it goes on as if nothing had been."""

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from helpers.paths import ROOT
from helpers.trainings import Training, assert_same_training
from rs2sam2.engine.work_dir import latest_checkpoint
from rs2sam2.signals import end_by_signals, stop_by_exception
from rs2sam2.weights.files import load_pickle

TERM, USR1 = int(signal.SIGTERM), int(signal.SIGUSR1)
WORKERS = ('train_dataloader.num_workers=2', 'train_dataloader.persistent_workers=True')
# A checkpoint comes only when it is asked for.
SELDOM = 'default_hooks.checkpoint.every_iters=None'


@pytest.mark.parametrize(
    ('after', 'options', 'checkpoint'),
    [
        (f'3:{TERM}:group', (SELDOM, *WORKERS), 'resume_iter_4.pth'),
        (f'5:{USR1}', (SELDOM,), 'epoch_1.pth'),
        (f'val1:{USR1}', (SELDOM, 'val_dataloader.batch_size=1'), 'epoch_1.pth'),
    ],
    ids=['within an epoch', 'at its end', 'in validation'],
)
def test_a_stopped_training_goes_on_bitwise(site, forks, reference, after, options, checkpoint):
    name = re.sub(r'\W', '', after)
    training = Training(site, forks, f'stopped{name}', *options)
    number = int(after.split(':')[1])
    log = training.run(expect=128 + number, SIGNAL_AFTER=after)
    (line,) = re.findall(r'stopped by .*', log)
    assert line.startswith(f'stopped by {signal.Signals(number).name}; --resume goes on from ')
    assert line.endswith(checkpoint)
    assert 'Traceback' not in log
    assert latest_checkpoint(training.work_dir).name == checkpoint
    log = training.run(resume=True)
    assert re.search(rf'resumed \S*{checkpoint}', log)
    assert_same_training(training.content(), reference)
    assert not list(training.work_dir.glob('resume_iter_*'))
    assert not list(training.work_dir.glob('.*.tmp'))


@pytest.mark.slow
@pytest.mark.ci
def test_a_signal_to_one_process_stops_both_at_one_place(site, forks):
    options = ('train_dataloader.batch_size=1', 'optim_wrapper.accumulative_counts=2', SELDOM)
    whole, training = (Training(site, forks, f'{name}_pair', *options, processes=2) for name in ('whole', 'stopped'))
    whole.run()
    before = len(training.new_log())
    started = training.start(SIGNAL_AFTER=f'3:{USR1}', SIGNAL_RANK=1)
    for process in started:
        process.join(300)
    assert [process.exitcode for process in started] == [128 + USR1] * 2, training.new_log(before)
    assert latest_checkpoint(training.work_dir).name == 'resume_iter_4.pth', 'between two windows'
    assert training.new_log(before).count('stopped by SIGUSR1; --resume goes on from') == 1
    training.run(resume=True)
    assert_same_training(training.content(), whole.content())


def test_a_job_that_slurm_queues_again_goes_on_by_itself(site, forks, reference):
    training = Training(site, forks, 'slurm', SELDOM)
    training.run(expect=128 + TERM, SIGNAL_AFTER=f'3:{TERM}', SLURM_JOB_ID=77)
    log = training.run(SLURM_JOB_ID=77, SLURM_RESTART_COUNT=1)
    assert re.search(r'resumed \S*resume_iter_4.pth', log)
    assert_same_training(training.content(), reference)
    again = Training(site, forks, 'slurm', SELDOM, 'train_cfg.max_epochs=1')
    assert 'resumed' not in again.run(SLURM_JOB_ID=78, SLURM_RESTART_COUNT=1), 'another job'


def test_interrupted_before_there_is_anything_to_save(site):
    """As a user does it: Ctrl+C while the data are read, or at any moment after it."""
    command = [sys.executable, ROOT / 'tools/train.py', 'config.py', '--work-dir', 'interrupted']
    pipes = dict(stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    process = subprocess.Popen(command, cwd=site, env={**os.environ, 'PYTHONPATH': str(ROOT / 'tests')}, **pipes)
    while not (site / 'interrupted').is_dir() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    error = process.communicate(timeout=300)[1]
    assert process.returncode == 130, error
    assert [line for line in error.splitlines() if 'stopped by SIGINT' in line]
    assert 'Traceback' not in error


def test_two_trainings_in_one_work_dir(site, forks):
    """The second one says who holds it, and leaves everything as it was."""
    first = Training(site, forks, 'shared_dir')
    (process,) = first.start(SIGNAL_AFTER=f'2:{int(signal.SIGSTOP)}')
    while '.started' not in {path.name for path in first.work_dir.glob('.*')} and process.is_alive():
        time.sleep(0.05)
    second = Training(site, forks, 'shared_dir', 'train_cfg.max_epochs=1')
    second.log = site / 'second.log'
    (line,) = re.findall(r'error: .*', second.run(expect=2))
    assert re.search(rf'shared_dir is in use by process {process.pid} on \S+ since .*choose another --work-dir', line)
    process.kill()
    process.join()
    second.run()
    assert load_pickle(first.work_dir / 'epoch_1.pth')['meta']['epoch'] == 1
    assert not (first.work_dir / '.lock').exists()


def test_a_worker_of_a_pool_ends_at_once():
    """Where it inherits a handler of Python's, a lock that it waits for keeps it from ending, and the pool from too."""
    with stop_by_exception(), multiprocessing.get_context('fork').Pool(1, end_by_signals) as pool:
        assert pool.apply(signal.getsignal, (TERM,)) == signal.SIG_DFL
        assert pool.apply(signal.getsignal, (USR1,)) == signal.SIG_DFL
