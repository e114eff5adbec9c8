"""What a new process does before its first mask, and what it leaves for later."""

import gc
import subprocess
import sys
import threading
from functools import partial

import pytest
import torch
from mmengine.registry import OPTIMIZERS

from rs2sam2.collecting import without_collecting
from rs2sam2.engine.adafactor import adafactor
from rs2sam2.files import digest
from rs2sam2.inference import RefSegInferencer, inferencer
from rs2sam2.inference.ahead import in_background
from rs2sam2.not_now import not_now

# What none of it needs, and who would bring it along.
LATE = {
    'transformers': 'mmengine, to register Adafactor',
    'peft': 'transformers, where it is installed',
    'torchvision': 'the merging of patches in LAVT and RMSIN',
    'torch._dynamo': 'torchvision',
    'torch._inductor': 'torchvision',
    'matplotlib': 'curves and pictures of training',
    'pandas': 'tables',
    'sklearn': 'transformers',
    'accelerate': 'peft',
    'rasterio': 'scenes',
    'gradio': 'the page',
    'fastapi': 'the service',
    'ray': 'workers on other machines',
    'onnxruntime': 'exported models',
}
START = """
import sys
import numpy as np
import rs2sam2.cli.segment
from rs2sam2 import RS2SAM2Inferencer
print(len(RS2SAM2Inferencer('demo', device='cpu')(np.zeros((64, 64, 3), np.uint8), 'the ship')))
print(*sys.modules)
"""


@pytest.mark.slow
@pytest.mark.ci
def test_a_first_mask_imports_only_what_it_needs_and_warns_of_nothing():
    done = subprocess.run([sys.executable, '-W', 'always', '-c', START], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 'Warning' not in done.stderr
    count, modules = done.stdout.strip().splitlines()[-2:]
    assert count == '1'
    found = set(LATE) & set(modules.split())
    assert not found, {name: LATE[name] for name in found}


def test_a_package_is_missing_only_for_a_while():
    name = 'wave'
    sys.modules.pop(name, None)
    with not_now(name), pytest.raises(ModuleNotFoundError, match=name):
        __import__(name)
    assert __import__(name).__name__ == name
    with not_now(name):
        assert __import__(name)  # what is there stays


def test_garbage_is_looked_for_again_after_an_import():
    assert gc.isenabled()
    with without_collecting(), without_collecting():
        assert not gc.isenabled()
    assert gc.isenabled()
    gc.disable()
    try:
        with without_collecting():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_what_an_import_made_is_not_looked_through_at_its_end():
    looked_at = []
    gc.unfreeze()  # commands that ran in this process froze what they had imported
    gc.callbacks.append(lambda phase, info: looked_at.append(info['generation']))
    try:
        with without_collecting():
            made = [[] for _ in range(10 * gc.get_threshold()[0])]
        more = [[] for _ in range(gc.get_threshold()[0] // 2)]
    finally:
        gc.callbacks.pop()
    assert not looked_at
    assert gc.get_freeze_count() == 0
    assert len(made) > len(more)
    gc.freeze()
    try:
        with without_collecting():
            pass
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()


def test_adafactor_is_there_for_those_who_ask():
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = adafactor([parameter], lr=0.1, relative_step=False, scale_parameter=False)
    assert type(optimizer).__module__.startswith('transformers')
    assert 'Adafactor' in OPTIMIZERS
    built = OPTIMIZERS.build(dict(type='Adafactor', params=[parameter], lr=0.1, relative_step=False))
    assert type(built) is type(optimizer)


def test_files_are_hashed_once_while_a_model_that_is_to_be_identified_is_loaded(monkeypatch):
    threads = {}

    def noted(path):
        threads[path.name] = [*threads.get(path.name, []), threading.current_thread()]
        return digest(path)

    monkeypatch.setattr(inferencer, 'digest', noted)
    plain, identified = (RefSegInferencer('demo', device='cpu', identified=wanted) for wanted in (False, True))
    identified._hashing.result(60)
    assert not any(threading.main_thread() in where for where in threads.values())
    assert identified.identity == identified.with_tta(None).identity
    assert {name: len(where) for name, where in threads.items()} == {'model.safetensors': 1, 'bundle.json': 1}
    assert plain.identity == identified.identity


def test_what_fails_in_the_background_is_raised_where_it_is_asked_for(tmp_path):
    with pytest.raises(FileNotFoundError, match='gone'):
        in_background(partial(digest, tmp_path / 'gone')).result(60)
