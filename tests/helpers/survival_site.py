"""What the tests of survival put into a training: kills, NaN, a score that grows. A config imports it by name."""

import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import torch
from mmcv.transforms import BaseTransform
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.logging import MessageHub
from mmseg.registry import HOOKS, METRICS, MODELS, TRANSFORMS
from torch import nn
from torch.utils.data import get_worker_info

from helpers.layout import leave_layout_out
from helpers.paths import ROOT


def accident(name: str) -> str | None:
    """What the environment says shall happen, in the first start of a run only."""
    return os.environ.get(name) if os.environ.get('TORCHELASTIC_RESTART_COUNT', '0') == '0' else None


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_at_call(number: int) -> None:
    """Make the process die at the n-th call of those that checkpoints are made of, before it or after it."""
    calls = 0

    def counted(function):
        def call(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls == number:
                die()
            result = function(*args, **kwargs)
            calls += 1
            if calls == number:
                die()
            return result

        return call

    os.fsync, os.replace, Path.unlink = counted(os.fsync), counted(os.replace), counted(Path.unlink)
    torch.save = counted(torch.save)


def train(argv: list[str], folder: str, log: str, environment: dict[str, str]) -> None:
    """Run tools/train.py in this process, which has its own group; the log goes to a file."""
    leave_layout_out()
    os.setsid()
    os.chdir(folder)
    os.environ.update(environment)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    if accident('DIE_AT_CALL'):
        die_at_call(int(accident('DIE_AT_CALL')))
    sys.argv = ['train.py', *argv]
    runpy.run_path(str(ROOT / 'tools/train.py'), run_name='__main__')


def signal_after(place: object) -> None:
    after, number, *group = os.environ.get('SIGNAL_AFTER', ':0').split(':')
    if after == str(place) and os.environ.get('SIGNAL_RANK', os.environ['RANK']) == os.environ['RANK']:
        # A group gets it from another process, as from Slurm: what a training sends its own workers is another matter.
        subprocess.run(
            ['kill', f'-{number}', '--', f'-{os.getpid()}' if group else str(os.getpid())],
            check=True,
            start_new_session=True,
        )


@HOOKS.register_module()
class DieHook(Hook):
    """Kills the process after so many iterations of all epochs (DIE_AFTER), or in an epoch's validation.

    SIGNAL_AFTER=<iterations>:<signal>[:group] sends a signal to it, or to its workers too.
    """

    priority = 'LOWEST'

    def after_train_iter(self, runner, **kwargs) -> None:
        if accident('DIE_AFTER') and runner.iter + 1 == int(accident('DIE_AFTER')):
            die()

        signal_after(runner.iter + 1)

    def after_val_iter(self, runner, **kwargs) -> None:
        signal_after(f'val{runner.epoch}')

    def before_val(self, runner) -> None:
        if accident('DIE_IN_VALIDATION') and runner.epoch == int(accident('DIE_IN_VALIDATION')):
            die()


@METRICS.register_module()
class EpochScore(BaseMetric):
    """A score that is better after every epoch: the number of iterations."""

    default_prefix = 'test'

    def process(self, data_batch, data_samples) -> None:
        self.results.extend(0 for _ in data_samples)

    def compute_metrics(self, results) -> dict:
        return dict(score=float(len(MessageHub.get_current_instance().get_scalar('train/loss').data[0])))


@MODELS.register_module()
class PoisonLoss(nn.Module):
    """Zero; on one process (POISON_RANK) from its n-th call (POISON_AT) on NaN, or only its gradient (POISON_KIND)."""

    name, reads_text = 'loss_poison', False
    calls = 0

    def forward(self, inputs) -> torch.Tensor:
        self.calls += 1
        zero = inputs.mask_logits.sum() * 0
        here = os.environ.get('POISON_RANK') == os.environ.get('RANK', '0')
        if not here or self.calls < int(os.environ['POISON_AT']):
            return zero
        return zero.sqrt() if os.environ.get('POISON_KIND') == 'gradient' else zero * float('nan')


@TRANSFORMS.register_module()
class DieInWorker(BaseTransform):
    """Kills the worker of a data loader by a signal (WORKER_SIGNAL) at its third sample."""

    calls = 0

    def transform(self, results: dict) -> dict:
        self.calls += 1
        if get_worker_info() is not None and accident('WORKER_SIGNAL') and self.calls == 3:
            os.kill(os.getpid(), int(accident('WORKER_SIGNAL')))
        return results
