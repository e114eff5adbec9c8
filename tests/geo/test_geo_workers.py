"""The same bytes whoever works, and however often it is killed."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from importlib.util import find_spec

import psutil
import pytest

pytest.importorskip('rasterio')

from helpers.geo_scenes import blobs, write_scene
from helpers.paths import ROOT
from rs2sam2.errors import ConfigError
from rs2sam2.geo.units import WorkerMaker
from rs2sam2.workers import open_workers
from rs2sam2.workers.shared import Token

RUN = str(ROOT / 'tests/helpers/scene_run.py')
needs_ray = pytest.mark.skipif(find_spec('ray') is None, reason='Ray is not installed: pip install "rs2sam2[ray]"')
KILLS = 20


def _command(how, count, scenes, out, seconds=0.0):
    tail = [RUN, str(scenes), str(out), '--seconds', str(seconds)]
    if how == 'torchrun':
        launcher = ['-m', 'torch.distributed.run', '--nproc-per-node', str(count), '--standalone']
        return [sys.executable, *(launcher if count > 1 else []), *tail]
    return [sys.executable, *tail, '--ray', 'local', '--workers', str(count)]


def _environment():
    return os.environ | {'OMP_NUM_THREADS': '1', 'PYTHONPATH': os.pathsep.join(filter(None, sys.path))}


def _run(how, count, scenes, out):
    done = subprocess.run(
        _command(how, count, scenes, out), env=_environment(), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob('*')
        if path.is_file() and path.name != '.lock'
    }


@pytest.fixture
def scenes(tmp_path):
    (folder := tmp_path / 'scenes').mkdir()
    for number, side in enumerate((400, 90, 700)):
        write_scene(folder / f's{number}.tif', blobs(side, 350, seed=number))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize('how', ['torchrun', pytest.param('ray', marks=needs_ray)])
def test_one_two_and_three_workers_write_the_same_bytes(tmp_path, scenes, how):
    written = []
    for count in (1, 2, 3):
        out = tmp_path / f'out{count}'
        assert '3 done, 0 before, 0 failed' in _run(how, count, scenes, out)
        written.append(_files(out))
    assert written[0] == written[1] == written[2]
    assert len(written[0]) == 3 + 3 * 5


@pytest.mark.slow
@pytest.mark.parametrize('how', ['torchrun', pytest.param('ray', marks=needs_ray)])
def test_killed_at_any_moment_it_goes_on_to_the_same_bytes(tmp_path, scenes, how):
    rng = random.Random(how)
    _run('torchrun', 1, scenes, tmp_path / 'whole')
    out = tmp_path / 'out'
    survived = 0
    for _ in range(KILLS):
        command = _command(how, 2, scenes, out, seconds=0.3)
        pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        run = subprocess.Popen(command, env=_environment(), start_new_session=True, **pipes)
        assert 'started' in run.stdout.readline()
        time.sleep(rng.uniform(0, 6))
        workers = _workers(run.pid, how)
        head = rng.random() < 0.5 or not workers
        _kill([run.pid, *_children(run.pid)] if head else [rng.choice(workers)])
        if not head and how == 'ray':
            # The actor comes back, and the run ends as if nothing had been.
            run.wait(timeout=300)
            assert run.returncode == 0
        with contextlib.suppress(subprocess.TimeoutExpired):
            run.wait(timeout=60)
        _kill([run.pid, *_children(run.pid)])
        survived += run.returncode == 0
        if run.returncode == 0:
            assert _files(out) == _files(tmp_path / 'whole')
            _forget(out)
    _run(how, 2, scenes, out)
    assert _files(out) == _files(tmp_path / 'whole')
    assert not (out / '.blocks').exists()
    print(f'{how}: {KILLS} kills, {survived} runs survived theirs')


def _children(pid):
    with contextlib.suppress(psutil.NoSuchProcess):
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    return []


def _workers(pid, how):
    """Processes that do units: actors, or torchrun's."""
    found = []
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                words = ' '.join(child.cmdline())
                if 'ray::Actor' in words or (how == 'torchrun' and 'scene_run' in words):
                    found.append(child.pid)
    return found


def _kill(pids):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _forget(out):
    """A finished folder is begun anew."""
    for path in sorted(out.rglob('*'), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()


@needs_ray
def test_a_cluster_that_does_not_answer_is_one_line():
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    begun = time.monotonic()
    for address in (f'127.0.0.1:{port}', f'ray://127.0.0.1:{port}', 'nonsense'):
        with pytest.raises(ConfigError, match='no Ray cluster answers at'), open_workers(address):
            pass
    assert time.monotonic() - begun < 15


def test_a_folder_that_is_not_shared_is_found_at_the_start(tmp_path):
    def model():
        raise AssertionError('before the model is loaded')

    path = tmp_path / 'token'
    for text in (None, 'that of another machine'):
        if text is not None:
            path.write_text(text)
        with pytest.raises(ConfigError, match=r'does not see .* as the head does'):
            WorkerMaker(model, Token(path, 'this'))()
