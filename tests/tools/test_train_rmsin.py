"""RMSIN by its recipe, tiny, through tools/train.py and tools/test.py: BERT's tokens, groups, schedule, resume."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from helpers.hf_folders import make_wordpiece
from helpers.paths import ROOT
from helpers.tiny import SIZE, TINY_BERT, TINY_SWIN
from helpers.training_site import run
from rs2sam2.synthetic.dataset import build_demo_dataset
from rs2sam2.synthetic.scene import CATEGORIES
from rs2sam2.text.grammar import vocabulary

EPOCHS = 2
CONFIG = """
_base_ = ['{root}/configs/{name}_rrsisd.py']
data_root = '{folder}/data'
model = dict(
    image_size={size},
    init_cfg=None,
    text_encoder=dict(bert=dict({bert}, vocab_size=30522), learning_layers=1),
    backbone=dict(arch={swin}, window_size=4),
    decode_head=dict(dim=16),
)
tokenizer = dict(type='HFTokenizer', path='{folder}/bert', vocab_size=30522, pad_id=0)
def fit(step):
    if step['type'] == 'ResizeView':
        return dict(step, size={size})
    return dict(step, tokenizer=tokenizer) if step['type'] == 'TokenizeExpression' else step
train_pipeline = [fit(step) for step in _base_.train_pipeline]
test_pipeline = [fit(step) for step in _base_.test_pipeline]
del fit
loader = dict(batch_size=2, num_workers=0, persistent_workers=False)
data = dict(data_root=data_root, metainfo=dict(split_counts=dict()))
train_dataloader = dict(**loader, dataset=dict(**data, pipeline=train_pipeline))
val_dataloader = test_dataloader = dict(**loader, dataset=dict(**data, pipeline=test_pipeline))
val_evaluator = dict(protocol={size})
test_evaluator = dict(protocol={size})
train_cfg = dict(max_epochs={epochs})
default_hooks = dict(logger=dict(interval=1))
"""


@pytest.fixture(scope='module')
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scenes, BERT's kind of tokenizer, and the shipped configs of both models fitted to them."""
    folder = tmp_path_factory.mktemp('recipe')
    build_demo_dataset(folder / 'data', dict(train=3, val=2, test=2), size=96, no_target_share=0)
    make_wordpiece(folder / 'bert', sorted(vocabulary(CATEGORIES)))
    for name in ('lavt', 'rmsin'):
        bert = ', '.join(f'{key}={value}' for key, value in TINY_BERT.items())
        text = CONFIG.format(
            root=ROOT,
            folder=folder,
            name=name,
            size=SIZE,
            bert=bert,
            swin=dict(TINY_SWIN, _delete_=True),
            epochs=EPOCHS,
        )
        (folder / f'{name}.py').write_text(text)
    return folder


@pytest.fixture(scope='module')
def trained(recipe: Path) -> Path:
    run(ROOT / 'tools/train.py', 'rmsin.py', '--work-dir', 'alone', cwd=recipe)
    return recipe / 'alone'


def logged(work_dir: Path) -> list[dict]:
    (log,) = work_dir.glob('*/vis_data/scalars.json')
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_learning_rate_and_groups_of_the_release(trained):
    rates = [row['lr'] for row in logged(trained) if 'lr' in row]
    assert rates == pytest.approx([3e-5 * (1 - t / len(rates)) ** 0.9 for t in range(len(rates))], rel=1e-4)
    groups = torch.load(trained / f'epoch_{EPOCHS}.pth', weights_only=False)['optimizer']['param_groups']
    assert [(group['name'], group['weight_decay']) for group in groups] == [('base', 0.01), ('no_decay', 0.0)]
    assert list(trained.glob('best_rrsis_oIoU_epoch_*.pth'))


def test_what_the_release_never_updates_stays(trained):
    first, last = (
        torch.load(trained / f'epoch_{epoch}.pth', weights_only=False)['state_dict'] for epoch in (1, EPOCHS)
    )
    same = {name for name in last if last[name].is_floating_point() and torch.equal(first[name], last[name])}
    expected = (
        'text_encoder.bert.embeddings.',
        'text_encoder.bert.encoder.layer.1.',
        'backbone.stages.3.language_gate',
    )
    frozen = {name for name in last if name.startswith(expected)}
    assert frozen <= same
    # A weight of one number may happen to stay.
    assert not {name for name in same - frozen if 'stages.3.visual' not in name and last[name].numel() > 1}


def test_resumed_training_gives_the_same_weights(recipe, trained):
    """With a seed of its own: boxes are drawn in the resumed epoch as they would have been."""
    again = recipe / 'again'
    again.mkdir()
    shutil.copy(trained / 'epoch_1.pth', again)
    run(ROOT / 'tools/train.py', 'rmsin.py', '--work-dir', 'again', '--resume', cwd=recipe)
    a, b = (torch.load(folder / f'epoch_{EPOCHS}.pth', weights_only=False)['state_dict'] for folder in (trained, again))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_test_scores_at_the_views_size_beside_the_published_row(recipe, trained):
    log = run(
        ROOT / 'tools/test.py', 'rmsin.py', trained / f'epoch_{EPOCHS}.pth', '--work-dir', 'tested', '--out', 'out',
        '--show-dir', 'out/pictures', cwd=recipe,
    )  # fmt: skip
    assert f'protocol {SIZE}x{SIZE}' in log
    assert 'published: RMSIN, RRSIS-D test' in log
    assert 'were counted at 480 x 480 pixels' in log
    rows = [json.loads(line) for line in (recipe / 'out/results.jsonl').read_text().splitlines()]
    assert rows
    assert all(row['pred_iou'] is None and row['presence'] is None for row in rows)
    assert len(list((recipe / 'out/pictures').glob('*.jpg'))) == len(rows)


@pytest.mark.slow
def test_lavt_trains_on_two_processes(recipe):
    log = run(ROOT / 'tools/train.py', 'lavt.py', '--work-dir', 'two', processes=2, cwd=recipe)
    assert 'each process has batch norms of its own samples' in log
    assert list((recipe / 'two').glob('best_rrsis_oIoU_epoch_*.pth'))
