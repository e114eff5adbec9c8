"""Full size: published names -> convert.py -> our configs -> the numbers that the released networks gave."""

import csv
import importlib.util
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from safetensors.torch import save_file
from torch import Tensor, nn

from helpers.paths import ROOT
from rs2sam2 import RS2SAM2Inferencer
from rs2sam2.structures import ReferringBatch
from rs2sam2.weights.adapters import ADAPTERS
from rs2sam2.weights.files import open_state_dict
from rs2sam2.weights.loading import adapter_of, load_into

SHARDS = 3
pytestmark = [pytest.mark.slow, pytest.mark.shared]


@pytest.fixture(scope='session')
def parity(shared: Path) -> Path:
    return shared / 'parity'


@pytest.fixture(scope='session')
def vectors(parity: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location('official_weights', parity / 'official_weights.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_tensors(vectors: ModuleType, keys: Path, known: dict[str, Tensor]) -> dict[str, Tensor]:
    with keys.open() as f:
        rows = [(row['name'], [int(n) for n in row['shape'].split('x')]) for row in csv.DictReader(f, delimiter='\t')]
    with ThreadPoolExecutor(2) as pool:
        values = pool.map(lambda row: known[row[0]] if row[0] in known else vectors.value(*row), rows)
        return {name: value for (name, _), value in zip(rows, values, strict=True)}


@pytest.fixture(scope='session')
def released(parity: Path, vectors: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The released RS2-SAM2 as a folder of shards with an index."""
    folder = tmp_path_factory.mktemp('released')
    tensors = make_tensors(vectors, parity / 'official_keys.tsv', {})
    names = list(tensors)
    weight_map = {}
    for i in range(SHARDS):
        shard = f'model-{i + 1:05d}-of-{SHARDS:05d}.safetensors'
        save_file({name: tensors[name] for name in names[i::SHARDS]}, folder / shard)
        weight_map.update(dict.fromkeys(names[i::SHARDS], shard))
    (folder / 'model.safetensors.index.json').write_text(json.dumps(dict(metadata={}, weight_map=weight_map)))
    return folder


def convert(source: str, src: Path, dst: Path, *options: str) -> Path:
    command = [sys.executable, ROOT / 'tools/model_converters/convert.py', src, dst, '--source', source, *options]
    subprocess.run(list(map(str, command)), check=True)
    return dst


def build(config: str, weights: Path) -> nn.Module:
    cfg = Config.fromfile(ROOT / 'configs' / config)
    init_default_scope('mmseg')
    model = MODELS.build(cfg.model)
    file = open_state_dict(weights)
    load_into(model, adapter_of(file, model), file)
    return model.eval()


@pytest.fixture(scope='session')
def converted(released: Path) -> Path:
    return convert('rs2sam2', released, released / 'ours.pth')


@pytest.fixture(scope='session')
def batch(vectors: ModuleType) -> ReferringBatch:
    image, union_image, ids = vectors.case(0)
    return ReferringBatch(image, union_image, ids, torch.ones_like(ids, dtype=torch.bool))


def distance(ours: Tensor, reference: np.ndarray) -> float:
    """Largest difference over the reference's standard deviation."""
    reference = torch.from_numpy(reference)
    assert ours.shape == reference.shape
    return ((ours - reference).abs().max() / reference.std()).item()


def case0_target() -> Tensor:
    i = torch.arange(1024)
    return (i[:, None] + i < 900).float()[None, None]


@pytest.mark.ci
def test_released_network(parity: Path, converted: Path, batch: ReferringBatch) -> None:
    z = np.load(parity / 'case0.npz')
    model = build('rs2sam2_rrsisd_released.py', converted)
    head = model.decode_head
    with torch.inference_mode():
        f = model.extract_feat(batch)
        prompts = model.prompt(f.union)
        prediction = head(f.pyramid, f.text, prompts)
        low = (prediction.mask_logits + 1) / 2
        losses = head.loss(prediction, f.text, case0_target())
        arrays = {
            'beit': torch.cat((f.union.cls, f.union.patches, f.union.text), 1)[:, ::4, ::8],
            'fpn0': head.mask_decoder.conv_s0(f.pyramid[0])[:, ::8, ::16, ::16],
            'fpn2': f.pyramid[2][:, ::8, ::4, ::4],
            'sparse': prompts.sparse,
            'dense': head.embed_dense(prompts.pseudo_mask, f.pyramid[2])[:, ::8, ::4, ::4],
            'low': low,
            'pred': F.interpolate(low, size=(1024, 1024), mode='bilinear', align_corners=False)[:, :, ::8, ::8],
        }
        scalar = head.losses['loss_boundary'].weight_from_text(f.text.tokens[:, :1])
    distances = {name: distance(array, z[name]) for name, array in arrays.items()}
    expected = json.loads((parity / 'case0.json').read_text())['losses']
    found = {name.removeprefix('loss_'): losses[name].item() / loss.loss_weight for name, loss in head.losses.items()}
    found['total'] = sum(losses.values()).item()
    errors = {name: abs(value / expected[name] - 1) for name, value in found.items()}
    errors['sen'] = abs(scalar.item() / z['sen'].item() - 1)
    print('over the standard deviation:', distances, 'relative:', errors)
    assert set(distances) | {'sen'} == set(z.files)
    assert max(distances.values()) < 1e-4, distances
    assert set(found) == set(expected)
    assert max(errors.values()) < 1e-4, errors


@pytest.mark.parametrize('dtype', ['bfloat16', 'float16'])
def test_half_precision_copies_load(
    parity: Path, released: Path, batch: ReferringBatch, tmp_path: Path, dtype: str
) -> None:
    weights = convert('rs2sam2', released, tmp_path / f'{dtype}.safetensors', '--dtype', dtype)
    model = build('rs2sam2_rrsisd_released.py', weights)
    assert next(model.parameters()).dtype == torch.float32
    with torch.inference_mode():
        mask = model.encode_decode(batch).mask_logits > 0
    reference = torch.from_numpy(np.load(parity / 'case0.npz')['low']) > 0.5
    changed = (mask != reference).float().mean().item()
    print('changed pixels:', changed)
    assert changed <= 0.005


@pytest.mark.ci
def test_what_a_user_runs_keeps_the_numbers(
    parity: Path, shared: Path, converted: Path, batch: ReferringBatch, tmp_path: Path
) -> None:
    """The inferencer's model, folded as it is, in fp32, then in bf16, then with weights stored in bf16 too."""
    (tmp_path / 'released.py').write_text(f"_base_ = ['{ROOT}/configs/rs2sam2_rrsisd_released.py']\n")
    (tmp_path / 'beit3.spm').symlink_to(shared / 'data/beit3_tokenizer/sentencepiece.bpe.model')
    reference = np.load(parity / 'case0.npz')['low']
    mask = torch.from_numpy(reference) > 0.5
    model = RS2SAM2Inferencer(tmp_path / 'released.py', converted, 'cpu').model
    changed = {}

    @torch.inference_mode()
    def predicted() -> Tensor:
        return torch.stack([sample.seg_logits.data for sample in model.predict(batch)])

    far = distance((predicted() + 1) / 2, reference)
    model.precision = 'bf16'
    for name in ('autocast', 'stored'):
        if name == 'stored':
            for parameter in model.parameters():
                parameter.data = parameter.data.bfloat16()
        changed[name] = ((predicted() > 0) != mask).float().mean().item()
    print(f'{mask.float().mean():.3f} foreground; folded, over the standard deviation: {far}; bf16, changed: {changed}')
    assert far < 1e-4
    assert max(changed.values()) <= 0.01


def test_gradients_of_the_released_network(parity: Path, converted: Path, batch: ReferringBatch) -> None:
    expected = json.loads((parity / 'case0.json').read_text())['gradient_norms']
    model = build('rs2sam2_rrsisd_released.py', converted)
    f = model.extract_feat(batch)
    prediction = model.decode_head(f.pyramid, f.text, model.prompt(f.union))
    sum(model.decode_head.loss(prediction, f.text, case0_target()).values()).backward()
    parameters = dict(model.named_parameters())
    far, errors = {}, {}
    for name, norm in expected.items():
        gradient = parameters[ADAPTERS['rs2sam2'].table.to_ours(name)].grad
        ours = 0.0 if gradient is None else gradient.norm().item()
        errors[name] = max(0.0, abs(ours - norm) - 1e-6) / max(norm, 1e-12)
        if abs(ours - norm) > 0.01 * norm + 1e-6:
            far[name] = (ours, norm)
    print(f'largest error of {len(errors)} gradient norms:', max(errors.values()))
    assert not far


@pytest.mark.ci
def test_evf_sam2(parity: Path, vectors: ModuleType, released: Path, batch: ReferringBatch, tmp_path: Path) -> None:
    z = np.load(parity / 'evf_sam2_case0.npz')
    # Entries of the same name and shape have the same value in both networks.
    tensors = make_tensors(vectors, parity / 'evf_sam2_keys.tsv', dict(open_state_dict(released)))
    save_file(tensors, tmp_path / 'model.safetensors')
    model = build('evf_sam2_l.py', convert('evf-sam2', tmp_path, tmp_path / 'ours.pth'))
    with torch.inference_mode():
        f = model.extract_feat(batch)
        seen = Capture(model.decode_head.mask_decoder)
        prediction = model.decode_head(f.pyramid, f.text, model.prompt(f.union))
    distances = dict(low=distance(seen.output[0], z['low']), iou=distance(seen.output[1], z['iou']))
    print('over the standard deviation:', distances)
    assert max(distances.values()) < 1e-4
    assert distance(prediction.mask_logits, z['low'][:, z['iou'].argmax()][:, None]) < 1e-4
    assert prediction.iou.item() == pytest.approx(z['iou'].max(), rel=1e-4)


class Capture:
    """Keeps what a module returned last."""

    def __init__(self, module: nn.Module) -> None:
        self.output: tuple = ()
        module.register_forward_hook(self)

    def __call__(self, module: nn.Module, inputs: tuple, output: tuple) -> None:
        self.output = output
