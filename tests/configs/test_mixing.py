"""Single parts in other people's configs: the snippets of docs/mixing.md, each trained outside the repository."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from PIL import Image

from helpers.hf_folders import make_hf_folder
from helpers.paths import ROOT
from helpers.tiny import SIZE, TINY_HIERA, UNION_SIZE, shrink
from rs2sam2.engine.launch import build_runner, fit_to_device, load_config
from rs2sam2.models.rmsin.rotated_conv import AdaptiveRotatedConv2d
from rs2sam2.synthetic.dataset import build_demo_dataset
from rs2sam2.text.hf_tokenizer import HFTokenizer

PAGE = (ROOT / 'docs/mixing.md').read_text()
PARTS = 'my_parts'
DATA_AND_SCHEDULE = """
pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
dataset = dict(
    type='BaseSegDataset', data_root='data/plain', data_prefix=dict(img_path='images', seg_map_path='masks'),
    metainfo=dict(classes=('a', 'b', 'c')), pipeline=pipeline,
)
train_dataloader = dict(batch_size=2, dataset=dataset, sampler=dict(type='DefaultSampler', shuffle=True))
val_dataloader = dict(batch_size=2, dataset=dataset, sampler=dict(type='DefaultSampler', shuffle=False))
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=1)
val_cfg = dict(type='ValLoop')
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3))
default_scope = 'mmseg'
"""


def snippets() -> dict[str, str]:
    """The page's Python by the file that it is said to be in: each fence follows a line with the name."""
    found: dict[str, list[str]] = {}
    for name, code in re.findall(r'`(\w+\.py)`[^`]*?:\n\n```python\n(.*?)```', PAGE, re.DOTALL):
        found.setdefault(name, []).append(code)
    return {name: '\n\n'.join(parts) for name, parts in found.items()}


@pytest.fixture(scope='module')
def project(tmp_path_factory):
    """Another project's folder: the page's files, and data where its configs look for it."""
    folder = tmp_path_factory.mktemp('project')
    for name, code in snippets().items():
        (folder / name).write_text(code)
    (folder / 'my_data_and_schedule.py').write_text(DATA_AND_SCHEDULE)
    build_demo_dataset(folder / 'data/demo', dict(train=2, val=1, test=1), size=96, no_target_share=0)
    rng = np.random.default_rng(0)
    for kind, levels, suffix in (('images', 255, 'jpg'), ('masks', 3, 'png')):
        (folder / 'data/plain' / kind).mkdir(parents=True)
        for i in range(4):
            pixels = rng.integers(0, levels, (SIZE, SIZE, 3) if kind == 'images' else (SIZE, SIZE), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / 'data/plain' / kind / f'{i}.{suffix}')
    return folder


@pytest.fixture
def inside(project, monkeypatch):
    """Work in the other project, as one does: its folder is the current one and on the path."""
    monkeypatch.chdir(project)
    monkeypatch.syspath_prepend(str(project))
    return project


def load(config: str, options: dict | None = None) -> Config:
    return load_config(config, options, 'none', f'work_dirs/{Path(config).stem}')


def train(cfg: Config):
    """Train for two iterations and validate, by what `tools/train.py` calls."""
    for name in ('train', 'val'):
        loader = cfg[f'{name}_dataloader']
        loader.update(batch_size=2, num_workers=0, persistent_workers=False)
        loader.dataset.indices = 4
    cfg.train_cfg.max_epochs = 1
    cfg.val_interval = 1
    cfg.setdefault('default_hooks', {}).update(checkpoint=None)
    cfg.experiment_name = cfg.work_dir
    fit_to_device(cfg)
    runner = build_runner(cfg)
    before = {key: value.clone() for key, value in runner.model.state_dict().items()}
    runner.train()
    assert runner.iter == 2
    assert any(not torch.equal(value, before[key]) for key, value in runner.model.state_dict().items())
    return runner


def test_the_page_names_its_files():
    assert set(snippets()) == {
        'sam2_upernet.py', 'my_parts.py', 'toy.py', 'averaging.py', 'siglip_lora.py', 'pseudo.py', 'fusion.py',
        'rotated_fcn.py',
    }  # fmt: skip
    assert PAGE.count('```python') == 1 + sum(len(re.findall(rf'`{name}`[^`]*?:\n\n```', PAGE)) for name in snippets())


