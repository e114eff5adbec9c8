"""Every shipped config: built at tiny size, its optimizer groups, its data sets, what it says."""

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import DATASETS, HOOKS, METRICS, OPTIM_WRAPPER_CONSTRUCTORS

from helpers.paths import CONFIGS, ROOT
from helpers.tiny import random_batch, random_target, tiny_model
from rs2sam2.engine.optim_groups import describe
from rs2sam2.errors import ConfigError
from rs2sam2.structures import RefSegDataSample


def groups_of(config: str):
    """The model at tiny size and the constructor that the config names."""
    cfg = Config.fromfile(ROOT / config)
    model = tiny_model(config)
    wrapper = dict(cfg.optim_wrapper)
    constructor = OPTIM_WRAPPER_CONSTRUCTORS.build(
        dict(
            type=wrapper.pop('constructor'),
            paramwise_cfg=wrapper.pop('paramwise_cfg', None),
            optim_wrapper_cfg=dict(type='OptimWrapper', optimizer=dict(wrapper['optimizer'])),
        )
    )
    return model, constructor, cfg


@pytest.mark.parametrize('config', CONFIGS)
def test_a_parameter_requires_a_gradient_if_and_only_if_it_gets_one(config):
    model = tiny_model(config).train()
    samples = [RefSegDataSample(gt_sem_seg=PixelData(data=one)) for one in random_target(3)]
    sum(model.loss(random_batch(), samples).values()).backward()
    wrong = [name for name, p in model.named_parameters() if p.requires_grad != (p.grad is not None)]
    assert not wrong


@pytest.mark.parametrize('config', CONFIGS)
def test_every_parameter_is_in_exactly_one_group(config):
    model, constructor, cfg = groups_of(config)
    groups = constructor.split(model)
    names = [name for members in groups.values() for name, _ in members]
    assert sorted(names) == sorted(name for name, _ in model.named_parameters())
    optimizer = constructor(model).optimizer
    assert {id(p) for group in optimizer.param_groups for p in group['params']} == {
        id(p) for p in model.parameters() if p.requires_grad
    }
    lr = cfg.optim_wrapper.optimizer.lr
    rates = {group['name']: group['lr'] for group in optimizer.param_groups}
    assert rates['base'] == lr
    if 'fusion' in rates:
        assert rates['fusion'] == pytest.approx(
            lr * cfg.optim_wrapper.get('paramwise_cfg', {}).get('fusion_lr_mult', 1)
        )
        fusion = {name.split('.')[0] for name, _ in groups['fusion']}
        chosen = cfg.optim_wrapper.get('paramwise_cfg', {}).get('fusion', constructor.FUSION)
        assert fusion <= {prefix.split('.')[0] for prefix in chosen}


@pytest.mark.parametrize('config', CONFIGS)
def test_data_sets_metrics_and_hooks_are_registered(config):
    cfg = Config.fromfile(ROOT / config)
    init_default_scope(cfg.default_scope)
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        for dataset in map(dict, loader.dataset.get('datasets', [loader.dataset])):
            pipeline = [step for step in dataset.pop('pipeline') if step.type != 'TokenizeExpression']
            DATASETS.build(dict(dataset, pipeline=pipeline, lazy_init=True))
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        METRICS.build(evaluator)
    for hook in (*cfg.get('custom_hooks', ()), cfg.default_hooks.visualization):
        HOOKS.build(dict(hook))


@pytest.mark.parametrize('config', CONFIGS)
def test_best_checkpoint_is_never_chosen_on_the_test_split(config):
    cfg = Config.fromfile(ROOT / config)
    assert cfg.val_dataloader.dataset.split == 'val'
    assert cfg.test_dataloader.dataset.split == 'test'
    # LAVT's and RMSIN's release choose by oIoU, RS2-SAM2's by the sum.
    released = cfg.model.type in ('LAVT', 'RMSIN') and 'tiny' not in config
    assert cfg.default_hooks.checkpoint.save_best == ('rrsis/oIoU' if released else 'rrsis/mIoU+oIoU')


@pytest.mark.parametrize('config', CONFIGS)
def test_no_path_of_a_persons_machine(config):
    text = Config.fromfile(ROOT / config).pretty_text
    assert not any(mark in text for mark in ("'/", '"/', '~/', 'home'))


@pytest.mark.parametrize(
    ('config', 'lr', 'fusion', 'epochs', 'milestones', 'hard'),
    [
        ('rs2sam2_rrsisd', 1e-5, 5e-5, 40, [30], False),
        ('rs2sam2_rrsisd_released', 5e-5, 1e-4, 40, None, True),
        ('rs2sam2_refsegrs', 5e-5, 1e-4, 60, [50], False),
        ('rs2sam2_refsegrs_released', 5e-5, 1e-4, 60, [50], True),
    ],
)
def test_published_schedules(config, lr, fusion, epochs, milestones, hard):
    cfg = Config.fromfile(ROOT / f'configs/{config}.py')
    assert cfg.optim_wrapper.optimizer.lr == lr
    assert cfg.optim_wrapper.optimizer.weight_decay == 1e-2
    assert lr * cfg.optim_wrapper.paramwise_cfg.fusion_lr_mult == pytest.approx(fusion)
    assert cfg.train_cfg.max_epochs == epochs
    assert [s.milestones for s in cfg.param_scheduler] == ([milestones] if milestones else [])
    assert cfg.optim_wrapper.type == 'AmpOptimWrapper'
    assert cfg.optim_wrapper.dtype == 'bfloat16'
    ce, dice, boundary = cfg.model.decode_head.losses
    assert (ce.loss_weight, dice.loss_weight, boundary.loss_weight, boundary.hard) == (0.9, 0.1, 0.2, hard)
    assert cfg.model.backbone.arch == cfg.model.union_encoder.arch == 'large'


@pytest.mark.parametrize('name', ['rrsisd', 'refsegrs'])
def test_one_gpu_has_the_effective_batch_of_eight(name):
    eight, one = (Config.fromfile(ROOT / f'configs/rs2sam2_{name}{end}.py') for end in ('', '_1gpu'))
    assert (
        one.optim_wrapper.accumulative_counts * one.train_dataloader.batch_size == eight.auto_scale_lr.base_batch_size
    )


def test_what_is_kept_for_conversion_is_listed():
    model, constructor, _ = groups_of('configs/rs2sam2_rrsisd.py')
    text = describe(constructor.split(model), dict(base=1e-5, fusion=5e-5))
    last = len(model.neck.slots) - 1
    for name in ('decode_head.prompt_encoder.no_mask_embed', f'neck.slots.{last}.fusion.text_out'):
        assert name in text
    assert '5.0e-05' in text


def test_groups_refuse_unknown_keys_and_a_frozen_model():
    model, constructor, _ = groups_of('configs/rs2sam2_rrsisd.py')
    with pytest.raises(ConfigError, match='lr_mult'):
        type(constructor)(dict(optimizer=dict(type='AdamW', lr=1e-4)), dict(lr_mult=2))
    model.requires_grad_(False)
    with pytest.raises(ConfigError, match='no parameter that trains'):
        constructor(model)


def test_published_parameter_count():
    """2,693 of the 2,853 released entries are used (spec, section 9); ours hold as many numbers."""
    torch.set_default_device('meta')
    try:
        from rs2sam2.models.rs2sam2.fusion import BidirectionalHierarchicalFusion

        neck = BidirectionalHierarchicalFusion([144] * 2 + [288] * 6 + [576] * 36 + [1152] * 4)
    finally:
        torch.set_default_device('cpu')
    assert len(neck.state_dict()) == 48 * 20
