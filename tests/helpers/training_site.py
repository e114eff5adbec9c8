"""A folder to train in: drawn scenes and the config of a tiny model; and how tools are run there."""

import os
import subprocess
import sys
from pathlib import Path

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


def run(*args, processes: int = 0, cwd: Path, expect: int = 0) -> str:
    """Run a tool as a user does, alone or on several gloo processes; returns stdout and stderr."""
    launch = ['-m', 'torch.distributed.run', '--standalone', f'--nproc_per_node={processes}'] if processes else []
    launcher = ['--launcher', 'pytorch'] if processes else []
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', *launch, *map(str, args), *launcher],
        cwd=cwd,
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
    )
    assert done.returncode == expect, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr
