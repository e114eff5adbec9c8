"""Sharded training on two gloo processes is DDP's: steps, checkpoints in both directions, resuming."""

import copy
import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from mmengine.structures import PixelData
from mmseg.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from helpers.paths import ROOT
from helpers.processes import in_processes
from helpers.tiny import random_batch, random_target, shrink, tiny_model
from helpers.training_site import make_site, run
from rs2sam2.engine.launch import build_runner, fit_to_device, load_config
from rs2sam2.engine.optim_groups import refuse_other_state
from rs2sam2.engine.sharding import FullyShardedModel
from rs2sam2.errors import CheckpointError, ConfigError
from rs2sam2.structures import ReferringBatch, RefSegDataSample

CHECKPOINTING = {'model.backbone.checkpoint_stages': (0, 1, 2, 3), 'model.union_encoder.checkpointing': True}
CASES = {
    'plain': {},
    'checkpointing': CHECKPOINTING,
    'lora': {'model.union_encoder.train': 'lora', 'model.union_encoder.lora': dict(r=4, alpha=8), **CHECKPOINTING},
}
OPTIMIZERS = {
    'SGD': dict(optimizer=dict(type='SGD', lr=1.0)),
    # With the default eps of 1e-8 a first step is the sign of a gradient, and so of rounding noise where that is zero.
    'AdamW': dict(optimizer=dict(type='AdamW', lr=1e-3, weight_decay=1e-2, eps=1e-4, fused=True)),
    'accumulated': dict(optimizer=dict(type='SGD', lr=1.0), accumulative_counts=2, clip_grad=dict(max_norm=0.1)),
}
STEPS = {'plain': ['SGD', 'AdamW', 'accumulated'], 'checkpointing': ['AdamW'], 'lora': ['AdamW']}
WORLD = 2


