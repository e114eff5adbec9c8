"""Schedules run forward to where training stands, for every kind of them, without training."""

import copy

import pytest
import torch
from mmengine.optim import OptimWrapper
from mmseg.registry import PARAM_SCHEDULERS
from torch import nn

from rs2sam2.engine.optim_groups import refuse_other_state
from rs2sam2.engine.settings import TrainingSettings
from rs2sam2.errors import CheckpointError

LENGTH, EPOCHS = 5, 4
SCHEDULES = {
    'step': [dict(type='StepLR', step_size=2, gamma=0.3)],
    'multi-step by iterations': [dict(type='MultiStepLR', milestones=[3, 9, 9], gamma=0.5, by_epoch=False)],
    'exponential': [dict(type='ExponentialLR', gamma=0.9, by_epoch=False)],
    'poly': [dict(type='PolyLR', power=0.9, eta_min=1e-5, end=20, by_epoch=False)],
    'warm-up, cosine': [
        dict(type='LinearLR', start_factor=0.1, end=7, by_epoch=False),
        dict(type='CosineAnnealingLR', T_max=EPOCHS, by_epoch=True, convert_to_iter_based=True),
    ],
    'restarts': [dict(type='CosineRestartLR', periods=[7, 13], restart_weights=[1, 0.5], eta_min=0, by_epoch=False)],
    'one cycle': [dict(type='OneCycleLR', eta_max=0.1, total_steps=20, by_epoch=False)],
    'constant, betas': [
        dict(type='ConstantLR', factor=0.5, end=6, by_epoch=False),
        dict(type='ConstantMomentum', factor=0.5, end=2),
    ],
    'none': [],
}


def build(schedules, lr: float = 0.01, optimizer=torch.optim.AdamW, **options):
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    groups = [dict(params=one.parameters(), lr=lr * factor) for one, factor in zip(model, (1, 2), strict=True)]
    wrapper = OptimWrapper(optimizer(groups, lr=lr, **options))
    built = [
        PARAM_SCHEDULERS.build(dict(one), default_args=dict(optimizer=wrapper, epoch_length=LENGTH))
        for one in schedules
    ]
    return model, wrapper, built


def train(model, wrapper, schedules, iterations: int) -> None:
    for iteration in range(1, iterations + 1):
        wrapper.update_params(model(torch.ones(1, 2)).sum())
        for schedule in schedules:
            if not schedule.by_epoch or iteration % LENGTH == 0:
                schedule.step()


def groups(wrapper) -> list[dict]:
    return [{key: value for key, value in group.items() if key != 'params'} for group in wrapper.param_groups]


def states(schedules) -> list[dict]:
    return [{k: v for k, v in one.state_dict().items() if not callable(v)} for one in schedules]


