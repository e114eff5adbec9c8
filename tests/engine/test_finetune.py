"""The fine-tuning config at tiny size: from a checkpoint, on JSON lines, scored with sentences that mean nothing."""

import json

import numpy as np
import pytest
import torch
from mmengine.config import Config
from sentencepiece import SentencePieceProcessor

from helpers.paths import ROOT
from helpers.tiny import SIZE, UNION_SIZE, shrink
from helpers.work_dirs import make_image, make_work_dir
from rs2sam2.engine.launch import build_runner, fit_to_device
from rs2sam2.errors import DataError
from rs2sam2.evaluation.results import read_results


def write_lines(root):
    for number, split in enumerate(('train', 'val', 'test')):
        lines = []
        for index in range(4):
            name = f'{split}_{index}.png'
            make_image(root / name, seed=10 * number + index)
            lines.append(dict(image=name, expression='the red ship', boxes=[[5, 5, 25, 20]]))
        lines.append(dict(image=name, expression='the harbor', no_target=True))
        (root / f'{split}.jsonl').write_text('\n'.join(map(json.dumps, lines)))


def tiny_config(folder, checkpoint, **more):
    """The shipped config with its model, views and schedule made small."""
    cfg = Config.fromfile(ROOT / 'configs/rs2sam2_finetune_jsonl.py')
    cfg.model = shrink(cfg.model)
    pieces = SentencePieceProcessor(model_file=str(folder / 'start/tokenizer/sentencepiece.bpe.model')).get_piece_size()
    cfg.model.union_encoder.vocab_size = cfg.model.data_preprocessor.vocab_size = pieces + 2
    for name in ('train', 'val', 'test'):
        loader = cfg[f'{name}_dataloader']
        loader.update(num_workers=0, persistent_workers=False)
        loader.dataset.data_root = str(folder / 'data')
        for step in loader.dataset.pipeline:
            if step.type == 'ResizeTwoViews':
                step.update(size=SIZE, union_size=UNION_SIZE)
            if step.type == 'TokenizeExpression':
                step.tokenizer.update(path=str(folder / 'start/tokenizer'), num_pieces=pieces)
    cfg.train_cfg.max_epochs = 1
    cfg.work_dir, cfg.load_from, cfg.launcher = str(folder / 'work'), checkpoint, 'none'
    cfg.experiment_name = folder.name
    cfg.merge_from_dict(more)
    fit_to_device(cfg)
    return cfg


@pytest.fixture(scope='module')
def site(tmp_path_factory):
    """A folder with data, and a checkpoint of the same model before fine-tuning."""
    folder = tmp_path_factory.mktemp('finetune')
    make_work_dir(folder / 'start')
    (folder / 'data').mkdir()
    write_lines(folder / 'data')
    runner = build_runner(tiny_config(folder, None, work_dir=str(folder / 'before')))
    torch.save({'state_dict': runner.model.state_dict()}, folder / 'start.pth')
    return folder


def test_from_a_checkpoint_to_scores(site):
    runner = build_runner(tiny_config(site, str(site / 'start.pth')))
    runner.train()
    history = runner.message_hub.log_scalars
    for name in ('loss_iou', 'loss_presence', 'loss'):
        assert np.isfinite(history[f'train/{name}'].current()), name
    assert len(runner.train_dataloader.dataset) == 5
    assert len(runner.val_dataloader.dataset) == 4
    assert list((site / 'work').glob('best_*.pth'))


def test_sentences_that_mean_nothing_are_scored_by_the_generalised_metric(site):
    metric = dict(type='GeneralizedRRSISMetric', protocol='native', results_file=str(site / 'work/results.jsonl'))
    cfg = tiny_config(site, str(site / 'start.pth'), experiment_name='generalised')
    cfg.test_dataloader.dataset.no_target = 'keep'
    refused = build_runner(cfg.copy())
    with pytest.raises(DataError, match=r'marked `no_target`.*GeneralizedRRSISMetric'):
        refused.test()
    cfg.test_evaluator = metric
    cfg.experiment_name = 'generalised_too'
    scores = build_runner(cfg).test()
    assert set(scores) == {f'grrsis/{name}' for name in ('gIoU', 'cIoU', 'N-acc', 'T-acc', 'gIoU+cIoU')}
    assert [row.no_target for row in read_results(site / 'work/results.jsonl')] == [False] * 4 + [True]


def test_the_recipe_for_a_model_that_one_has_is_a_config(tmp_path):
    """The one of docs/your_data.md, on a config as training leaves it in a work dir."""
    text = (ROOT / 'docs/your_data.md').read_text()
    block = text.split('# refined.py, in configs/')[1].split('Without `--resume`')[0]
    (tmp_path / 'work_dirs/run').mkdir(parents=True)
    Config.fromfile(ROOT / 'configs/rs2sam2_rrsisd.py').dump(tmp_path / 'work_dirs/run/run.py')
    (tmp_path / 'configs').mkdir()
    lines = [line.removeprefix('    ') for line in block.splitlines()[1:]]
    (tmp_path / 'configs/refined.py').write_text('\n'.join(lines))
    cfg = Config.fromfile(tmp_path / 'configs/refined.py')
    assert cfg.train_dataloader.dataset.type == 'JSONLRefSegDataset'
    assert cfg.train_dataloader.dataset.pipeline[-1].type == 'PackRefSegInputs'
    assert cfg.load_from.startswith('work_dirs/run/best_')
    assert cfg.model.init_cfg is None
    assert cfg.optim_wrapper.optimizer.type == 'AdamW'