@pytest.fixture(scope='module')
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn scenes with a test split, and the metric that a user has."""
    return make_site(tmp_path_factory.mktemp('site'))


def batch(part: slice, seed: int = 0) -> dict:
    """A part of a batch of two, as the preprocessor leaves it."""
    samples = [RefSegDataSample(gt_sem_seg=PixelData(data=one)) for one in random_target(2, seed)]
    return dict(
        inputs=ReferringBatch(*(field[part] for field in random_batch((5, 9), seed))), data_samples=samples[part]
    )


def build_wrapper(model: nn.Module, options: dict) -> OptimWrapper:
    cfg = dict(type='OptimWrapper', **{**options, 'optimizer': dict(options['optimizer'])})
    constructor = dict(type='RefSegOptimWrapperConstructor', paramwise_cfg=dict(fusion_lr_mult=2.0))
    return OPTIM_WRAPPER_CONSTRUCTORS.build(dict(constructor, optim_wrapper_cfg=cfg))(model)


def without_preprocessor(model: nn.Module) -> nn.Module:
    """The model takes what its preprocessor would have made."""
    model.data_preprocessor = _Identity()
    return model


class _Identity(nn.Module):
    def forward(self, data: dict, training: bool = False) -> dict:
        return data


def whole(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def one_step(model: nn.Module, options: dict, part: slice) -> tuple[dict, dict, float]:
    """Gradients, weights after one update, and the norm of the gradients that was logged (0 for none)."""
    wrapper = build_wrapper(model, options)
    # One for the whole process: of what ran before there may be some.
    wrapper.message_hub.log_scalars.pop('train/grad_norm', None)
    gradients = {}
    plain = model.module if hasattr(model, 'module') else model

    def remember(*_: object) -> None:
        gradients.update({name: whole(p.grad).clone() for name, p in plain.named_parameters() if p.requires_grad})

    wrapper.optimizer.register_step_pre_hook(remember)
    for seed in range(options.get('accumulative_counts', 1)):
        model.train_step(batch(part, seed), wrapper)
    weights = {name: whole(tensor).detach().clone() for name, tensor in plain.state_dict().items()}
    norms = wrapper.message_hub.log_scalars.pop('train/grad_norm', None)
    return gradients, weights, 0.0 if norms is None else float(norms.current())


def build(wrap, case: str) -> nn.Module:
    return wrap(without_preprocessor(tiny_model(**CASES[case]).train()))


def ddp(model: nn.Module) -> nn.Module:
    return MMDistributedDataParallel(model, broadcast_buffers=False)


def in_a_process(rank: int) -> dict:
    """Everything that needs two processes and no runner, in one start of them."""
    part = slice(rank, rank + 1)
    return dict(
        steps={
            (case, name): [one_step(build(wrap, case), OPTIMIZERS[name], part) for wrap in (FullyShardedModel, ddp)]
            for case, names in STEPS.items()
            for name in names
        },
        sizes=sizes(FullyShardedModel(tiny_model())),
        skipped=inf_on_one_process(rank),
        evaluated=logits(FullyShardedModel(tiny_model()).eval().module),
    )


def sizes(model: nn.Module) -> dict[str, tuple[int, int, int]]:
    """Numbers of every parameter: in the whole, in this process's part, and in the memory that the part keeps alive.

    The optimizer states are asserted to be as large as the part.
    """
    wrapper = build_wrapper(without_preprocessor(model.module), OPTIMIZERS['AdamW'])
    model.train_step(batch(slice(0, 1)), wrapper)
    found = {}
    for name, parameter in model.module.named_parameters():
        part = parameter.to_local()
        stored = part.untyped_storage().nbytes() // part.itemsize
        for key in ('exp_avg', 'exp_avg_sq') if parameter.requires_grad else ():
            assert wrapper.optimizer.state[parameter][key].to_local().numel() == part.numel()
        found[name] = parameter.numel(), part.numel(), stored
    return found


def inf_on_one_process(rank: int) -> bool:
    """Whether a step is left out in this process where the gradient of another one overflowed."""
    model = build(FullyShardedModel, 'plain').module
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0)
    scaler = torch.amp.GradScaler('cpu', init_scale=2.0)
    scaler.scale(sum(model(**batch(slice(rank, rank + 1)), mode='loss').values())).backward()
    gradient = model.text_proj.weight.grad.to_local()
    if rank == 1:
        gradient.view(-1)[0] = float('inf')
    before = model.text_proj.weight.to_local().clone()
    scaler.step(optimizer)
    scaler.update()
    return torch.equal(before, model.text_proj.weight.to_local()) and scaler.get_scale() == 1.0


@torch.no_grad()
def logits(model: nn.Module) -> Tensor:
    """What evaluation computes, units gathered one by one."""
    return model(random_batch((5, 9)), mode='tensor').mask_logits


@pytest.fixture(scope='module')
def found(tmp_path_factory) -> list[dict]:
    return in_processes(in_a_process, WORLD, tmp_path_factory.mktemp('processes'))


@pytest.mark.parametrize(('case', 'name'), [(case, name) for case, names in STEPS.items() for name in names])
def test_step_is_that_of_ddp_and_of_one_process_with_twice_the_batch(case, name, found):
    model = build(lambda model: model, case)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    alone = one_step(model, OPTIMIZERS[name], slice(0, 2))
    for rank in range(WORLD):
        sharded, replicated = found[rank]['steps'][case, name]
        for theirs in (replicated, alone):
            for ours, other in zip(sharded, theirs, strict=True):
                torch.testing.assert_close(ours, other, atol=1e-5, rtol=1e-5)
    gradients, weights, norm = alone
    assert gradients.keys() == {key for key, p in model.named_parameters() if p.requires_grad}
    moved = [key for key in before if not torch.equal(before[key], weights[key])]
    assert len(moved) > 0.9 * len(gradients)
    assert norm > 0.1 or 'clip_grad' not in OPTIMIZERS[name]


def test_every_process_holds_its_half_and_nothing_more(found):
    first, second = (one['sizes'] for one in found)
    shapes = {name: p.shape for name, p in tiny_model().named_parameters()}
    assert first.keys() == second.keys() == shapes.keys()
    for name, (size, part, stored) in first.items():
        # Rows are divided; the last process has fewer where they do not divide, its memory is padded to the same size.
        half = -(-shapes[name][0] // WORLD) * shapes[name][1:].numel()
        assert part == half
        assert part + second[name][1] == size == shapes[name].numel()
        assert max(stored, second[name][2]) == half
    # The frozen backbone is divided too.
    assert sum(stored for _, _, stored in first.values()) < 0.51 * sum(size for size, _, _ in first.values())


def test_a_gradient_that_overflows_in_one_process_skips_the_step_in_all(found):
    assert [one['skipped'] for one in found] == [True, True]


def test_evaluation_is_that_of_the_whole_model(found):
    expected = logits(tiny_model().eval())
    for one in found:
        torch.testing.assert_close(one['evaluated'], expected, atol=1e-6, rtol=1e-5)


def test_units_that_name_nothing_are_refused():
    with pytest.raises(ConfigError, match=r'units: no part of RS2SAM2 is named encoder\.layers'):
        FullyShardedModel(tiny_model(), units=[r'encoder.layers'])


# Whole trainings by tools/train.py.
SHARDED = dict(model_wrapper_cfg=dict(type='FullyShardedModel'))
TRAINING = dict(
    train_cfg=dict(max_epochs=2, val_interval=1),
    train_dataloader=dict(batch_size=1, dataset=dict(indices=4)),
    val_dataloader=dict(dataset=dict(indices=3)),
    optim_wrapper=dict(optimizer=dict(eps=1e-4, fused=True)),
)


JOBS = {
    'sharded': (None, SHARDED),
    'ddp': (None, {}),
    'sharded_from_sharded': ('sharded', SHARDED),
    'sharded_from_ddp': ('ddp', SHARDED),
    'ddp_from_sharded': ('sharded', {}),
}
"""Work dir: whose first epoch it goes on from, and what its config has more."""


def load(rank: int, folder: str) -> dict[str, bool]:
    """Whether the model of each kind of training loads the weights of both kinds bit by bit."""
    os.environ['LOCAL_RANK'] = str(rank)
    os.chdir(folder)
    exact = {}
    for kind in ('sharded', 'ddp'):
        cfg = load_config(f'{kind}.py', None, 'none', f'loaded_{kind}')
        fit_to_device(cfg)
        cfg.update(launcher='pytorch', experiment_name=kind, visualizer=dict(name=kind))
        cfg.setdefault('model_wrapper_cfg', dict(type='MMDistributedDataParallel', device_ids=None))
        runner = build_runner(cfg)
        for other in ('ddp', 'sharded'):
            runner.load_checkpoint(f'{other}/epoch_1.pth')
            expected = torch.load(f'{other}/epoch_1.pth', weights_only=False)['state_dict']
            loaded = {key: whole(tensor) for key, tensor in runner.bare_model.state_dict().items()}
            exact[f'{kind} loads {other}'] = all(torch.equal(loaded[key], expected[key]) for key in expected)
    return exact


@pytest.fixture(scope='module')
def trained(site) -> Path:
    """The folder of the jobs' work dirs."""
    for name, (begun, options) in JOBS.items():
        lines = [f'{key} = {value!r}' for key, value in (TRAINING | options).items()]
        (site / f'{name}.py').write_text('\n'.join(["_base_ = ['config.py']", *lines]))
        command = [ROOT / 'tools/train.py', f'{name}.py', '--work-dir', name]
        if begun:
            (site / name).mkdir()
            shutil.copy(site / begun / 'epoch_1.pth', site / name)
            command.append('--resume')
        run(*command, processes=WORLD, cwd=site)
    return site


