"""Bundles: what comes out goes in again, and nothing in them is run."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config

from helpers.work_dirs import make_work_dir
from rs2sam2 import RS2SAM2Inferencer
from rs2sam2.errors import ConfigError, OutputError, RefSegError
from rs2sam2.inference.source import test_pipeline as pipeline_of
from rs2sam2.weights.bundle import MANIFEST, WEIGHTS, read_bundle, write_bundle
from rs2sam2.weights.files import open_state_dict

READERS = ('LoadRGBImage', 'LoadReferringMask')


@pytest.fixture(scope='module')
def work_dir(tmp_path_factory) -> Path:
    return make_work_dir(tmp_path_factory.mktemp('bundle') / 'run')


def bundle_of(work_dir: Path, folder: Path, dtype: str = 'fp32') -> Path:
    inferencer = RS2SAM2Inferencer(work_dir)
    config = inferencer.source.config
    steps = [step for step in pipeline_of(config) if step['type'] not in READERS]
    tensors = dict(open_state_dict(inferencer.source.weights))
    write_bundle(folder, config.model, steps, {}, tensors, dict(name='tiny'), '# tiny\n', dtype)
    return folder


@pytest.fixture(scope='module')
def bundle(work_dir, tmp_path_factory) -> Path:
    return bundle_of(work_dir, tmp_path_factory.mktemp('out') / 'tiny')


def test_a_bundle_gives_the_masks_of_its_work_dir_wherever_it_lies(work_dir, bundle, tmp_path):
    moved = shutil.copytree(bundle, tmp_path / 'elsewhere')
    image = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)
    first, second = (RS2SAM2Inferencer(one)(image, 'a ship')[0] for one in (work_dir, moved))
    assert np.array_equal(first.logits, second.logits)
    assert 'init_cfg' not in (moved / MANIFEST).read_text()


def test_half_the_bytes(work_dir, bundle, tmp_path):
    half = bundle_of(work_dir, tmp_path / 'half', 'fp16')
    assert (half / WEIGHTS).stat().st_size < 0.6 * (bundle / WEIGHTS).stat().st_size
    # Loaded, they are numbers of 32 bits again.
    assert {p.dtype for p in RS2SAM2Inferencer(half).model.parameters()} == {torch.float32}


def test_an_old_folder_is_not_written_over(work_dir, bundle):
    with pytest.raises(OutputError, match='is there already'):
        bundle_of(work_dir, bundle)


def change(bundle: Path, folder: Path, edit) -> Path:
    spoiled = shutil.copytree(bundle, folder)
    content = json.loads((spoiled / MANIFEST).read_text())
    edit(content, spoiled)
    (spoiled / MANIFEST).write_text(json.dumps(content))
    return spoiled


TRACE = 'import pathlib; pathlib.Path("ran").touch()'
HOSTILE = {
    'dotted type': lambda c, f: c['model'].update(type='os.system'),
    'dotted type inside': lambda c, f: c['model']['decode_head'].update(type='subprocess.Popen', args=['touch', 'ran']),
    "another library's part": lambda c, f: c['model']['backbone'].update(type='ResNet'),
    'a type that is no text': lambda c, f: c['model'].update(type=['os.system']),
    'custom_imports': lambda c, f: c.update(custom_imports=dict(imports=['evil'])),
    'custom_imports inside': lambda c, f: c['model'].update(custom_imports=dict(imports=['evil'])),
    '_base_': lambda c, f: c.update(_base_='evil.py'),
    '_base_ inside': lambda c, f: c['model'].update(_base_='evil.py'),
    '_scope_': lambda c, f: c['model'].update(_scope_='os'),
    'init_cfg': lambda c, f: c['model'].update(init_cfg=dict(type='Pretrained', checkpoint='http://x/y.pth')),
    'tokenizer outside': lambda c, f: c['pipeline'][-2]['tokenizer'].update(path='../../../etc/passwd'),
    'tokenizer absolute': lambda c, f: c['pipeline'][-2]['tokenizer'].update(path='/etc/passwd'),
    'python beside': lambda c, f: (f / 'modeling.py').write_text(TRACE),
    'pickle beside': lambda c, f: torch.save({}, f / 'pytorch_model.bin'),
    'link out': lambda c, f: (f / 'link.json').symlink_to('/etc/passwd'),
    'a path in the model': lambda c, f: c['model']['union_encoder'].update(towers='/etc'),
    'deep': lambda c, f: c['about'].update(x=json.loads('[' * 500 + ']' * 500)),
    'no weights': lambda c, f: (f / WEIGHTS).unlink(),
    'a lambda by name': lambda c, f: c['pipeline'].append(dict(type='mmcv.transforms.Compose', transforms=[])),
    'a transform as the model': lambda c, f: c['model'].update(type='ResizeTwoViews'),
    'a width beyond memory': lambda c, f: c['model'].update(text_dim=10**12),
    'blocks beyond counting': lambda c, f: c['model']['union_encoder']['arch'].update(depth=9_000_000),
    'stages beyond counting': lambda c, f: c['model']['backbone']['arch'].update(stages=[1, 1, 9_000_000, 1]),
    'an argument that is none': lambda c, f: c['model'].update(evil=1),
}


@pytest.mark.parametrize('name', HOSTILE)
def test_nothing_of_a_hostile_bundle_is_run(bundle, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    spoiled = change(bundle, tmp_path / 'spoiled', HOSTILE[name])
    with pytest.raises(RefSegError) as caught:
        RS2SAM2Inferencer(spoiled)
    assert '\n' not in str(caught.value)
    assert str(tmp_path / 'spoiled') in str(caught.value)
    assert not (tmp_path / 'ran').exists()


def test_json_that_is_none(bundle, tmp_path):
    texts = ('', '[]', '{"format": 1, "format": 1}', '{"format": NaN}', '[' * 10**5, ' ' * (2 << 20))
    for number, text in enumerate(texts):
        spoiled = shutil.copytree(bundle, tmp_path / str(number))
        (spoiled / MANIFEST).write_text(text)
        with pytest.raises(ConfigError, match=MANIFEST):
            read_bundle(spoiled)


def test_code_in_a_config_is_not_published(work_dir, tmp_path):
    config = Config(dict(model=dict(type='RS2SAM2', hook=print)))
    with pytest.raises(ConfigError, match='is code'):
        write_bundle(tmp_path / 'x', config.model, [], {}, {'a': torch.zeros(1)}, {}, '')
    assert not (tmp_path / 'x').exists()
