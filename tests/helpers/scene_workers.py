"""Runs over scenes by torchrun and on Ray, each of which is some processes, for tests that compare and kill them."""

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from helpers.paths import ROOT
from helpers.training_site import free_port

RUN = str(ROOT / 'tests/helpers/scene_run.py')
LIGHT = str(ROOT / 'tests/helpers/light_start')
needs_ray = pytest.mark.skipif(find_spec('ray') is None, reason='Ray is not installed: pip install "rs2sam2[ray]"')


class Cluster(NamedTuple):
    """A Ray cluster on this machine.

    Attributes:
        address: of it.
        pid: of the process below which all of it runs.
        environment: of what connects to it: it has a token of its own.
    """

    address: str
    pid: int
    environment: dict[str, str]


@contextlib.contextmanager
def ray_cluster(cpus: int) -> Iterator[Cluster]:
    """A Ray cluster that is there until the context ends."""
    port = free_port()
    environment = _environment() | {'RAY_AUTH_MODE': 'token', 'RAY_AUTH_TOKEN': secrets.token_hex(32)}
    # The path of a socket in there may have 107 letters.
    with tempfile.TemporaryDirectory(prefix='ray', dir='/tmp', ignore_cleanup_errors=True) as folder:
        words = ['start', '--head', '--block', f'--port={port}', f'--num-cpus={cpus}', f'--temp-dir={folder}']
        words += ['--include-dashboard=false', '--disable-usage-stats']
        head = subprocess.Popen(
            [sys.executable, '-m', 'ray.scripts.scripts', *words],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            _wait_for_port(port, head)
            yield Cluster(f'127.0.0.1:{port}', head.pid, environment)
        finally:
            kill([*children(head.pid), head.pid])
            head.wait()


class SceneProcesses:
    """A run over a folder of scenes.

    Args:
        cluster: of Ray; None: torchrun, which starts processes anew that are lost.
        count: of workers.
        scenes: the folder.
        out: the folder.
        seconds: that a batch of windows takes.

    Attributes:
        process: the one that was started: torchrun's agent, or what talks to Ray.
    """

    def __init__(self, cluster: Cluster | None, count: int, scenes: Path, out: Path, seconds: float = 0.0) -> None:
        tail = [RUN, str(scenes), str(out), '--seconds', str(seconds)]
        launcher = ['-m', 'torch.distributed.run', '--nproc-per-node', str(count), '--max-restarts', '99']
        # What is killed is not noticed sooner than it is looked for.
        launcher += ['--monitor-interval', '0.1', '--rdzv-backend', 'c10d', '--rdzv-endpoint', '127.0.0.1:0']
        if cluster is not None:
            tail += ['--ray', cluster.address, '--workers', str(count)]
        self._cluster, self._told = cluster, tempfile.TemporaryFile('a+')  # noqa: SIM115, read until the end
        self.process = subprocess.Popen(
            [sys.executable, *(launcher if cluster is None and count > 1 else []), *tail],
            env=_environment() if cluster is None else cluster.environment,
            start_new_session=True,
            stdout=self._told,
            stderr=subprocess.STDOUT,
        )

    def said(self) -> str:
        """All that its processes printed so far."""
        self._told.seek(0)
        return self._told.read()

    def wait_for(self, text: str, times: int, seconds: float = 300) -> bool:
        """Whether it says something for the `times`-th time before it ends."""
        end = time.monotonic() + seconds
        while self.said().count(text) < times:
            if self.process.poll() is not None:
                return False
            assert time.monotonic() < end, self.said()
            time.sleep(0.02)
        return True

    def ends_within(self, seconds: float) -> bool:
        """Whether it ends in the next seconds, which are waited for."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        return self.process.returncode is not None

    def ended(self, seconds: float = 300) -> bool:
        """Waits for its end; whether that was a good one."""
        self.process.wait(seconds)
        return self.process.returncode == 0

    def workers(self) -> list[int]:
        """Processes that do units: torchrun's, or the actors of all runs on the cluster."""
        root, mark = (self.process.pid, RUN) if self._cluster is None else (self._cluster.pid, 'ray::Actor')
        return [pid for pid, words in _processes(root) if mark in words]

    def all(self) -> list[int]:
        """Everything that dies with this machine."""
        return [self.process.pid, *(children(self.process.pid) if self._cluster is None else [])]


def children(pid: int) -> list[int]:
    """Processes below one."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    return []


def kill(pids: list[int]) -> None:
    """As the system does it where memory is full, or a power cut."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def files_of(folder: Path) -> dict[str, bytes]:
    """What a run wrote."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob('*')
        if path.is_file() and path.name != '.lock'
    }


def _wait_for_port(port: int, process: subprocess.Popen) -> None:
    end = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < end:
        with contextlib.suppress(OSError):
            socket.create_connection(('127.0.0.1', port), 1).close()
            return
        time.sleep(0.1)
    raise RuntimeError('no Ray cluster came up')


def _environment() -> dict[str, str]:
    return os.environ | {'OMP_NUM_THREADS': '1', 'PYTHONPATH': os.pathsep.join([LIGHT, *filter(None, sys.path)])}


def _processes(root: int) -> list[tuple[int, str]]:
    found = []
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(root).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                found.append((child.pid, ' '.join(child.cmdline())))
    return found
