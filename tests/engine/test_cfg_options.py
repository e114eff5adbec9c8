"""`--cfg-options`: what a part of the config takes goes through; a key that leads nowhere is refused in one line."""

import argparse
import copy

import pytest
from mmengine.config import Config

from helpers.paths import CONFIGS, ROOT
from rs2sam2.engine.arguments import launch_parser
from rs2sam2.engine.cfg_options import merge_options
from rs2sam2.engine.config_file import read_config_file
from rs2sam2.engine.config_keys import FOR_BUILDERS, SECTIONS, refuse_unknown_keys, taken
from rs2sam2.engine.launch import load_config
from rs2sam2.errors import ConfigError


@pytest.fixture(scope='module')
def demo() -> Config:
    return read_config_file(str(ROOT / 'configs/rs2sam2_tiny_demo.py'))


def changed(demo: Config, *pairs: str) -> Config:
    """The config after a command line with these options."""
    args = launch_parser(None).parse_args(['config.py', '--cfg-options', *pairs])
    cfg = copy.deepcopy(demo)
    merge_options(cfg, args.cfg_options)
    return cfg


@pytest.mark.parametrize(
    ('pair', 'said'),
    [
        # Typos at every depth, with the name that was meant.
        ('trainer_cfg.max_epochs=1', 'has no trainer_cfg (did you mean train_cfg?)'),
        ('model.decode_hed.mlp_dim=3', 'model (RS2SAM2) has no decode_hed (did you mean decode_head?)'),
        ('model.backbone.frozzen=True', 'model.backbone (SAM2Hiera) has no frozzen (did you mean frozen?)'),
        ('train_dataloader.batchsize=2', 'train_dataloader has no batchsize (did you mean batch_size?)'),
        ('train_dataloader.sampler.suffle=False', '(DefaultSampler) has no suffle (did you mean shuffle?)'),
        ('train_dataloader.dataset.pipeline.2.sise=9', 'pipeline.2 (ResizeTwoViews) has no sise (did you mean size?)'),
        ('test_dataloader.dataset.indexes=3', '(RRSISDDataset) has no indexes (did you mean indices?)'),
        ('train_cfg.max_epoch=1', 'train_cfg (ResumableTrainLoop) has no max_epoch (did you mean max_epochs?)'),
        ('optim_wrapper.optimiser.lr=1', 'has no optimiser (did you mean optimizer?)'),
        ('optim_wrapper.optimizer.Ir=1', '(AdamW) has no Ir; it has '),
        ('param_scheduler.0.gamma=1', '(LinearLR) has no gamma; it has '),
        ('default_hooks.checkpoint.intervall=2', '(DurableCheckpointHook) has no intervall (did you mean interval?)'),
        ('default_hooks.chekpoint.interval=2', 'default_hooks has no chekpoint (did you mean checkpoint?)'),
        ('default_hooks.mine.interval=2', 'default_hooks has no mine'),
        ('test_evaluator.protocoll=x', '(RRSISMetric) has no protocoll (did you mean protocol?)'),
        ('randomness.seeds=1', 'randomness has no seeds (did you mean seed?)'),
        ('env_cfg.cudnn=1', 'env_cfg has no cudnn; it has cudnn_benchmark'),
        ('auto_scale_lr.enabled=True', 'auto_scale_lr has no enabled (did you mean enable?)'),
        ('scene.windows=3', 'scene has no windows (did you mean window?)'),
        ('nothing_of_the_kind=3', 'has no nothing_of_the_kind; it has '),
        # Places that are not there.
        ('train_dataloader.dataset.pipeline.9.size=1', 'is a list of 5, it has no entry 9'),
        ('train_dataloader.dataset.pipeline.size=1', 'is a list of 5, it has no entry size'),
        ('load_from.path=1', 'load_from is None and has no path'),
        # Variables that the config was written with: mmengine would change them and nothing else.
        ('data_root=/data', 'data_root is a variable of the config file'),
        ('tokenizer.path=x', 'it went into test_dataloader.dataset.pipeline.3.tokenizer, train_dataloader'),
        ('train_pipeline.2.size=3', 'it went into train_dataloader.dataset.pipeline: set these'),
        # What is no pair.
        ('resume', 'resume: write key=value'),
        ('a = 3', 'write key=value'),
        ('=3', 'write key=value'),
        ('model..neck=3', 'write key=value'),
        ('model.neck=[(1,2]', 'brackets do not fit'),
    ],
)
def test_a_key_that_leads_nowhere_is_refused(demo, pair, said):
    with pytest.raises(ConfigError) as error:
        changed(demo, pair)
    assert said in str(error.value)
    assert str(error.value).startswith(f'--cfg-options {pair.split("=")[0]}')
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(
    ('pair', 'value'),
    [
        # What the config has.
        ('train_cfg.max_epochs=1', 1),
        ('train_dataloader.dataset.pipeline.2.size=64', 64),
        ('optim_wrapper.optimizer.lr=1e-3', 1e-3),
        ('val_dataloader=None', None),
        ('param_scheduler=[]', []),
        ('model.union_encoder.arch=large', 'large'),
        # What its parts take, though the config does not say it.
        ('optim_wrapper.accumulative_counts=8', 8),
        ('train_dataloader.prefetch_factor=4', 4),
        ('train_dataloader.dataset.indices=2', 2),
        ('train_dataloader.num_batch_per_epoch=2', 2),
        ('test_dataloader.dataset.control=shuffled_images', 'shuffled_images'),
        ('model.backbone.frozen=True', True),
        ('model.union_encoder.lora.r=4', 4),
        ('default_hooks.checkpoint.save_last=False', False),
        ('param_scheduler.0.end_factor=0.5', 0.5),
        ('val_cfg.fp16=True', True),
        ('test_evaluator.results_file=x.jsonl', 'x.jsonl'),
        ('visualizer.save_dir=x', 'x'),
        ('log_processor.window_size=5', 5),
        ('env_cfg.dist_cfg.timeout=60', 60),
        ('scene.gsd=0.3', 0.3),
        ('experiment_name=mine', 'mine'),
        ('model_wrapper_cfg.type=FullyShardedModel', 'FullyShardedModel'),
        ('find_unused_parameters=True', True),
    ],
)
def test_what_a_part_takes_goes_through(demo, pair, value):
    node = changed(demo, pair)
    for key in pair.split('=')[0].split('.'):
        node = node[int(key)] if isinstance(node, list) else node[key]
    assert node == value


