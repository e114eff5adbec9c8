"""Bundles: what comes out goes in again, and nothing in them is run."""

import json
import os
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config

from helpers.work_dirs import make_work_dir
from rs2sam2 import RS2SAM2Inferencer
from rs2sam2.errors import CheckpointError, ConfigError, OutputError, RefSegError
from rs2sam2.inference.scene_defaults import scene_defaults
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
    'a type in a list in an object': lambda c, f: c['model']['decode_head'].update(
        losses=[[{'x': {'type': 'os.system'}}]]
    ),
    'a type with a letter of another script': lambda c, f: c['model'].update(type='RS2S\u0410M2'),
    'a step without a type': lambda c, f: c['pipeline'][0].pop('type'),
    'no steps': lambda c, f: c.update(pipeline=[]),
    'a format that is no number': lambda c, f: c.update(format=True),
    'a folder of outputs': lambda c, f: c.update(work_dir='/etc'),
    'a link to itself': lambda c, f: (f / 'link.json').symlink_to('link.json'),
    'a pipe': lambda c, f: os.mkfifo(f / 'pipe.json'),
    'weights elsewhere': lambda c, f: ((f / WEIGHTS).unlink(), (f / WEIGHTS).symlink_to('/etc/passwd')),
    'a null byte in a path': lambda c, f: c['pipeline'][-2]['tokenizer'].update(path='tokenizer/\0'),
    'a long path': lambda c, f: c['pipeline'][-2]['tokenizer'].update(path=f'tokenizer/{"x" * 5000}'),
    'a tokenizer that is none': lambda c, f: c['pipeline'][-2]['tokenizer'].update(type='LoadRGBImage'),
    'training data without end': lambda c, f: c['about'].update(trained_on='x' * 10**5),
    'heads that do not divide': lambda c, f: c['model']['union_encoder']['arch'].update(num_heads=7),
    'no heads': lambda c, f: c['model']['backbone']['arch'].update(num_heads=0),
    'patches of no pixels': lambda c, f: c['model']['union_encoder'].update(patch_size=0),
    'a view beyond memory': lambda c, f: c['pipeline'][0].update(size=9_999_999),
    'a view of no pixels': lambda c, f: c['pipeline'][0].update(size=0),
    'a view of another size': lambda c, f: c['pipeline'][0].update(union_size=c['pipeline'][0]['union_size'] + 8),
    'a step with an argument that is none': lambda c, f: c['pipeline'][0].update(evil=1),
    'steps that pack nothing': lambda c, f: c['pipeline'].pop(),
    'a length that is no number': lambda c, f: c['pipeline'][-2].update(max_length='x'),
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


@pytest.mark.parametrize(
    'scene',
    [dict(window='x'), dict(window=0), dict(window=10**7), dict(gsd=-1), dict(trained_gsd=5), dict(trained_gsd=[2, 1]),
     dict(several={'a': 1})],
)  # fmt: skip
def test_scenes_that_cannot_be_cut_so(bundle, tmp_path, scene):
    spoiled = change(bundle, tmp_path / 'spoiled', lambda c, f: c.update(scene=scene))
    with pytest.raises(ConfigError, match=rf'bundle\.json: scene\.{next(iter(scene))} is '):
        scene_defaults(RS2SAM2Inferencer(spoiled))


def test_the_place_of_what_is_refused_is_named(bundle, tmp_path):
    spoiled = change(bundle, tmp_path / 'spoiled', HOSTILE['a type in a list in an object'])
    with pytest.raises(ConfigError, match=r'bundle\.json: model\.decode_head\.losses\[0\]\[0\]\.x\.type is '):
        read_bundle(spoiled)


@pytest.mark.parametrize('length', [0, 2, 2**63, 2**64 - 1])
def test_weights_whose_header_is_none(bundle, tmp_path, length):
    spoiled = shutil.copytree(bundle, tmp_path / 'spoiled')
    (spoiled / WEIGHTS).write_bytes(struct.pack('<Q', length) + b'{}')
    with pytest.raises(CheckpointError, match=WEIGHTS):
        read_bundle(spoiled)


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
