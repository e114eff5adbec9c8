"""What a model was trained on: said by the checkpoint, else by the config."""

import pytest
from mmengine.config import Config

from helpers.paths import ROOT
from rs2sam2.inference.training_data import training_data


@pytest.mark.parametrize(
    ('config', 'phrase'),
    [
        ('rs2sam2_rrsisd_released', 'RRSIS-D: aerial photographs of 800 x 800 pixels, 20 kinds of objects'),
        ('rs2sam2_refsegrs_released', 'RefSegRS: aerial photographs'),
        ('evf_sam2_l', 'RefCOCO and other referring data sets: photographs from the ground'),
        ('rs2sam2_tiny_demo', 'drawn scenes: small pictures drawn by code'),
        ('rs2sam2_tiny_nwpu_vhr10', 'NWPU VHR-10: some 300 aerial photographs'),
        ('rs2sam2_finetune_jsonl', "JSON lines: its user's own data"),
    ],
)
def test_shipped_configs_say_it(config, phrase):
    cfg = Config.fromfile(ROOT / f'configs/{config}.py')
    assert training_data(cfg, None).startswith(phrase)
    # A checkpoint knows better than the config that it is used with.
    meta = dict(dataset_meta=dict(dataset_name='roofs', about='of one town'))
    assert training_data(cfg, meta) == 'roofs: of one town'
    assert training_data(cfg, dict(dataset_meta=dict(dataset_name='roofs'))) == 'roofs'


def test_words_of_a_file_are_shown_and_not_obeyed():
    meta = dict(dataset_meta=dict(dataset_name='a\n\x1b[31m[red]', about='x' * 5000))
    text = training_data(Config(), meta)
    assert text.startswith(r'a\n\x1b[31m[red]: xxx')
    assert len(text) < 400


@pytest.mark.parametrize('meta', [None, 'text', {}, dict(dataset_meta=None), dict(dataset_meta=dict(dataset_name=3))])
def test_where_nothing_says_it(meta):
    assert training_data(Config(), meta) is None
