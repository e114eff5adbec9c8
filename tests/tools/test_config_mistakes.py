"""Every tool and command that reads a config refuses a broken one in one line, and so do those that take options."""

import runpy
import sys

import pytest
import torch

from helpers.paths import ROOT
from rs2sam2.cli.main import main as rs2sam2

READERS = {
    'train.py': ['CONFIG'],
    'test.py': ['CONFIG', 'checkpoint.pth'],
    'misc/print_config.py': ['CONFIG'],
    'misc/browse_dataset.py': ['CONFIG'],
    'dataset_tools/check_dataset.py': ['CONFIG'],
    'analysis_tools/get_flops.py': ['CONFIG'],
    'analysis_tools/benchmark.py': ['CONFIG'],
    'analysis_tools/profile_dataloader.py': ['CONFIG'],
    'model_converters/convert.py': ['src.pth', 'dst.pth', '--source', 'sam2', '--config', 'CONFIG'],
    'model_converters/merge_lora.py': ['CONFIG', 'src.pth', 'dst.pth'],
    'rs2sam2 segment': ['image.png', '-e', 'the ship', '--model', 'CONFIG', '--out', 'out'],
    'rs2sam2 scene': ['scene.tif', '-e', 'the ship', '--model', 'CONFIG', '--mask', 'mask.tif'],
    'rs2sam2 demo': ['--model', 'CONFIG'],
}
NO_OPTIONS = {'model_converters/convert.py', 'model_converters/merge_lora.py'}
TAKES_OPTIONS = [name for name in READERS if not name.startswith('rs2sam2') and name not in NO_OPTIONS]
DEMO = f"_base_ = ['{ROOT}/configs/rs2sam2_tiny_demo.py']\n"


@pytest.fixture
def refusal(tmp_path, monkeypatch, capfd):
    """Runs a tool or command on a config in an empty folder; returns the line that it ends with."""

    def run(name: str, config: bytes, *options: str) -> str:
        if name == 'rs2sam2 demo':
            pytest.importorskip('gradio')
        monkeypatch.chdir(tmp_path)
        torch.save({'image_encoder.neck.weight': torch.zeros(1)}, 'src.pth')
        (tmp_path / 'mine.py').write_bytes(config)
        arguments = ['mine.py' if one == 'CONFIG' else one for one in READERS[name]]
        with pytest.raises(SystemExit) as stopped:
            start(name, [*arguments, *options])
        assert stopped.value.code == 2
        said = capfd.readouterr().err
        lines = [line for line in said.splitlines() if line.startswith('error: ')]
        assert len(lines) == 1, said
        assert 'Traceback' not in said
        assert {path.name for path in tmp_path.rglob('*') if path.is_file()} <= {'mine.py', 'src.pth'}
        return lines[0]

    def start(name: str, arguments: list[str]) -> None:
        monkeypatch.setattr(sys, 'argv', [name, *arguments])
        if name.startswith('rs2sam2'):
            monkeypatch.setattr(sys, 'argv', [*name.split(), *arguments])
            rs2sam2()
        else:
            runpy.run_path(str(ROOT / 'tools' / name), run_name='__main__')

    return run


@pytest.mark.parametrize('name', READERS)
def test_a_broken_config(name, refusal):
    assert 'mine.py begins with a byte order mark (BOM)' in refusal(name, b'\xef\xbb\xbf' + DEMO.encode())


@pytest.mark.parametrize('name', TAKES_OPTIONS)
def test_an_option_that_leads_nowhere(name, refusal):
    said = refusal(name, DEMO.encode(), '--cfg-options', 'model.decode_hed.dim=3')
    assert 'model (RS2SAM2) has no decode_hed (did you mean decode_head?)' in said
