"""Trainings whose every start is a process of its own, to kill, resume and compare bit by bit."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

from helpers import survival_site
from helpers.tiny import SIZE, UNION_SIZE
from helpers.training_site import CONFIG, free_port, ranks
from rs2sam2.synthetic.dataset import build_demo_dataset
from rs2sam2.weights.files import load_pickle

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


def make_site(folder: Path) -> Path:
    """Drawn scenes, and the config of a tiny training on them with every source of randomness; returns the folder."""
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
        port = free_port()
        started = []
        for rank in range(self.processes):
            own = {key: str(value) for key, value in environment.items()}
            env = {**ranks(rank, self.processes, port), **own}
            arguments = (argv, str(self.site), str(self.log), env)
            started.append(self.forks.Process(target=survival_site.train, args=arguments))
            started[-1].start()
        return started

    def run(self, expect: int = 0, **options: object) -> str:
        """Start and wait; returns what this start logged."""
        before = len(self.new_log())
        started = self.start(**options)
        for process in started:
            process.join(120)
            process.kill()
            process.join()
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
