"""Trainings that are killed, go on, and end bitwise where an uninterrupted one ends; NaN and dead workers."""

import os
import random
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from helpers.paths import ROOT
from helpers.trainings import Training, assert_same_training
from rs2sam2.engine.work_dir import NAME, latest_checkpoint
from rs2sam2.weights.files import load_pickle, open_state_dict

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


@pytest.mark.slow
@pytest.mark.ci
def test_three_kills(site, forks, reference):
    kill_loop(Training(site, forks, 'kills'), reference, kills=3, seed=0)


@pytest.mark.slow
def test_twenty_kills(site, forks):
    options = ('train_cfg.max_epochs=6', *WORKERS)
    whole = Training(site, forks, 'six_epochs', *options)
    whole.run()
    story = kill_loop(Training(site, forks, 'twenty', *options), whole.content('epoch_6.pth'), kills=20, seed=1)
    print('\n'.join(story))


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
