"""What travels with the package: configs and tools in `.mim`, the model index, names with `rs2sam2::`."""

import os
import shutil
import subprocess
import sys
import zipfile

import pytest
import yaml
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS, TRANSFORMS

from helpers.paths import CONFIGS, ROOT
from rs2sam2.models.rs2sam2.hiera import SAM2Hiera
from rs2sam2.models.rs2sam2.segmentor import RS2SAM2
from rs2sam2.weights import zoo

SOURCES = ('projects', 'configs', 'tools', 'requirements')
FILES = ('setup.py', 'pyproject.toml', 'MANIFEST.in', 'README.md', 'LICENSE', 'model-index.yml')


def metafiles() -> list[dict]:
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    return [yaml.safe_load((ROOT / path).read_text()) for path in index['Import']]


def named_models() -> list[dict]:
    return [model for metafile in metafiles() for model in metafile['Models']]


def test_the_model_index_names_every_shipped_config_once():
    named = [model['Config'] for model in named_models()]
    assert sorted(named) == CONFIGS
    names = [model['Name'] for model in named_models()]
    assert len(set(names)) == len(names)
    collections = {one['Name'] for metafile in metafiles() for one in metafile.get('Collections', ())}
    assert {model['In Collection'] for model in named_models()} == collections


def test_results_are_the_published_ones_and_say_whose_they_are():
    found = {model['Name']: model for model in named_models() if 'Results' in model}
    assert set(found) == {'rs2sam2_rrsisd', 'rs2sam2_refsegrs', 'lavt_rrsisd', 'rmsin_rrsisd'}
    assert 'this project' in zoo.published()['demo'].scores_from
    for model in found.values():
        assert 'authors' in model['Metadata']['Results From']
        published = Config.fromfile(ROOT / model['Config']).test_evaluator.published
        (result,) = model['Results']
        assert result['Dataset'] in published.name
        assert result['Metrics'] == {name: published['values'][name] for name in ('mIoU', 'oIoU')}


def test_an_editable_install_knows_its_configs_by_name(tmp_path):
    (tmp_path / 'mine.py').write_text(
        "_base_ = 'rs2sam2::rs2sam2/rs2sam2_tiny_demo.py'\nmodel = dict(mask_prompt_generator=dict(num_heads=4))\n"
    )
    cfg, own = Config.fromfile(tmp_path / 'mine.py'), Config.fromfile(ROOT / 'configs/rs2sam2_tiny_demo.py')
    assert cfg.train_dataloader.dataset.data_root == own.train_dataloader.dataset.data_root
    model = MODELS.build(cfg.model)
    assert isinstance(model, RS2SAM2)
    assert model.mask_prompt_generator.attention.num_heads == 4


def test_the_scope_passes_names_on(caplog):
    assert MODELS.get('rs2sam2.SAM2Hiera') is SAM2Hiera
    init_default_scope('mmseg')
    # As mmengine builds what a config inherits: also a part of mmseg's or mmcv's in our scope.
    assert type(MODELS.build(dict(type='ResNet', depth=18, _scope_='rs2sam2'))).__name__ == 'ResNet'
    steps = [dict(type='LoadRGBImage', _scope_='rs2sam2')]
    assert type(TRANSFORMS.build(dict(type='Compose', transforms=steps, _scope_='rs2sam2'))).__name__ == 'Compose'
    assert 'rs2sam2' not in caplog.text


@pytest.mark.slow
@pytest.mark.ci
def test_a_wheel_brings_configs_and_tools(tmp_path):
    source = tmp_path / 'source'
    for name in SOURCES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns('.mim', '__pycache__'))
    for name in FILES:
        shutil.copy(ROOT / name, source / name)
    pip = [sys.executable, '-m', 'pip', '-q', '--disable-pip-version-check']
    offline = ['--no-build-isolation', '--no-deps', '--no-index']
    subprocess.run([*pip, 'wheel', *offline, '-w', tmp_path, source], check=True)
    (wheel,) = tmp_path.glob('rs2sam2-*.whl')
    names = set(zipfile.ZipFile(wheel).namelist())
    for path in (
        *CONFIGS,
        'configs/metafile.yml',
        'configs/bundles.yml',
        'configs/starting_weights.yml',
        'tools/train.py',
        'tools/dist_train.sh',
        'model-index.yml',
    ):
        assert f'rs2sam2/.mim/{path}' in names
    target = tmp_path / 'target'
    subprocess.run([*pip, 'install', *offline, '--target', target, wheel], check=True)
    outside = tmp_path / 'outside'
    outside.mkdir()
    (outside / 'mine.py').write_text(
        "_base_ = 'rs2sam2::rs2sam2/rs2sam2_tiny_demo.py'\nmodel = dict(backbone=dict(frozen=True))\n"
    )
    script = """
import runpy, sys
from pathlib import Path
import rs2sam2
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
package = Path(rs2sam2.__file__).parent
assert package.parent == Path(sys.argv[1]), package
cfg = Config.fromfile('mine.py')
init_default_scope(cfg.default_scope)
model = MODELS.build(cfg.model)
assert not any(p.requires_grad for p in model.backbone.trunk.parameters())
sys.argv = ['train.py', '--help']
runpy.run_path(str(package / '.mim/tools/train.py'), run_name='__main__')
"""
    done = subprocess.run(
        [sys.executable, '-c', script, target],
        cwd=outside,
        env={**os.environ, 'PYTHONPATH': str(target)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert 'Train a referring segmentor' in done.stdout
