"""Checkpoints that would take memory, depth or time that no file of tensors needs; tensors that are no numbers."""

import io
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.published_weights import assert_same, save
from helpers.tiny import tiny_model
from rs2sam2.errors import CheckpointError
from rs2sam2.weights.adapters.adapter import OWN
from rs2sam2.weights.files import load_pickle, open_state_dict, save_checkpoint
from rs2sam2.weights.loading import load_into
from rs2sam2.weights.pickle_guard import MAX_INSTRUCTIONS

STATE = {'a.weight': torch.arange(6.0).view(2, 3), 'a.bias': torch.zeros(2)}
GIGABYTES = 20 * 10**9


def archive(path: Path, content: bytes, compression: int = zipfile.ZIP_STORED) -> Path:
    """A file of torch's form around a pickle of our own."""
    with zipfile.ZipFile(path, 'w', compression) as file:
        file.writestr('archive/data.pkl', content)
        file.writestr('archive/version', '3\n')
        file.writestr('archive/byteorder', 'little')
    return path


def call(name: str, *arguments: bytes) -> bytes:
    """A pickle that calls a global with numbers."""
    return b'\x80\x02c' + name.replace('.', '\n', 1).encode() + b'\n(' + b''.join(arguments) + b'tR.'


def number(value: int) -> bytes:
    return b'\x8a\x08' + value.to_bytes(8, 'little')


def deep(kind: bytes, depth: int = 10**6) -> bytes:
    """Nested tuples, and a dict whose key they are: Python's hash of them would end the process."""
    return b'\x80\x02}' + b')' + kind * depth + b'K\x01s.'


def module_call(module: str, name: str, *arguments: bytes) -> bytes:
    return b'\x80\x02c' + f'{module}\n{name}\n('.encode() + b''.join(arguments) + b'tR.'


BOMBS = {
    'bytearray': module_call('builtins', 'bytearray', number(GIGABYTES)),
    'python 2': module_call('__builtin__', 'bytearray', number(GIGABYTES)),
    'tensor': module_call('torch', 'Tensor', number(GIGABYTES)),
    'storage': module_call('torch.storage', 'UntypedStorage', number(GIGABYTES)),
    'array': module_call('numpy', 'ndarray', number(GIGABYTES)),
    'reconstructed array': module_call(
        'numpy.core.multiarray', '_reconstruct', b'cnumpy\nndarray\n', number(GIGABYTES), b'\x85', b'U\x01b'
    ),
    'deep': deep(b'\x85'),
    'long': b'\x80\x02\x8b' + (10**6).to_bytes(4, 'little') + b'\x7f' * 10**6 + b'.',
    'storage of a legacy file': b'\x80\x02(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000'
    b'X\x03\x00\x00\x00cpu' + number(GIGABYTES) + b'NtQ.',
    'slow codec': module_call('_codecs', 'encode', b'X\x01\x00\x00\x00a', b'X\x08\x00\x00\x00punycode'),
}

READ = """
import pathlib, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
from rs2sam2.errors import CheckpointError
from rs2sam2.weights.files import open_state_dict
for path in sys.argv[1:]:
    try:
        open_state_dict(path)
    except CheckpointError as error:
        print('one line:', error)
# Not ru_maxrss: it keeps the parent's peak over fork and exec.
print('peak', pathlib.Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])
"""


