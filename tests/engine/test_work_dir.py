"""Which checkpoint of a work dir is the last; how a training checkpoint is written."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.serialization import location_tag

from rs2sam2.engine.randomness import rng_state, seed_process, seeded, set_rng_state
from rs2sam2.engine.work_dir import latest_checkpoint, mark_start, name_latest, remove_unfinished, started_at
from rs2sam2.errors import CheckpointError
from rs2sam2.weights import files as module
from rs2sam2.weights.files import load_pickle, save_checkpoint


def put(folder: Path, name: str, time: float) -> Path:
    path = folder / name
    path.write_bytes(b'x')
    os.utime(path, (time, time))
    return path


def point(folder: Path, to: str, time: float) -> None:
    name_latest(folder, to)
    os.utime(folder / 'last_checkpoint', (time, time))


def test_latest_checkpoint(tmp_path):
    assert latest_checkpoint(tmp_path) is None
    put(tmp_path, 'best_mIoU_epoch_3.pth', 99)
    put(tmp_path, '.epoch_4.pth.17.tmp', 99)
    put(tmp_path, 'other.pth', 99)
    assert latest_checkpoint(tmp_path) is None
    old, new = put(tmp_path, 'epoch_40.pth', 10), put(tmp_path, 'epoch_3.pth', 20)
    assert latest_checkpoint(tmp_path) == new
    point(tmp_path, str(old), 25)
    assert latest_checkpoint(tmp_path) == old, 'the name counts'
    newer = put(tmp_path, 'resume_iter_9.pth', 30)
    assert latest_checkpoint(tmp_path) == newer, 'killed before the name was written'
    assert latest_checkpoint(tmp_path, since=30) == newer
    assert latest_checkpoint(tmp_path, since=31) is None
    point(tmp_path, '/gone/epoch_5.pth', 40)
    assert latest_checkpoint(tmp_path) == newer, 'its file is gone'
    point(tmp_path, '/moved/from/epoch_3.pth', 40)
    assert latest_checkpoint(tmp_path) == new, 'the work dir was moved'


def test_start_and_what_is_left_over(tmp_path):
    assert started_at(tmp_path) == 0
    mark_start(tmp_path)
    assert started_at(tmp_path) > 0
    put(tmp_path, '.epoch_4.pth.17.tmp', 5)
    put(tmp_path, '.last_checkpoint.17.tmp', 5)
    kept = put(tmp_path, 'epoch_3.pth', 5)
    assert remove_unfinished(tmp_path) == ['.epoch_4.pth.17.tmp', '.last_checkpoint.17.tmp']
    assert kept.exists()


def test_checkpoint_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / 'epoch_1.pth'
    content = dict(state_dict=dict(a=torch.arange(5.0)), rng=[rng_state()])
    save_checkpoint(path, content)
    assert torch.equal(load_pickle(path)['state_dict']['a'], content['state_dict']['a'])

    def full(*args, **kwargs):
        raise OSError(28, 'No space left on device')

    for name in ('fsync', 'replace'):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, full)
            with pytest.raises(CheckpointError, match=r'epoch_1.pth could not be written: .*No space'):
                save_checkpoint(path, dict(state_dict=dict(a=torch.zeros(1))))
        assert [one.name for one in tmp_path.iterdir()] == ['epoch_1.pth']
        assert torch.equal(load_pickle(path)['state_dict']['a'], content['state_dict']['a'])


def test_tensors_of_a_gpu_are_written_as_tensors_of_the_cpu(tmp_path, monkeypatch):
    """A storage that says it is on a GPU, as torch's tagger of devices sees it."""
    storage = SimpleNamespace(device=SimpleNamespace(type='cuda', index=0))
    tags = []
    monkeypatch.setattr(torch, 'save', lambda content, path: (path.touch(), tags.append(location_tag(storage))))
    save_checkpoint(tmp_path / 'a.pth', {})
    assert tags == ['cpu']
    assert module._tag_as_cpu(storage) is None, 'only while a checkpoint is written'


def test_random_states_survive_a_checkpoint(tmp_path):
    def draws() -> list:
        import random

        import numpy as np

        return [random.random(), np.random.rand(), np.random.randn(), torch.rand(1).item()]  # noqa: NPY002

    seed_process(1, 2, 3)
    draws()
    save_checkpoint(tmp_path / 'a.pth', dict(state_dict=dict(a=torch.ones(1)), rng=rng_state()))
    expected = draws()
    set_rng_state(load_pickle(tmp_path / 'a.pth')['rng'])
    assert draws() == expected
    set_rng_state(load_pickle(tmp_path / 'a.pth')['rng'])
    with seeded(1, 2, 3):
        inside = draws()
    assert draws() == expected, 'a seeded block gives the states back'
    with seeded(1, 2, 3):
        assert draws() == inside
    with seeded(1, 2, 4):
        assert draws() != inside
