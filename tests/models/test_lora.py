"""The union encoder in full, by low-rank updates, or frozen; updates merge into plain weights."""

import runpy
import sys

import pytest
import torch
from mmengine.config import Config
from mmengine.structures import PixelData
from mmseg.registry import MODELS

from helpers.paths import ROOT
from helpers.tiny import random_batch, random_target, tiny_model
from rs2sam2.models.common.lora import merge_lora
from rs2sam2.models.rs2sam2.fold import fold_for_inference
from rs2sam2.structures import RefSegDataSample
from rs2sam2.weights.adapters.adapter import OWN
from rs2sam2.weights.files import open_state_dict, save_state_dict
from rs2sam2.weights.loading import load_into

CONFIG = 'configs/rs2sam2_rrsisd.py'


def model_of(train: str, seed: int = 0):
    if train == 'lora':
        pytest.importorskip('peft')
    return tiny_model(CONFIG, seed, **{'model.union_encoder.train': train, 'model.union_encoder.lora': dict(r=2)})


def train_step(model, lr: float = 0.0):
    samples = [RefSegDataSample(gt_sem_seg=PixelData(data=one)) for one in random_target(3)]
    sum(model.loss(random_batch(), samples).values()).backward()
    with torch.no_grad():
        for p in model.parameters():
            if p.grad is not None:
                p -= lr * p.grad


def mask_of(model):
    with torch.no_grad():
        return model.eval()(random_batch(), mode='tensor').mask_logits


@pytest.mark.parametrize('train', ['full', 'lora', 'frozen'])
def test_requires_grad_exactly_where_a_gradient_arrives(train):
    model = model_of(train).train()
    train_step(model)
    assert not [name for name, p in model.named_parameters() if p.requires_grad != (p.grad is not None)]
    learning = {name for name, p in model.union_encoder.named_parameters() if p.requires_grad}
    assert (len(learning) > 0) == (train != 'frozen')
    if train == 'lora':
        assert all('.lora_' in name for name in learning)


def test_lora_starts_as_the_plain_model_under_its_names():
    plain, lora = model_of('full'), model_of('lora', seed=1)
    before = {name for name in lora.state_dict() if '.lora_' in name}
    assert set(lora.state_dict()) - before == set(plain.state_dict())
    missing = lora.load_state_dict(plain.state_dict(), strict=False)
    assert set(missing.missing_keys) == before
    assert not missing.unexpected_keys
    torch.testing.assert_close(mask_of(lora), mask_of(plain), rtol=0, atol=0)


def test_own_weights_load_strictly_into_lora_and_back(tmp_path):
    plain, lora = model_of('full'), model_of('lora', seed=1)
    save_state_dict(tmp_path / 'plain.pth', plain.state_dict(), {}, wrapper='state_dict')
    plan = load_into(lora, OWN, open_state_dict(tmp_path / 'plain.pth'))
    assert plan.new
    assert all('.lora_' in name for name in plan.new)
    torch.testing.assert_close(mask_of(lora), mask_of(plain), rtol=0, atol=0)


def test_trained_updates_survive_a_checkpoint_and_merge_into_plain_weights():
    lora = model_of('lora')
    for _ in range(2):  # B starts at zero: A learns from the second step on
        train_step(lora, lr=0.5)
    start, trained = mask_of(model_of('lora')), mask_of(lora)
    assert not torch.allclose(start, trained, atol=1e-3)
    again = model_of('lora', seed=1)
    again.load_state_dict(lora.state_dict())
    torch.testing.assert_close(mask_of(again), trained, rtol=0, atol=0)
    merge_lora(again)
    plain = model_of('full', seed=2)
    plain.load_state_dict(again.state_dict())
    torch.testing.assert_close(mask_of(plain), trained, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(mask_of(fold_for_inference(lora)), trained, atol=1e-4, rtol=1e-4)


def test_merge_tool_writes_a_plain_checkpoint(tmp_path, monkeypatch):
    pytest.importorskip('peft')
    options = {'type': 'BEiT3UnionEncoder', 'train': 'lora', 'lora': {'r': 2}}
    config = tmp_path / 'lora.py'
    config.write_text(f"_base_ = ['{ROOT}/configs/rs2sam2_tiny_demo.py']\nmodel = dict(union_encoder={options!r})\n")
    lora = MODELS.build(Config.fromfile(config).model)
    with torch.no_grad():
        for name, p in lora.named_parameters():
            if '.lora_B' in name:
                p.normal_()
    save_state_dict(tmp_path / 'lora.pth', lora.state_dict(), {}, wrapper='state_dict')
    tool = ROOT / 'tools/model_converters/merge_lora.py'
    monkeypatch.setattr(sys, 'argv', [str(tool), str(config), str(tmp_path / 'lora.pth'), str(tmp_path / 'plain.pth')])
    runpy.run_path(str(tool), run_name='__main__')
    plain = MODELS.build(Config.fromfile(ROOT / 'configs/rs2sam2_tiny_demo.py').model)
    plan = load_into(plain, OWN, open_state_dict(tmp_path / 'plain.pth'))
    assert not plan.new
    merge_lora(lora.union_encoder)
    for name, tensor in lora.state_dict().items():
        torch.testing.assert_close(plain.state_dict()[name], tensor, atol=0, rtol=0)
