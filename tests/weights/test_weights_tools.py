"""Bad weights through tools/train.py and tools/test.py: each refused by name in one line; missing files too."""

import os
import runpy
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS

from helpers.paths import ROOT
from helpers.published_weights import spoil
from rs2sam2.weights.adapters import ADAPTERS

NAME = 'vmtoken.multihead_attn.in_proj_weight'
HOWS = ['missing', 'renamed', 'extra', 'shape', 'nan', 'truncated', 'code']


class Attack:
    """Unpickled, it makes a folder."""

    def __reduce__(self) -> tuple:
        return os.mkdir, ('owned',)


@pytest.fixture(scope='module')
def official(site: Path) -> dict[str, torch.Tensor]:
    """The site's model under the released names."""
    model = MODELS.build(Config.fromfile(site / 'config.py').model)
    adapter = ADAPTERS['rs2sam2']
    return {adapter.table.to_official(n): t for n, t in model.state_dict().items() if not adapter.why_new(n)}


def spoiled(official: dict[str, torch.Tensor], how: str, path: Path) -> str:
    """Write a spoiled copy; returns what the error must name."""
    state = dict(official)
    if how == 'code':
        torch.save(dict(model=state, args=Attack()), path)
        return 'mkdir'
    named = spoil(state, how, NAME) if how != 'truncated' else path.name
    torch.save(state, path)
    if how == 'truncated':
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return named


def starting_from(source: str, checkpoint: object, site: Path, folder: Path) -> Path:
    """The site's config with published weights to start from."""
    init_cfg = dict(type='OfficialWeights', source=source, checkpoint=str(checkpoint))
    (folder / 'start.py').write_text(f'_base_ = [{str(site / "config.py")!r}]\nmodel = dict(init_cfg=[{init_cfg}])\n')
    return folder / 'start.py'


def refusal(tool: str, arguments: list, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture) -> str:
    """Run a tool in this process; returns the one line that it ends with."""
    monkeypatch.setattr(sys, 'argv', [tool, *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(ROOT / 'tools' / tool), run_name='__main__')
    assert stopped.value.code == 2
    log = capfd.readouterr().err
    lines = [line for line in log.splitlines() if line.startswith('error: ')]
    assert len(lines) == 1, log
    assert 'Traceback' not in log
    return lines[0]


@pytest.mark.parametrize(
    ('way', 'how'),
    [
        *(('load_from', how) for how in HOWS),
        *(('test', how) for how in HOWS),
        # The same loader again: enough to see that it is the one that is asked.
        ('init_cfg', 'missing'),
        ('init_cfg', 'nan'),
        ('init_cfg', 'code'),
        ('resume', 'missing'),
        ('resume', 'truncated'),
        ('resume', 'code'),
    ],
)
def test_spoiled_weights(how, way, site, official, tmp_path, monkeypatch, capfd):
    path = tmp_path / 'weights.pth'
    named = spoiled(official, how, path)
    monkeypatch.chdir(tmp_path)
    arguments = [site / 'config.py', '--work-dir', 'out']
    if way == 'test':
        arguments.insert(1, path)
    elif way == 'resume':
        (tmp_path / 'out').mkdir()
        path.rename(tmp_path / 'out/weights.pth')
        (tmp_path / 'out/last_checkpoint').write_text('/gone/weights.pth')
        arguments.append('--resume')
    elif way == 'load_from':
        arguments += ['--cfg-options', f'load_from={path}']
    else:
        arguments[0] = starting_from('rs2sam2', path, site, tmp_path)
    line = refusal('test.py' if way == 'test' else 'train.py', arguments, monkeypatch, capfd)
    assert 'weights.pth' in line
    # Weights alone cannot be resumed from, whatever else is wrong with them.
    assert named in line or (way == 'resume' and 'no training state' in line), line
    assert not (tmp_path / 'owned').exists()


def test_missing_weights_are_named_with_their_place(site, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    config = starting_from('sam2', 'pretrained/sam2_hiera_large.pt', site, tmp_path)
    line = refusal('train.py', [config], monkeypatch, capfd)
    assert 'pretrained/sam2_hiera_large.pt is missing' in line
    assert 'rs2sam2 download sam2_hiera_large' in line
    assert 'huggingface.co/facebook/sam2-hiera-large/resolve/main/sam2_hiera_large.pt' in line
    line = refusal('test.py', [site / 'config.py', 'nowhere.pth'], monkeypatch, capfd)
    assert 'nowhere.pth does not exist' in line
