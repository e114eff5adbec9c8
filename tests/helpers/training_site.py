"""A folder to train in: drawn scenes and the config of a tiny model; and how tools are run there."""

import multiprocessing
import os
import runpy
import socket
import subprocess
import sys
import tempfile
import warnings
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest

from helpers.layout import leave_layout_out
from helpers.paths import ROOT
from helpers.tiny import SIZE, TEXT_DIM, TINY_BEIT3, TINY_HIERA, UNION_SIZE
from rs2sam2.synthetic.dataset import build_demo_dataset

CONFIG = f"""
_base_ = ['{ROOT}/configs/rs2sam2_tiny_demo.py']
model = dict(
    text_dim={TEXT_DIM},
    union_encoder=dict(arch=dict(_delete_=True, **{TINY_BEIT3}), image_size={UNION_SIZE}, patch_size=8),
    backbone=dict(arch=dict(_delete_=True, **{TINY_HIERA}), out_channels={TEXT_DIM}),
    neck=dict(text_dim={TEXT_DIM}),
    mask_prompt_generator=dict(dim={TINY_BEIT3['dim']}),
    decode_head=dict(image_size={SIZE}, dim={TEXT_DIM}, mlp_dim=64, text_gate=dict(dim={TEXT_DIM}), losses=[
        dict(type='ReferringCrossEntropyLoss'),
        dict(type='ReferringDiceLoss'),
        dict(type='TextGuidedBoundaryLoss', text_dim={TEXT_DIM}),
        dict(type='PseudoMaskLoss'),
        dict(type='IoUScoreLoss'),
        dict(type='PresenceLoss'),
    ]),
)
train_cfg = dict(max_epochs=1)
param_scheduler = []
default_hooks = dict(logger=dict(interval=1))
"""


def make_site(folder: Path) -> Path:
    """Drawn scenes, and a config that fits them with views of the tests' size; returns the folder."""
    build_demo_dataset(folder / 'data', dict(train=3, val=2, test=3), size=96, no_target_share=0.2)
    text = CONFIG
    for split in ('train', 'val', 'test'):
        pipeline = [
            dict(type='LoadRGBImage'),
            dict(type='LoadReferringMask'),
            dict(type='ResizeTwoViews', size=SIZE, union_size=UNION_SIZE, resize_mask=split == 'train'),
            dict(
                type='TokenizeExpression',
                tokenizer=dict(type='RefSegTokenizer', path=f'{folder}/data/tokenizer', num_pieces=165),
            ),
            dict(type='PackRefSegInputs'),
        ]
        dataset = dict(data_root=f'{folder}/data', pipeline=pipeline)
        text += f'{split}_dataloader = dict(batch_size=2, num_workers=0, persistent_workers=False, dataset={dataset})\n'
    (folder / 'config.py').write_text(text)
    return folder


def run(*args, processes: int = 0, torchrun: bool = False, cwd: Path, expect: int = 0) -> str:
    """Run a tool as a user does, alone or on several gloo processes; returns stdout and stderr.

    The processes are forks that have the imports behind them, which are most of the work of a tool at tiny size; those
    of torchrun are not.
    """
    arguments = [str(one) for one in args] + (['--launcher', 'pytorch'] if processes else [])
    with tempfile.NamedTemporaryFile() as log:
        if torchrun:
            launch = ['-m', 'torch.distributed.run', '--standalone', f'--nproc_per_node={processes}']
            command = [sys.executable, '-W', 'ignore', *launch, *arguments]
            env = {**os.environ, 'OMP_NUM_THREADS': '1'}
            codes = {subprocess.run(command, cwd=cwd, env=env, stdout=log, stderr=subprocess.STDOUT).returncode}
        else:
            port = free_port()
            environments = [ranks(rank, processes, port) for rank in range(processes)] or [{}]
            started = [
                imported().Process(target=_start, args=(arguments, str(cwd), log.name, environment))
                for environment in environments
            ]
            for process in started:
                process.start()
            for process in started:
                process.join()
            codes = {process.exitcode for process in started}
        said = Path(log.name).read_text()
    assert codes == {expect}, said[-6000:]
    return said


def ranks(rank: int, processes: int, port: int) -> dict[str, str]:
    """What torchrun tells its processes."""
    told = dict(RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=processes, MASTER_ADDR='127.0.0.1', MASTER_PORT=port)
    return {key: str(value) for key, value in told.items()}


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def imported() -> Any:
    """A context whose processes are forks of one that has imported what the tools import."""
    context = multiprocessing.get_context('forkserver')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('PYTHONPATH', str(ROOT / 'tests'), prepend=os.pathsep)
        patch.setenv('OMP_NUM_THREADS', '1')
        context.set_forkserver_preload(['rs2sam2', 'rs2sam2.engine.launch', 'helpers.survival_site'])
        forkserver.ensure_running()
    return context


def _start(arguments: list[str], folder: str, log: str, environment: dict[str, str]) -> None:
    leave_layout_out()
    os.chdir(folder)
    os.environ.update(environment, OMP_NUM_THREADS='1')
    output = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    warnings.simplefilter('ignore')
    sys.argv = arguments
    runpy.run_path(arguments[0], run_name='__main__')
