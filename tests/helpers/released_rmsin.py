"""LAVT's and RMSIN's checkpoints as their training scripts write them, and the vectors of /shared/parity_rmsin."""

import argparse
import importlib.util
import json
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor


def vectors(folder: Path) -> ModuleType:
    """The module that makes the released weights, inputs and targets."""
    spec = importlib.util.spec_from_file_location('rmsin_weights', folder / 'rmsin_weights.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def whole_state(folder: Path, which: str) -> dict[str, Tensor]:
    """The released state dict with its integer buffers; those hold nothing that a model may take over."""
    state = vectors(folder).state_dict(which)
    table = json.loads((folder / f'{which}_names.json').read_text())
    for name, entry in table['buffers'].items():
        if name not in state:
            state[name] = torch.zeros(entry['shape'], dtype=torch.int64)
    return {name: state[name] for name in (*table['parameters'], *table['buffers'])}


def save_released(path: Path, state: dict[str, Tensor], bert: dict[str, Tensor] | None = None, **args) -> Path:
    """Write the outer dict: weights, optimizer, epoch, command line, schedule; BERT's weights beside where given."""
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([dict(params=[weight], weight_decay=0.0)], lr=3e-5)
    weight.sum().backward()
    optimizer.step()
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: (1 - step / 60920) ** 0.9)
    content = dict(
        model=state,
        optimizer=optimizer.state_dict(),
        epoch=39,
        args=argparse.Namespace(model='lavt_one', swin_type='base', window12=True, mha='', lr=3e-5, split=None, **args),
        lr_scheduler=schedule.state_dict(),
    )
    if bert is not None:
        content['bert_model'] = bert
    torch.save(content, path)
    return path