def test_each_kind_loads_the_weights_of_both(trained):
    for one in in_processes(load, WORLD, trained / 'processes', str(trained)):
        assert len(one) == 4
        assert all(one.values()), one


def checkpoint_of(folder: Path, epoch: int = 2) -> dict:
    return torch.load(folder / f'epoch_{epoch}.pth', weights_only=False)


def flat(checkpoint: dict) -> dict[str, Tensor]:
    """Weights and optimizer states by name."""
    states = {
        f'{index} {key}': value
        for index, state in checkpoint['optimizer']['state'].items()
        for key, value in state.items()
    }
    assert len(states) > 300
    return checkpoint['state_dict'] | states


@pytest.mark.parametrize('epoch', [1, 2])
def test_a_training_writes_the_checkpoints_that_ddp_writes(trained, epoch):
    sharded, ddp = (checkpoint_of(trained / name, epoch) for name in ('sharded', 'ddp'))
    assert all(type(tensor) is Tensor for tensor in flat(sharded).values())
    assert sharded['optimizer']['param_groups'] == ddp['optimizer']['param_groups']
    assert list(sharded['state_dict']) == list(ddp['state_dict'])
    torch.testing.assert_close(flat(sharded), flat(ddp), atol=1e-5, rtol=1e-5)
    before, after = (checkpoint_of(trained / 'sharded', epoch)['state_dict'] for epoch in (1, 2))
    assert not torch.equal(before['text_proj.weight'], after['text_proj.weight'])


