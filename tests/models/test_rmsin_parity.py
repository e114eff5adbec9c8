"""RMSIN and LAVT at full size: a file of the released form -> our configs -> the numbers of the released networks."""

import gc
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS, OPTIM_WRAPPER_CONSTRUCTORS
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from helpers.paths import ROOT
from helpers.released_rmsin import save_released, vectors, whole_state
from rs2sam2.models.common.losses import LossInputs
from rs2sam2.structures import ReferringBatch, RefSegDataSample
from rs2sam2.weights.adapters import ADAPTERS
from rs2sam2.weights.files import open_state_dict
from rs2sam2.weights.loading import adapter_of, load_into

pytestmark = [pytest.mark.slow, pytest.mark.shared, pytest.mark.ci]
SOURCE = {'rmsin': 'rmsin', 'lavt': 'lavt-one'}
CASES = {'rmsin': ('case0', 'case1', 'case1_bn'), 'lavt': ('case0', 'case1', 'case2')}
# Neither reaches any output: biases before a norm or a softmax over what they shift.
ZERO = 1e-6


@pytest.fixture(scope='module')
def parity(shared: Path) -> Path:
    return shared / 'parity_rmsin'


@pytest.fixture(scope='module')
def oracle(parity: Path) -> ModuleType:
    return vectors(parity)


@pytest.fixture(scope='module', params=['rmsin', 'lavt'])
def released(request: pytest.FixtureRequest, parity: Path, tmp_path_factory: pytest.TempPathFactory):
    """Which network, and our model of it from a file of the released form."""
    which = request.param
    path = save_released(tmp_path_factory.mktemp(which) / f'model_best_{which}.pth', whole_state(parity, which))
    init_default_scope('mmseg')
    model = MODELS.build(Config.fromfile(ROOT / f'configs/{which}_rrsisd.py').model)
    file = open_state_dict(path)
    assert adapter_of(file, model) is ADAPTERS[SOURCE[which]]
    plan = load_into(model, adapter_of(file, model), file)
    assert all(name.endswith(('relative_position_index', 'num_batches_tracked')) for name in plan.dropped)
    path.unlink()
    yield which, model.eval()
    gc.collect()


@pytest.mark.parametrize('number', range(3))
def test_every_array_of_the_released_network(released, parity: Path, oracle: ModuleType, number: int) -> None:
    which, model = released
    case = CASES[which][number]
    reference, table = np.load(parity / f'{which}_{case}.npz'), json.loads((parity / 'rmsin_arrays.json').read_text())
    expected = json.loads((parity / f'{which}_{case}.json').read_text())
    batch, target = batch_of(oracle, case)
    with Arrays(model) as arrays, Statistics(model, of_the_batch=case.endswith('bn')) as statistics:
        with torch.inference_mode():
            logits = model.encode_decode(batch).mask_logits
        running = statistics.sums()
    errors = {
        name: far(sliced(one, table[name]), reference[name], expected['std'][name]) for name, one in arrays.items()
    }
    # The two logits are decided on by their difference, which is what we carry.
    difference = reference['logits'][:, 1:] - reference['logits'][:, :1]
    errors['logits'] = far(sliced(logits, table['logits']), difference, expected['std']['logits'])
    assert set(errors) == set(reference.files)
    print(which, case, 'over the spread:', max(errors.items(), key=lambda item: item[1]))
    assert max(errors.values()) < 2e-4, errors
    losses = losses_of(model, logits, target)
    assert losses == pytest.approx({name: expected['losses'][name] for name in losses}, rel=1e-4)
    mask, target = logits[:, 0] > 0, target > 0
    for ours, theirs in ((mask & target, expected['intersection']), (mask | target, expected['union'])):
        assert (ours.sum((1, 2)) - torch.tensor(theirs)).abs().max() <= 3
    names = ADAPTERS[SOURCE[which]].table
    theirs = {names.to_ours(name): value for name, value in expected.get('running', {}).items()}
    assert {name: running[name] for name in theirs} == pytest.approx(theirs, rel=1e-4, abs=1e-4)
    assert len(theirs) == (len(running) if case.endswith('bn') else 0)


def test_gradients_and_losses_in_float64(released, parity: Path, oracle: ModuleType) -> None:
    which, model = released
    expected = json.loads((parity / f'{which}_case0.json').read_text())
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    # What the released optimizer never updates has a gradient all the same.
    model.text_encoder.requires_grad_(True)
    model.double()
    try:
        batch, target = batch_of(oracle, 'case0', torch.float64)
        samples = [RefSegDataSample(gt_sem_seg=PixelData(data=one[None])) for one in target]
        losses = model.loss(batch, samples)
        sum(losses.values()).backward()
        norms = {name: None if p.grad is None else p.grad.norm().item() for name, p in model.named_parameters()}
    finally:
        model.zero_grad()
        model.float()
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name in learning)
    found = {
        name.removeprefix('loss_'): losses[name].item() / loss.loss_weight
        for name, loss in model.decode_head.losses.items()
    }
    assert found == pytest.approx({name: expected['losses_fp64'][name] for name in found}, rel=1e-9)
    names = ADAPTERS[SOURCE[which]].table
    theirs = {names.to_ours(name): norm for name, norm in expected['gradient_norms'].items()}
    assert {name for name, norm in norms.items() if norm is None} == {n for n, norm in theirs.items() if norm is None}
    errors = {name: abs(norms[name] - norm) / max(norm, ZERO) for name, norm in theirs.items() if norm is not None}
    print(which, 'gradient norms, relative:', max(errors.items(), key=lambda item: item[1]))
    assert max(errors.values()) < 1e-6, {name: error for name, error in errors.items() if error >= 1e-6}


