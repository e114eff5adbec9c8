"""What a user runs is folded and states its precision: inferencer, segment, tools/test.py share one way."""

import numpy as np
import pytest
import torch

from helpers.tiny import tiny_model
from helpers.work_dirs import make_work_dir
from rs2sam2 import RS2SAM2Inferencer
from rs2sam2.errors import ConfigError
from rs2sam2.models.common.precision import choose_precision
from rs2sam2.weights.building import give_memory, without_starting_values


@pytest.fixture(scope='module')
def work_dir(tmp_path_factory):
    return make_work_dir(tmp_path_factory.mktemp('precision') / 'run')


@pytest.fixture(scope='module')
def image():
    return np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)


def test_auto_is_fp32_without_a_gpu_that_has_bf16(monkeypatch):
    assert choose_precision('auto', torch.device('cpu')) == 'fp32'
    monkeypatch.setattr(torch.cuda, 'is_bf16_supported', lambda including_emulation=True: including_emulation)
    assert choose_precision('auto', torch.device('cuda')) == 'fp32'
    monkeypatch.setattr(torch.cuda, 'is_bf16_supported', lambda including_emulation=True: True)
    assert choose_precision('auto', torch.device('cuda')) == 'bf16'
    assert choose_precision('fp32', torch.device('cuda')) == 'fp32'


def test_the_inferencer_folds_and_names_its_precision(work_dir, image):
    inferencer = RS2SAM2Inferencer(work_dir)
    result = inferencer(image, 'a ship')[0]
    assert result.precision == result.to_dict()['precision'] == inferencer.precision == 'fp32'
    assert all(slot.adapter is None for slot in inferencer.model.neck.slots)
    assert not any(parameter.requires_grad for parameter in inferencer.model.parameters())


def test_a_lower_precision_reaches_the_products(work_dir, image):
    plain, lower = RS2SAM2Inferencer(work_dir), RS2SAM2Inferencer(work_dir, precision='bf16')
    dtypes = []
    lower.model.union_encoder.register_forward_hook(lambda module, args, out: dtypes.append(out.patches.dtype))
    products = []
    lower.model.sparse_proj[0].register_forward_hook(lambda module, args, out: products.append(out.dtype))
    results = [one(image, 'a ship')[0] for one in (plain, lower)]
    assert products == [torch.bfloat16]
    assert results[1].precision == 'bf16'
    difference = np.abs(results[0].logits - results[1].logits).max() / results[0].logits.std()
    assert 0 < difference < 0.5


def test_an_unknown_precision_is_one_line(work_dir):
    with pytest.raises(ConfigError, match=r"precision='int4': one of auto, fp32, bf16, fp16"):
        RS2SAM2Inferencer(work_dir, precision='int4')


def test_building_for_a_file_draws_no_numbers(monkeypatch):
    drawn = []
    real = torch.Tensor.normal_
    monkeypatch.setattr(
        torch.Tensor, 'normal_', lambda self, *args, **kwargs: drawn.append(self.device.type) or real(self)
    )
    with without_starting_values():
        model = tiny_model()
    assert set(drawn) <= {'meta'}
    assert all(parameter.is_meta for parameter in model.parameters())
    # Buffers hold what no file brings (means of the views) and are real.
    assert not any(buffer.is_meta for buffer in model.buffers())
    plain = tiny_model()
    filled = give_memory(model, 'cpu')
    filled.load_state_dict(plain.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), filled.parameters(), strict=True))
    assert [p.requires_grad for p in plain.parameters()] == [p.requires_grad for p in filled.parameters()]
    assert torch.nn.Linear(2, 2).weight.device.type == 'cpu'