def resume(saved, saved_schedules, wrapper, schedules, iterations: int) -> list[str]:
    settings = TrainingSettings(wrapper, schedules)
    everything = [*saved['param_groups'], *([saved['base_param_settings']] if 'base_param_settings' in saved else [])]
    wrapper.load_state_dict(copy.deepcopy(saved))
    changes = settings.changes(everything, saved_schedules)
    if changes:
        settings.restore(iterations // LENGTH, iterations, LENGTH)
    return changes


@pytest.mark.parametrize('iterations', [3, 10, 12])
@pytest.mark.parametrize('name', SCHEDULES)
def test_a_changed_rate_follows_its_schedule(name, iterations):
    options = dict(optimizer=torch.optim.SGD, momentum=0.9) if 'betas' in name else {}
    trained = build(SCHEDULES[name], **options)
    train(*trained, iterations)
    saved, saved_schedules = copy.deepcopy(trained[1].state_dict()), copy.deepcopy(states(trained[2]))
    changed = dict(options, lr=0.003, weight_decay=0.2)
    want = build(SCHEDULES[name], **changed)
    train(*want, iterations)
    model, wrapper, schedules = build(SCHEDULES[name], **changed)
    changes = resume(saved, saved_schedules, wrapper, schedules, iterations)
    # One cycle has rates of its own.
    assert any(one.startswith('lr') for one in changes) == (name != 'one cycle')
    assert any(one.startswith('weight_decay') for one in changes)
    assert groups(wrapper) == groups(want[1])
    assert states(schedules) == states(want[2])
    parameter = next(model.parameters())
    kept = 'momentum_buffer' if options else 'exp_avg'
    assert torch.equal(wrapper.optimizer.state[parameter][kept], saved['state'][0][kept])


@pytest.mark.parametrize('name', SCHEDULES)
def test_the_same_config_changes_nothing(name):
    options = dict(optimizer=torch.optim.SGD, momentum=0.9) if 'betas' in name else {}
    trained = build(SCHEDULES[name], **options)
    train(*trained, 12)
    _, wrapper, schedules = build(SCHEDULES[name], **options)
    saved = copy.deepcopy(trained[1].state_dict())
    assert resume(saved, states(trained[2]), wrapper, schedules, 12) == []


def test_another_schedule_takes_the_place_of_the_old_one():
    trained = build(SCHEDULES['step'])
    train(*trained, 12)
    saved = copy.deepcopy(trained[1].state_dict())
    for name, words in (('poly', 'PolyLR as in the config'), ('none', 'schedules 0 (checkpoint: 1)')):
        want = build(SCHEDULES[name])
        train(*want, 12)
        _, wrapper, schedules = build(SCHEDULES[name])
        changes = resume(saved, states(trained[2]), wrapper, schedules, 12)
        assert any(words in one for one in changes), changes
        assert groups(wrapper) == groups(want[1])
    _, wrapper, schedules = build(SCHEDULES['step'])
    assert resume(saved, None, wrapper, schedules, 12) == ['StepLR as in the config (checkpoint: none)']
    assert groups(wrapper) == groups(trained[1])


def test_a_schedule_by_score_goes_on_as_it_was_or_not_at_all():
    schedule = [dict(type='ReduceOnPlateauLR', monitor='score', rule='greater', patience=1)]
    trained = build(schedule)
    train(*trained, 10)
    saved = copy.deepcopy(trained[1].state_dict())
    _, wrapper, schedules = build(schedule)
    assert resume(saved, states(trained[2]), wrapper, schedules, 10) == []
    _, wrapper, schedules = build(schedule, lr=0.5)
    with pytest.raises(CheckpointError, match='ReduceOnPlateauLR depends on past scores'):
        resume(saved, states(trained[2]), wrapper, schedules, 10)


@pytest.mark.parametrize(
    ('optimizer', 'options', 'words'),
    [
        (torch.optim.SGD, {}, 'it is of AdamW, the config has SGD'),
        (torch.optim.AdamW, dict(amsgrad=True), 'trained without amsgrad'),
        (torch.optim.RMSprop, {}, 'it is of AdamW'),
    ],
)
def test_other_optimizers(optimizer, options, words):
    trained = build([])
    train(*trained, 2)
    other = build([], optimizer=optimizer, **options)[1].optimizer
    saved = trained[1].state_dict()
    with pytest.raises(CheckpointError, match=words):
        refuse_other_state(other, saved, 'AdamW')
    with pytest.raises(CheckpointError, match=r'another kind of optimizer|without amsgrad'):
        refuse_other_state(other, saved)
    refuse_other_state(trained[1].optimizer, saved, 'AdamW')


@pytest.mark.parametrize('value', [float('nan'), float('inf'), 1e300])
def test_a_state_that_is_not_finite_is_refused(value):
    trained = build([])
    train(*trained, 1)
    saved = trained[1].state_dict()
    saved['state'][1]['exp_avg'] = saved['state'][1]['exp_avg'].double()
    saved['state'][1]['exp_avg'][0] = value
    with pytest.raises(CheckpointError, match='exp_avg of parameter 1 holds NaN or infinity'):
        refuse_other_state(trained[1].optimizer, saved, 'AdamW')
    for damage in (dict(param_groups=3), dict(state=[1]), dict(param_groups=[1])):
        with pytest.raises(CheckpointError, match='it is damaged'):
            refuse_other_state(trained[1].optimizer, {**saved, **damage})
