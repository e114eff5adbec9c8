"""A config that cannot be read is refused in one line that names the file and the way out."""

import pytest

from helpers.paths import ROOT
from rs2sam2.engine.config_file import read_config_file
from rs2sam2.engine.launch import load_config
from rs2sam2.errors import ConfigError

DEMO = f"_base_ = ['{ROOT}/configs/rs2sam2_tiny_demo.py']\n"
MODELS = [f'{ROOT}/configs/_base_/models/{name}.py' for name in ('rs2sam2_l', 'rs2sam2_tiny')]
IMPORTS = "custom_imports = dict(imports=['rs2sam2', {!r}])\n"


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        (b'\xef\xbb\xbf' + DEMO.encode(), ['base.py', 'BOM', 'save it as UTF-8 without']),
        (DEMO.encode('utf-16'), ['base.py', 'no UTF-8']),
        ("_base_ = ['nowhere.py']\n", ['base.py', '_base_ names nowhere.py', 'no file']),
        ("_base_ = 'rs2sam2::rs2sam2/nowhere.py'\n", ['nowhere.py', 'does not exist']),
        ("_base_ = ['.']\n", ['base.py', 'no file']),
        ('_base_ = 5\n', ['TypeError']),
        ("_base_ = 'config.py'\n", ['base.py', 'inherits', 'itself']),
        (f'_base_ = {MODELS}\n', ['KeyError', "Duplicate keys: {'model'}"]),
        (DEMO + 'model = dict(\n', ['base.py:2', 'was never closed']),
        (DEMO + 'x = (' * 3000, ['base.py:2', 'parentheses']),
        (DEMO + 'x = 1\0', ['base.py', 'null bytes']),
        (DEMO + 'x = undefined\n', ['base.py:2', "NameError: name 'undefined'"]),
        (DEMO + "import os\nx = os.environ['NOT_SET']\n", ['base.py:3', 'KeyError: NOT_SET']),
        (DEMO + 'load_from = dict(path=5)\n', ['TypeError', 'load_from']),
        (DEMO + "filename = 'mine'\n", ['filename is reserved']),
        (DEMO + IMPORTS.format('no_such_module'), ['custom_imports', "No module named 'no_such_module'", 'PYTHONPATH']),
        (DEMO + 'custom_imports = None\n', ['does not import rs2sam2', 'custom_imports = dict(']),
        (DEMO + 'custom_imports = dict(importz=3)\n', ['custom_imports has no importz']),
        ('', ['does not import rs2sam2']),
    ],
)
def test_a_broken_chain_is_refused_with_its_file(tmp_path, content, words):
    """The broken file is what another inherits, so that the one at fault must be named."""
    (tmp_path / 'base.py').write_bytes(content if isinstance(content, bytes) else content.encode())
    (tmp_path / 'config.py').write_text("_base_ = 'base.py'\n")
    with pytest.raises(ConfigError) as error:
        read_config_file(str(tmp_path / 'config.py'))
    assert all(word in str(error.value) for word in words), error.value
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(
    ('name', 'content', 'word'),
    [
        ('config.json', b'\xef\xbb\xbf{}', 'BOM'),
        ('config.json', b'{"a": ', 'JSONDecodeError'),
        ('config.yaml', b'_base_: nowhere.yaml', 'nowhere.yaml'),
        ('config.yaml', b'a: [1', 'ParserError'),
        ('config.txt', b'a = 1', 'Only py/yml/yaml/json'),
    ],
)
def test_other_kinds_of_files(tmp_path, name, content, word):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=word) as error:
        read_config_file(str(tmp_path / name))
    assert '\n' not in str(error.value)


def test_a_missing_file_and_a_folder(tmp_path):
    for path in (tmp_path / 'nowhere.py', tmp_path):
        with pytest.raises(ConfigError, match='no such config file'):
            load_config(str(path), None, 'none', None)


def test_a_fault_in_a_module_of_the_users_keeps_its_traceback(tmp_path, monkeypatch):
    (tmp_path / 'faulty_parts.py').write_text('undefined\n')
    (tmp_path / 'config.py').write_text(DEMO + IMPORTS.format('faulty_parts'))
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(NameError):
        read_config_file(str(tmp_path / 'config.py'))


def test_json_and_predefined_variables_are_read(tmp_path):
    (tmp_path / 'config.json').write_text(f'{{"_base_": "{ROOT}/configs/rs2sam2_tiny_demo.py", "load_from": "a.pth"}}')
    assert read_config_file(str(tmp_path / 'config.json')).load_from == 'a.pth'
    (tmp_path / 'config.py').write_text(
        "_base_ = ['{{ fileDirname }}/config.json']\nload_from = '{{ fileBasename }}'\n"
    )
    assert read_config_file(str(tmp_path / 'config.py')).load_from == 'config.py'