@pytest.mark.parametrize('head', ['UPerHead', 'FCNHead'])
def test_sam2_hiera_under_mmsegs_heads_on_an_mmseg_data_set(inside, head):
    tiny = {
        'model.data_preprocessor.size': (SIZE, SIZE),
        'model.backbone': dict(arch=dict(TINY_HIERA, _delete_=True), out_channels=32, init_cfg=None),
        'model.decode_head': dict(channels=16, num_classes=3, norm_cfg=dict(type='BN')),
    }
    if head == 'UPerHead':
        tiny |= {'model.decode_head.in_channels': [32] * 3, 'model.decode_head.pool_scales': (1, 2)}
    else:
        tiny |= {
            'model.decode_head.type': 'FCNHead',
            'model.decode_head.in_channels': 32,
            'model.decode_head.in_index': 2,
        }
    train(load('sam2_upernet.py', tiny))


def test_rotated_convolutions_in_an_mmseg_head(inside):
    tiny = {
        'model.data_preprocessor.size': (SIZE, SIZE),
        'model.backbone': dict(depth=18, base_channels=8, stem_channels=8, norm_cfg=dict(type='BN')),
        'model.decode_head': dict(in_channels=64, channels=16, num_classes=3, norm_cfg=dict(type='BN')),
    }
    runner = train(load('rotated_fcn.py', tiny))
    turned = [module for module in runner.model.modules() if isinstance(module, AdaptiveRotatedConv2d)]
    # Two convolutions and the one after the concatenation.
    assert [tuple(one.weight.shape[1:3]) for one in turned] == [(16, 64), (16, 16), (16, 80)]
    # ConvModule's own start would take its spread from the wrong axes.
    assert all(float(one.weight.detach().std()) == pytest.approx((2 / (16 * 9)) ** 0.5, rel=0.1) for one in turned)


@pytest.mark.parametrize('config', ['toy.py', 'averaging.py', 'pseudo.py', 'fusion.py'])
def test_parts_of_ones_own_beside_ours(inside, config):
    runner = train(load(config))
    kinds = {type(module).__module__ for module in runner.model.modules()}
    assert PARTS in kinds


@pytest.mark.parametrize('kind', ['siglip', 'clip'])
def test_rs2sam2_with_clip_and_siglip(inside, kind):
    pytest.importorskip('peft')
    folder = inside / 'pretrained' / kind
    oracle = make_hf_folder(kind, folder)
    tokenizer = HFTokenizer(folder)
    cfg = load('siglip_lora.py')
    cfg.model = shrink(cfg.model)
    cfg.model.union_encoder.towers = str(folder)
    cfg.model.data_preprocessor.update(vocab_size=tokenizer.vocab_size, max_text_length=tokenizer.max_length)
    for name in ('train', 'val'):
        dataset = cfg[f'{name}_dataloader'].dataset
        dataset.update(data_root='data/demo', metainfo=dict(split_counts={}))
        for step in dataset.pipeline:
            if step.type == 'ResizeTwoViews':
                step.update(size=SIZE, union_size=UNION_SIZE)
            if step.type == 'TokenizeExpression':
                step.update(max_length=tokenizer.max_length)
                step.tokenizer.update(path=str(folder), vocab_size=tokenizer.vocab_size, pad_id=tokenizer.pad_id)
    cfg.val_evaluator = dict(type='RRSISMetric', protocol='native')
    runner = train(cfg)
    # The folder's weights are where they were: low-rank updates and the fusion learn.
    name = 'encoder.layers.1.mlp.fc1.weight'
    state = runner.model.union_encoder.state_dict()
    assert torch.equal(state[f'towers.text.{name}'], oracle.text_model.state_dict()[name])
    assert any('.lora_B.' in key and value.any() for key, value in state.items())


def test_another_default_scope_names_ours():
    from mmengine.registry import MODELS as ROOT_MODELS

    config = Config(dict(type='mmseg.MaskPromptGenerator', dim=32))
    assert type(ROOT_MODELS.build(config)) is MODELS.get('MaskPromptGenerator')


@pytest.mark.slow
@pytest.mark.ci
def test_the_tools_that_travel_train_a_config_of_another_project(inside):
    lines = re.search(r'```bash\n(tools=.*?)```', PAGE, re.DOTALL)[1]
    options = 'train_cfg.max_epochs=1 train_dataloader.dataset.indices=6 val_dataloader.dataset.indices=6'
    script = lines.replace('python', sys.executable).strip() + f' --cfg-options {options}'
    done = subprocess.run(['bash', '-ec', script], cwd=inside, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert list((inside / 'work_dirs/toy').glob('best_*.pth'))