def test_bombs_are_refused_before_anything_is_allocated(tmp_path):
    """In a process of its own: the deep ones would end it."""
    paths = []
    for name, content in BOMBS.items():
        paths.append(archive(tmp_path / f'{name} zip.pth', content))
        (tmp_path / f'{name} old.pth').write_bytes(content)
        paths.append(tmp_path / f'{name} old.pth')
    stream = io.BytesIO()
    pickle.dump({'a': 1}, stream, 2)
    paths.append(archive(tmp_path / 'compressed.pth', stream.getvalue() + bytes(10**8), zipfile.ZIP_DEFLATED))
    done = subprocess.run([sys.executable, '-c', READ, *map(str, paths)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    *lines, peak = done.stdout.splitlines()
    assert len(lines) == len(paths), done.stdout
    assert int(peak.split()[1]) < 1 << 20, 'no more than the imports, in KiB'


def test_more_can_be_allowed(tmp_path, monkeypatch):
    path = save(STATE, tmp_path / 'a.pth')
    monkeypatch.setenv(MAX_INSTRUCTIONS, '20')
    with pytest.raises(CheckpointError, match=rf'more than 20 instructions; .*{MAX_INSTRUCTIONS}'):
        open_state_dict(path)
    monkeypatch.setenv(MAX_INSTRUCTIONS, '2000')
    assert_same(dict(open_state_dict(path)), STATE)


def test_arrays_of_own_checkpoints_come_back_and_go_out_as_arrays(tmp_path):
    values = np.arange(5.0), np.array([[1, 2]]), np.float64(2.5)
    for name in ('a.pth', 'b.pth'):
        save_checkpoint(tmp_path / name, dict(state_dict=STATE, values=values))
        values = load_pickle(tmp_path / name)['values']
    assert [np.asarray(one).tolist() for one in values] == [[0, 1, 2, 3, 4], [[1, 2]], 2.5]


@pytest.mark.filterwarnings('ignore:Validating sparse tensor invariants')
@pytest.mark.parametrize(
    ('tensor', 'words'),
    [
        (torch.ones(2, 2).to(torch.float8_e4m3fn), r'float8_e4m3fn|UntypedStorage'),
        (torch.ones(2, 2).to_sparse(), 'is sparse'),
        (torch.ones(2, 2, device='meta'), 'without numbers'),
        (torch.ones(1).expand(10**9), 'repeats few numbers'),
        (torch.ones(2, dtype=torch.complex64), 'complex64'),
    ],
    ids=['float8', 'sparse', 'meta', 'expanded', 'complex'],
)
def test_tensors_that_are_no_plain_numbers(tensor, words, tmp_path):
    with pytest.raises(CheckpointError, match=words):
        open_state_dict(save({**STATE, 'b': tensor}, tmp_path / 'a.pth'))


def test_names_that_are_no_text(tmp_path):
    with pytest.raises(CheckpointError, match='its entry 3 has no name that is text'):
        open_state_dict(save({3: torch.ones(1)}, tmp_path / 'a.pth'))


@pytest.mark.parametrize('share', [0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
@pytest.mark.parametrize('is_zip', [True, False])
def test_cut_archives(share, is_zip, tmp_path):
    path = tmp_path / 'a.pth'
    torch.save(dict(model=STATE), path, _use_new_zipfile_serialization=is_zip)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match=r'a\.pth'):
        open_state_dict(path)


@pytest.mark.parametrize('text', ['[' * 10**5, '{"weight_map": {"a": "x", "a": "y"}}', '{"weight_map": 3}'])
def test_indices_that_are_no_index(text, tmp_path):
    (tmp_path / 'model.safetensors.index.json').write_text(text)
    with pytest.raises(CheckpointError, match='is no index of shards'):
        open_state_dict(tmp_path)


@pytest.mark.parametrize('prefix', ['_orig_mod.', 'module._orig_mod.', '_orig_mod.module.'])
def test_compiled_models(prefix, tmp_path):
    model = tiny_model()
    state = {name: tensor + 1 if tensor.is_floating_point() else tensor for name, tensor in model.state_dict().items()}
    written = {prefix + name.replace('backbone.', 'backbone._orig_mod.'): tensor for name, tensor in state.items()}
    load_into(model, OWN, open_state_dict(save(written, tmp_path / 'a.pth')))
    assert_same(model.state_dict(), state)


def test_another_size_is_said_first(tmp_path):
    """Wider, and deeper at the same width."""
    for options in ({'model.text_dim': 32}, {}):
        state = tiny_model().state_dict()
        if options:
            state = {name: torch.cat((t, t)) if t.dim() else t for name, t in state.items()}
        else:
            state |= {n.replace('layers.0.', f'layers.{i}.'): t for n, t in state.items() for i in range(5, 9)}
        with pytest.raises(CheckpointError, match=r'another model size.*use the config that these') as error:
            load_into(tiny_model(), OWN, open_state_dict(save(state, tmp_path / 'a.pth')))
        assert len(str(error.value)) < 1000


@pytest.mark.parametrize('name', ['x.pth', 'x.safetensors', 'folder/model.safetensors'])
@pytest.mark.parametrize(
    ('content', 'words'),
    [
        (b'version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 34\n', 'git lfs pull'),
        (b'<!DOCTYPE html><html>Log in</html>', 'web page'),
    ],
)
def test_what_was_fetched_in_place_of_weights_is_named(tmp_path, name, content, words):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=words):
        open_state_dict(path.parent if path.parent != tmp_path else path)


def test_what_is_there_and_no_file_is_not_called_missing(tmp_path):
    os.mkfifo(path := tmp_path / 'pipe.pth')
    with pytest.raises(CheckpointError, match='is no file'):
        open_state_dict(path)