def test_a_hook_or_a_part_can_be_put_in_with_its_type(demo):
    hooks = changed(demo, 'default_hooks.ema.type=EMAHook', 'default_hooks.ema.momentum=0.1').default_hooks
    assert hooks.ema == dict(type='EMAHook', momentum=0.1)
    parts = ['model.neck._delete_=True', 'model.neck.type=Another', 'model.neck.width=3']
    assert changed(demo, *parts).model.neck == dict(type='Another', width=3)


def test_contradicting_options_are_refused(demo):
    with pytest.raises(ConfigError, match=r'model\.neck'):
        changed(demo, 'model.neck=None', 'model.neck.reader=linear')


def said(node, place: str = ''):
    """Every key that a config says, with its place."""
    parts = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, (list, tuple)) else ()
    for key, value in parts:
        if isinstance(node, dict):
            yield place, node, key
        yield from said(value, f'{place}.{key}'.strip('.'))


@pytest.mark.parametrize('config', CONFIGS)
def test_no_key_of_a_shipped_config_would_be_refused(config):
    """The other way round: each of their keys, were it given as an option to the same config without it."""
    cfg = Config.fromfile(ROOT / config)
    for place, node, key in said({name: cfg[name] for name in SECTIONS & set(cfg)}):
        if key not in FOR_BUILDERS and not (place == 'default_hooks' or place.startswith('custom_imports')):
            takes = taken(place, node.get('type'))
            assert key in takes.names or not takes.is_all, (place, key)


def test_flags_keep_argparses_own_errors():
    with pytest.raises(SystemExit):
        launch_parser(None).parse_args([])
    assert isinstance(launch_parser(None), argparse.ArgumentParser)


@pytest.mark.parametrize('config', CONFIGS)
def test_shipped_configs_say_nothing_unknown(config):
    refuse_unknown_keys(Config.fromfile(ROOT / config))


@pytest.mark.parametrize(
    ('line', 'words'),
    [
        ('optim_wraper = dict()', 'optim_wraper is no section of a config (did you mean optim_wrapper?)'),
        ('model = dict(decode_hed=dict())', 'model (RS2SAM2) has no decode_hed (did you mean decode_head?)'),
        ('default_hooks = dict(checkpoint=dict(intervall=2))', 'has no intervall (did you mean interval?)'),
        ('optim_wrapper = dict(clip_grad=dict(max_nrm=1.0))', 'clip_grad has no max_nrm (did you mean max_norm?)'),
        ('randomness = dict(sed=1)', 'randomness has no sed (did you mean seed?)'),
        ('env_cfg = dict(cudnn=1)', 'env_cfg has no cudnn; it has cudnn_benchmark'),
        ('scene = dict(windows=3)', 'scene has no windows (did you mean window?)'),
    ],
)
def test_a_slip_in_a_config_file_is_refused(tmp_path, line, words):
    path = tmp_path / 'mine.py'
    path.write_text(f"_base_ = ['{ROOT}/configs/rs2sam2_tiny_demo.py']\n{line}\n")
    with pytest.raises(ConfigError) as error:
        load_config(str(path), None, 'none', None)
    assert str(error.value).startswith(f'{path}: ')
    assert words in str(error.value)


def test_a_variable_may_be_called_anything_else(tmp_path):
    path = tmp_path / 'mine.py'
    lines = 'train_data = optim_wrapper_cfg = dict()\nmy_train_dataloader = dict(batch=1)\nnum_epochs = 7\n'
    path.write_text(f"_base_ = ['{ROOT}/configs/rs2sam2_tiny_demo.py']\n" + lines)
    assert load_config(str(path), None, 'none', None).num_epochs == 7
