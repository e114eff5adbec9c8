"""tools/misc/print_config.py shows the config that a run would have, as a config that can be run."""

import runpy
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

from helpers.paths import ROOT


def print_config(monkeypatch, *args: object) -> None:
    monkeypatch.setattr(sys, 'argv', ['print_config.py', *map(str, args)])
    runpy.run_path(str(ROOT / 'tools/misc/print_config.py'), run_name='__main__')


def test_what_it_prints_is_the_whole_config(monkeypatch, tmp_path, capsys):
    config = ROOT / 'configs/rs2sam2_rrsisd_1gpu_lora.py'
    saved = tmp_path / 'deep/whole.py'
    print_config(monkeypatch, config, '--save-path', saved, '--cfg-options', 'train_cfg.max_epochs=3')
    (tmp_path / 'printed.py').write_text(capsys.readouterr().out)
    want = Config.fromfile(config)
    want.train_cfg.max_epochs = 3
    for path in (tmp_path / 'printed.py', saved):
        assert '_base_' not in path.read_text()
        assert Config.fromfile(path)._cfg_dict.to_dict() == want._cfg_dict.to_dict()


@pytest.mark.parametrize(
    ('args', 'said'),
    [
        (['nowhere.py'], 'nowhere.py: no such config file'),
        ([ROOT / 'configs/rs2sam2_rrsisd.py', '--cfg-options', 'train_cfg.max_epoch=3'], 'did you mean max_epochs?'),
        ([ROOT / 'configs/rs2sam2_rrsisd.py', '--save-path', 'whole.txt'], 'expected a name that ends in .py'),
        ([ROOT / 'configs/rs2sam2_rrsisd.py', '--save-path', '/dev/null/whole.py'], 'cannot be written'),
    ],
)
def test_mistakes_get_one_line(monkeypatch, tmp_path, capsys, args, said):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        print_config(monkeypatch, *args)
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith('error: ')
    assert said in line
    assert not list(Path(tmp_path).iterdir())
