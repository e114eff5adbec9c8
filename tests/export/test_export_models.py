"""Every kind of model exported at tiny size, with random weights: its own check holds it against PyTorch."""

import json

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS

from helpers.hf_folders import make_tokenizer, make_wordpiece
from helpers.paths import ROOT
from helpers.tiny import SIZE, TINY_BERT, UNION_SIZE, shrink, tiny_towers
from rs2sam2 import RefSegInferencer
from rs2sam2.export.check import EXPRESSIONS
from rs2sam2.export.run import export_model

pytestmark = pytest.mark.slow
WORDS = sorted({word for texts in EXPRESSIONS for text in texts for word in text.split()})
LONGEST = 60
LOAD = [dict(type='LoadRGBImage'), dict(type='LoadReferringMask')]


def make_model(name, folder):
    """A shipped config at tiny size with a tokenizer of its kind, and random weights."""
    cfg = Config.fromfile(ROOT / f'configs/{name}.py')
    model, path = shrink(cfg.model), folder / 'tokenizer'
    if model.type == 'RS2SAM2':
        kind = cfg.model.union_encoder.towers.model_type
        tokenizer = make_tokenizer(kind, path, WORDS)
        ids = dict(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
        model.union_encoder.towers = tiny_towers(kind, len(tokenizer), max_position_embeddings=LONGEST, **ids)
        views = dict(type='ResizeTwoViews', size=SIZE, union_size=UNION_SIZE)
    else:
        tokenizer = make_wordpiece(path, WORDS)
        ids = dict(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id)
        model.text_encoder.bert = dict(TINY_BERT, max_position_embeddings=LONGEST, **ids)
        views = dict(type='ResizeView', size=SIZE)
    model.data_preprocessor.update(vocab_size=len(tokenizer), pad_id=tokenizer.pad_token_id, max_text_length=LONGEST)
    tokenize = dict(type='TokenizeExpression', tokenizer=dict(type='HFTokenizer', path=str(path)))
    pipeline = [*LOAD, views, tokenize, dict(type='PackRefSegInputs')]
    imports = dict(imports=['rs2sam2'], allow_failed_imports=False)
    whole = dict(model=model.to_dict(), test_dataloader=dict(dataset=dict(pipeline=pipeline)), custom_imports=imports)
    Config(dict(whole, default_scope='mmseg')).dump(folder / 'config.py')
    torch.manual_seed(0)
    torch.save(dict(state_dict=MODELS.build(model).state_dict()), folder / 'weights.pth')
    return folder / 'config.py', folder / 'weights.pth'


@pytest.mark.parametrize('name', ['lavt_rrsisd', 'rmsin_rrsisd', 'rs2sam2_clip_rrsisd', 'rs2sam2_siglip_rrsisd'])
def test_other_models_take_any_batch_and_any_length(name, tmp_path):
    config, weights = make_model(name, tmp_path)
    out = tmp_path / 'model.onnx'
    check = export_model(config, out, weights=weights).check
    assert max(check['largest_difference_over_spread'].values()) < 1e-4
    eager, onnx = RefSegInferencer(config, weights, 'cpu'), RefSegInferencer(out)
    image = np.random.default_rng(0).integers(0, 255, (50, 70, 3), dtype=np.uint8)
    # More in a batch than the check has, and texts of one word and of as many as there is room for.
    longest = ' '.join((WORDS * 9)[: LONGEST - 2]) if 'clip' not in name and 'siglip' not in name else 'ship ' * 14
    pairs = [(image, text) for text in ('ship', longest, *EXPRESSIONS[1], *EXPRESSIONS[2])]
    for one, other in zip(eager(pairs=pairs, batch_size=6), onnx(pairs=pairs, batch_size=6), strict=True):
        assert np.abs(one.logits - other.logits).max() < 1e-3 * one.logits.std()
        assert (one.mask != other.mask).mean() < 1e-3
    assert json.loads(onnx.exported.text())['tokenizer']['type'] == 'HFTokenizer'
