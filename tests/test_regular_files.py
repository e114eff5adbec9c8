"""Whatever is written and then moved into its place takes that of regular files only."""

import os
import stat

import pytest
import torch

from rs2sam2.cli.outputs import OutputFolder
from rs2sam2.errors import ConfigError
from rs2sam2.evaluation.results import write_results
from rs2sam2.files import place_of
from rs2sam2.weights.files import save_checkpoint, save_state_dict


def write_run(path):
    OutputFolder(path.parent)._write(path, lambda temporary: temporary.write_text('x'))


WRITERS = {
    '.pth': lambda path: save_state_dict(path, {'a': torch.zeros(1)}, {}),
    '.safetensors': lambda path: save_state_dict(path, {'a': torch.zeros(1)}, {}),
    '.ckpt': lambda path: save_checkpoint(path, {'a': torch.zeros(1)}),
    '.jsonl': lambda path: write_results([], path),
    '.json': write_run,
}


@pytest.mark.parametrize('suffix', WRITERS)
@pytest.mark.parametrize('kind', ['pipe', 'link to a pipe', 'folder'])
def test_no_device_pipe_or_folder_is_replaced(tmp_path, suffix, kind):
    path = tmp_path / f'out{suffix}'
    if kind == 'folder':
        path.mkdir()
    else:
        os.mkfifo(tmp_path / 'pipe' if kind.startswith('link') else path)
        if kind.startswith('link'):
            path.symlink_to(tmp_path / 'pipe')
    before = sorted(one.name for one in tmp_path.iterdir())
    with pytest.raises(ConfigError, match='name a file to write'):
        WRITERS[suffix](path)
    assert sorted({one.name for one in tmp_path.iterdir()} - {'masks', 'overlays'}) == before
    assert not stat.S_ISREG(path.lstat().st_mode)


@pytest.mark.parametrize('suffix', WRITERS)
def test_files_and_new_names_are_and_links_are_followed(tmp_path, suffix):
    (tmp_path / f'old{suffix}').write_text('old')
    (tmp_path / f'link{suffix}').symlink_to(f'target{suffix}')
    for name in ('new', 'old', 'link'):
        WRITERS[suffix](tmp_path / f'{name}{suffix}')
        assert (tmp_path / f'{name}{suffix}').is_file()
    assert (tmp_path / f'link{suffix}').is_symlink()
    assert (tmp_path / f'target{suffix}').is_file()


def test_devices_are_never_a_place(tmp_path):
    with pytest.raises(ConfigError, match='is a device'):
        place_of('/dev/null')
    (tmp_path / 'a').symlink_to(tmp_path / 'b')
    (tmp_path / 'b').symlink_to(tmp_path / 'a')
    with pytest.raises(ConfigError, match='is a loop of links'):
        place_of(tmp_path / 'a')
