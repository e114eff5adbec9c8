"""What a config says and no part of it can be is one line of what is wrong: at the latest when it is met."""

from types import SimpleNamespace

import pytest
from mmcv.transforms import BaseTransform, Compose
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmseg.registry import HOOKS, MODELS, TRANSFORMS
from PIL import Image
from torch import nn

import rs2sam2  # noqa: F401
from rs2sam2.datasets.jsonl import JSONLRefSegDataset
from rs2sam2.engine.checked_runner import CheckedRunner
from rs2sam2.engine.checkpoint_hook import DurableCheckpointHook
from rs2sam2.engine.optim_groups import RefSegOptimWrapperConstructor
from rs2sam2.engine.registered import config_mistake
from rs2sam2.errors import ConfigError
from rs2sam2.models.common.preprocessor import RefSegDataPreProcessor


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('mmseg'):
        yield


@pytest.mark.parametrize(
    ('build', 'words'),
    [
        (lambda folder: Runner(None, str(folder)), 'the config does not fit: model should be a nn.Module object'),
        (
            lambda folder: Runner(nn.Linear(1, 1), str(folder), val_cfg={}),
            'the config does not fit: val_dataloader, val_cfg, and val_evaluator should be either all None',
        ),
        (
            lambda folder: MODELS.build(dict(type='BEiT3UnionEncoder', image_size=63)),
            'the config does not fit: image_size 63 is not a multiple of patch_size',
        ),
        (lambda folder: HOOKS.build(dict(typ='CurvesHook')), "a part of the config has no type: {'typ': 'CurvesHook'}"),
        (
            lambda folder: TRANSFORMS.build(dict(type='ResizeTwoViews', sise=3)),
            "got an unexpected keyword argument 'sise' (did you mean size?)",
        ),
    ],
)
def test_what_refuses_says_why(build, words, tmp_path):
    with pytest.raises((TypeError, ValueError, KeyError)) as caught:
        build(tmp_path)
    told = config_mistake(caught.value)
    assert words in str(told)
    assert '\n' not in str(told)


def test_an_error_that_no_check_raised_stays_a_bug():
    for wrong in (lambda: int('x'), lambda: nn.Linear('a', 2)):
        with pytest.raises((TypeError, ValueError)) as caught:
            wrong()
        assert config_mistake(caught.value) is None


def test_a_training_without_losses():
    model = SimpleNamespace(decode_head=SimpleNamespace(losses=nn.ModuleDict()))
    with pytest.raises(ConfigError, match='losses is empty: nothing would be learned'):
        CheckedRunner.build_train_loop(SimpleNamespace(model=model), dict(max_epochs=1))


def test_no_level_of_a_log():
    with pytest.raises(ConfigError, match="log_level='INFOO': one of DEBUG, INFO"):
        CheckedRunner.build_logger(SimpleNamespace(), 'INFOO')


def test_a_learning_rate_that_is_no_number():
    constructor = RefSegOptimWrapperConstructor(dict(optimizer=dict(type='AdamW', lr='1e-3')))
    with pytest.raises(ConfigError, match=r"optim_wrapper\.optimizer\.lr='1e-3': a number"):
        constructor(nn.Linear(1, 1))


def test_a_best_score_that_nobody_measures():
    hook = DurableCheckpointHook(save_best='mIuo', rule='greater')
    with pytest.raises(ConfigError, match=r"save_best='mIuo' \(did you mean mIoU\?\): there are mIoU; set one"):
        hook._save_best_checkpoint(SimpleNamespace(), dict(mIoU=1.0))


class _OwnTable(BaseTransform):
    def transform(self, results):
        return dict(results, **{}['img'])


def test_a_pipeline_without_its_ends(tmp_path):
    (tmp_path / 'train.jsonl').write_text('{"image": "a.png", "expression": "the ship", "boxes": [[0, 0, 2, 2]]}\n')
    Image.new('RGB', (4, 4)).save(tmp_path / 'a.png')
    resize = dict(type='ResizeTwoViews', size=8, union_size=8)
    dataset = JSONLRefSegDataset(data_root=str(tmp_path), split='train', pipeline=[resize])
    with pytest.raises(ConfigError, match="ResizeTwoViews reads 'img', which no transform before it gives"):
        dataset[0]
    dataset.pipeline = Compose([_OwnTable()])
    with pytest.raises(KeyError, match='img'):
        dataset[0]  # of a table of its own: its traceback tells where
    with pytest.raises(ConfigError, match='gives no inputs: end it with PackRefSegInputs'):
        RefSegDataPreProcessor()(dict(data_samples=[]))
