"""Which checkpoint of a work dir is the last; how a training checkpoint is written."""

import fcntl
import os
import resource
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.serialization import location_tag

from rs2sam2.engine.randomness import rng_state, seed_process, seeded, set_rng_state
from rs2sam2.engine.work_dir import (
    keep_tokenizers,
    latest_checkpoint,
    mark_start,
    name_latest,
    remove_unfinished,
    started_at,
)
from rs2sam2.errors import CheckpointError
from rs2sam2.weights import files as module
from rs2sam2.weights.files import load_pickle, save_checkpoint, save_state_dict


def put(folder: Path, name: str, time: str = '', iteration: int = 0, mtime: float = 99) -> Path:
    """A checkpoint that says when it was written, or an empty file."""
    path = folder / name
    path.write_bytes(b'x')
    if time:
        meta = dict(time=f'20260101_0000{time}', iter=iteration)
        torch.save(dict(meta=meta, state_dict=dict(a=torch.zeros(1))), path)
    os.utime(path, (mtime, mtime))
    return path


def test_latest_checkpoint(tmp_path):
    assert latest_checkpoint(tmp_path) is None
    put(tmp_path, 'best_mIoU_epoch_3.pth', '59', 900)
    put(tmp_path, '.epoch_4.pth.17.tmp', '59', 900)
    put(tmp_path, 'other.pth', '59', 900)
    (tmp_path / 'epoch_77.pth').mkdir()
    assert latest_checkpoint(tmp_path) is None
    old, new = put(tmp_path, 'epoch_40.pth', '10', 400, mtime=98), put(tmp_path, 'epoch_3.pth', '20', 30, mtime=10)
    assert latest_checkpoint(tmp_path) == new, 'the time in the file counts, not that of a copy'
    name_latest(tmp_path, str(old))
    assert latest_checkpoint(tmp_path) == old, 'the name counts'
    newer = put(tmp_path, 'resume_iter_401.pth', '10', 401)
    assert latest_checkpoint(tmp_path) == newer, 'killed before the name was written'
    assert latest_checkpoint(tmp_path, since=99) == newer
    assert latest_checkpoint(tmp_path, since=100) is None
    name_latest(tmp_path, str(new))
    assert latest_checkpoint(tmp_path) == new, 'the others are of an older run'
    name_latest(tmp_path, '/gone/epoch_5.pth')
    assert latest_checkpoint(tmp_path) == new, 'its file is gone'
    name_latest(tmp_path, '/moved/from/epoch_40.pth')
    (tmp_path / 'resume_iter_401.pth').unlink()
    assert latest_checkpoint(tmp_path) == old, 'the work dir was moved'


@pytest.mark.parametrize('said', ['', '..', '/', '\0', 'a\nb', 'x' * 10**5, '/etc/passwd', b'\xff\xfe.pth'])
def test_what_last_checkpoint_says_is_a_name_in_the_folder(tmp_path, said):
    folder = tmp_path / 'run'
    folder.mkdir()
    own = put(folder, 'epoch_1.pth', '10', 1)
    (folder / 'last_checkpoint').write_bytes(said if isinstance(said, bytes) else said.encode())
    assert latest_checkpoint(folder) == own
    elsewhere = put(tmp_path, 'epoch_2.pth', '20', 2)
    (folder / 'last_checkpoint').write_text(str(elsewhere))
    assert latest_checkpoint(folder) == own, 'the other run is there, and not this one'
    put(folder, 'epoch_3.pth')
    assert latest_checkpoint(folder) == own, 'one that cannot be read is not the last'


def test_start_and_what_is_left_over(tmp_path):
    assert started_at(tmp_path) == 0
    mark_start(tmp_path)
    assert started_at(tmp_path) > 0
    put(tmp_path, '.epoch_4.pth.17.tmp')
    put(tmp_path, '.last_checkpoint.17.tmp')
    kept = put(tmp_path, 'epoch_3.pth')
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


def test_a_full_disk_is_named(tmp_path):
    """Neither torch nor safetensors says why it could not write: a limit of the process stands for the disk."""
    state = {'a': torch.zeros(1 << 20)}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        for name in ('a.pth', 'a.safetensors'):
            with pytest.raises(CheckpointError, match=rf'{name} could not be written: .*File too large.*; make room'):
                save_state_dict(tmp_path / name, state, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_writer_left_goes_with_the_next_one(tmp_path):
    (tmp_path / '.a.pth.17.tmp').write_text('killed')
    (tmp_path / '.ab.pth.17.tmp').write_text('of another file')
    with (tmp_path / '.a.pth.18.tmp').open('w') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        save_state_dict(tmp_path / 'a.pth', {'a': torch.zeros(1)}, {})
        assert sorted(os.listdir(tmp_path)) == ['.a.pth.18.tmp', '.ab.pth.17.tmp', 'a.pth'], 'another one writes'


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


def test_a_work_dir_keeps_its_own_tokenizer(tmp_path):
    (tmp_path / 'data/tokenizer').mkdir(parents=True)
    (tmp_path / 'data/tokenizer/a.model').write_text('first')
    (tmp_path / 'data/b.spm').write_text('file')
    work_dir = tmp_path / 'run'
    work_dir.mkdir()
    pipeline = [
        dict(type='LoadRGBImage'),
        dict(type='A', tokenizer=dict(path=f'{tmp_path}/data/tokenizer')),
        dict(type='B', tokenizer=dict(path=f'{tmp_path}/data/b.spm')),
        dict(type='C', tokenizer=dict(path='missing')),
    ]
    keep_tokenizers(work_dir, pipeline)
    (tmp_path / 'data/tokenizer/a.model').write_text('another one')
    keep_tokenizers(work_dir, pipeline)
    assert (work_dir / 'tokenizer/a.model').read_text() == 'first'
    assert sorted(path.name for path in work_dir.iterdir()) == ['b.spm', 'tokenizer']