def test_resuming_sharded_goes_on_as_if_never_stopped(trained):
    once, resumed = (flat(checkpoint_of(trained / name)) for name in ('sharded', 'sharded_from_sharded'))
    assert once.keys() == resumed.keys()
    assert [key for key in once if not torch.equal(once[key], resumed[key])] == []


@pytest.mark.parametrize('name', ['sharded_from_ddp', 'ddp_from_sharded'])
def test_optimizer_states_go_from_one_kind_to_the_other(trained, name):
    resumed, ddp = (flat(checkpoint_of(trained / one)) for one in (name, 'ddp'))
    torch.testing.assert_close(resumed, ddp, atol=1e-5, rtol=1e-5)


def test_one_process_loads_a_sharded_checkpoint(trained):
    cfg = load_config(str(trained / 'config.py'), None, 'none', str(trained / 'alone'))
    cfg.experiment_name = 'alone'
    runner = build_runner(cfg)
    runner.load_checkpoint(str(trained / 'sharded/epoch_2.pth'))
    expected = checkpoint_of(trained / 'sharded')['state_dict']
    assert all(torch.equal(tensor, expected[key]) for key, tensor in runner.model.state_dict().items())


def test_optimizer_states_of_another_model_are_refused_in_one_line(trained):
    model = tiny_model()
    wrapper = build_wrapper(model, OPTIMIZERS['AdamW'])
    state = copy.deepcopy(checkpoint_of(trained / 'sharded')['optimizer'])
    with pytest.raises(
        CheckpointError, match=r'does not fit this training: groups of \[\d+, \d+\] tensors, .* load_from'
    ) as error:
        refuse_other_state(wrapper.optimizer, state)
    assert '\n' not in str(error.value)
    state = wrapper.optimizer.state_dict()
    refuse_other_state(wrapper.optimizer, state)
    state['state'][0] = dict(step=torch.tensor(1.0), exp_avg=torch.zeros(3, 3))
    with pytest.raises(CheckpointError, match=r'does not fit this training: exp_avg of \(3, 3\) for a parameter of '):
        refuse_other_state(wrapper.optimizer, state)


@pytest.mark.slow
def test_the_shipped_config_trains_and_tests(site):
    """At tiny size, by the tools, as a user starts them: an epoch with validation, then a test."""
    cfg, drawn = Config.fromfile(ROOT / 'configs/rs2sam2_rrsisd_sharded.py'), Config.fromfile(site / 'config.py')
    assert cfg.model.union_encoder.checkpointing
    cfg.model = shrink(cfg.model)
    for part in (cfg.model.union_encoder, cfg.model.data_preprocessor):
        part.update(vocab_size=175, max_text_length=62)
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader', 'val_evaluator', 'test_evaluator'):
        cfg[key] = drawn[key]
    cfg.train_cfg.max_epochs = 1
    cfg.dump(site / 'shipped.py')
    log = run(ROOT / 'tools/train.py', 'shipped.py', '--work-dir', 'shipped', processes=2, cwd=site)
    assert 'sharded over 2 processes' in log
    rows = {}
    for processes in (0, 2):
        out = site / f'shipped_out{processes}'
        command = [ROOT / 'tools/test.py', 'shipped.py', 'shipped/epoch_1.pth', '--work-dir', out, '--out', out]
        run(*command, processes=processes, cwd=site)
        rows[processes] = [json.loads(line) for line in (out / 'results.jsonl').read_text().splitlines()]
    assert len(rows[0]) == len({row['sample_id'] for row in rows[0]}) == len(rows[2])
    for one, two in zip(rows[0], rows[2], strict=True):
        whole_numbers = [
            {key: value for key, value in row.items() if isinstance(value, (int, str))} for row in (one, two)
        ]
        assert whole_numbers[0] == whole_numbers[1]