def test_groups_of_the_released_optimizer(released, parity: Path) -> None:
    which, model = released
    parameters = json.loads((parity / f'{which}_names.json').read_text())['parameters']
    table = ADAPTERS[SOURCE[which]].table
    cfg = Config.fromfile(ROOT / f'configs/{which}_rrsisd.py')
    constructor = OPTIM_WRAPPER_CONSTRUCTORS.build(
        dict(type=cfg.optim_wrapper.constructor, paramwise_cfg=cfg.optim_wrapper.paramwise_cfg, optim_wrapper_cfg={})
    )
    groups = {group: {name for name, _ in members} for group, members in constructor.split(model).items()}
    assert not groups['fusion']
    for name, entry in parameters.items():
        # Without a gradient AdamW leaves a parameter as it is, whatever its group.
        never = entry['group'] is None or entry.get('used') is False
        group = 'frozen' if never else 'no_decay' if entry['group'] == 1 else 'base'
        assert table.to_ours(name) in groups[group], name


def batch_of(oracle: ModuleType, case: str, dtype: torch.dtype = torch.float32) -> tuple[ReferringBatch, Tensor]:
    image, ids, mask = oracle.case(int(case[4]))
    return ReferringBatch(image.to(dtype), None, ids, mask.bool()), oracle.target(len(image), *image.shape[2:])


def losses_of(model: nn.Module, logits: Tensor, target: Tensor) -> dict[str, float]:
    """The losses by the vectors' names, without their weights; and what RMSIN trains on."""
    inputs = LossInputs(logits, target[:, None].float())
    weighted = {name.removeprefix('loss_'): loss(inputs).item() for name, loss in model.decode_head.losses.items()}
    plain = {name: value / model.decode_head.losses[f'loss_{name}'].loss_weight for name, value in weighted.items()}
    return {**plain, 'total': sum(weighted.values())} if 'dice' in plain else plain


def far(ours: np.ndarray, reference: np.ndarray, spread: float) -> float:
    assert ours.shape == reference.shape
    return float(np.abs(ours - reference).max() / spread)


def sliced(array: Tensor, table: dict) -> np.ndarray:
    axes = table['slice'].strip('[]').split(', ')
    return array[tuple(slice(*(int(n) if n else None for n in axis.split(':'))) for axis in axes)].numpy()


class Arrays(dict):
    """Notes what each part of the network gives, under the names of rmsin_arrays.json and in their forms."""

    def __init__(self, model: nn.Module) -> None:
        self.hooks = []
        backbone, head = model.backbone, model.decode_head
        self.note('text', model.text_encoder)
        self.note('patch', backbone.patch_embed, lambda out: out[0].transpose(1, 2).unflatten(2, out[1]))
        for i, stage in enumerate(backbone.stages):
            self.note(f's{i}_blocks', stage.blocks[-1])
            self.note(f's{i}_att', stage.fusion.attention, lambda out: out.transpose(1, 2))
            self.note(f's{i}_pwam', stage.fusion)
            self.note(f's{i}_norm', backbone.norms[i])
            if stage.visual_branch is not None:
                self.note(f's{i}_vrb', stage.visual_branch)
        for i, merge in enumerate(backbone.merges):
            self.note(f's{i}_down', merge, lambda out: out.flatten(1, 2))
        for k, level in zip((4, 3, 2), head.levels, strict=True):
            self.note(f'dec{k}', level)
            if hasattr(level[3], 'routing'):
                self.note(f'arc{k}', level[3].routing, lambda out: torch.stack(out, dim=-1))
        self.note('logits_low', head.score)
        if hasattr(model, 'neck'):
            self.note_neck(model.neck)

    def note(self, name: str, module: nn.Module, form=lambda out: out) -> None:
        self.hooks.append(module.register_forward_hook(lambda _, args, out: self.update({name: form(out)})))

    def note_neck(self, neck: nn.Module) -> None:
        across, within, again, mlp = neck.blocks[0]
        self.hooks.append(
            neck.down.register_forward_hook(lambda _, args, out: self.update(cim_pool=args[0], cim_in=out))
        )
        for name, module in dict(csa1=across, intra=within, csa2=again, ff=mlp, up=neck.up).items():
            self.note(f'cim_{name}', module)
        self.note('cim_attn1', across.module.attention)
        for i, inject in enumerate(neck.inject):
            self.note(f'cim_out{i}', inject)

    def __enter__(self) -> 'Arrays':
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self.hooks:
            hook.remove()


class Statistics:
    """Lets batch norms take the batch's statistics, alone of all layers in training mode; puts them back afterwards."""

    def __init__(self, model: nn.Module, of_the_batch: bool) -> None:
        self.norms = {name: module for name, module in model.named_modules() if isinstance(module, _BatchNorm)}
        self.before = {name: norm.state_dict() for name, norm in self.norms.items()}
        self.before = {name: {k: v.clone() for k, v in state.items()} for name, state in self.before.items()}
        for norm in self.norms.values():
            norm.train(of_the_batch)

    def sums(self) -> dict[str, float]:
        kinds = ('running_mean', 'running_var')
        return {
            f'{name}.{kind}': getattr(norm, kind).sum().item() for name, norm in self.norms.items() for kind in kinds
        }

    def __enter__(self) -> 'Statistics':
        return self

    def __exit__(self, *_: object) -> None:
        for name, norm in self.norms.items():
            norm.eval().load_state_dict(self.before[name])
