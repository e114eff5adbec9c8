"""The same bytes whoever works, and however often it is killed."""

import contextlib
import json
import random
import shutil
import socket
import time
from contextvars import ContextVar
from threading import Thread

import pytest
import torch.distributed as dist

pytest.importorskip('rasterio')

from helpers.geo_scenes import blobs, write_scene
from helpers.scene_workers import SceneProcesses, files_of, kill, needs_ray, ray_cluster
from rs2sam2.errors import ConfigError
from rs2sam2.geo.units import WorkerMaker
from rs2sam2.workers import open_workers
from rs2sam2.workers.shared import Token
from rs2sam2.workers.torchrun import TorchrunWorkers

HOW = ['torchrun', pytest.param('ray', marks=needs_ray)]
KILLS = 20
SECONDS = 0.3  # a batch of windows takes where runs are killed


@pytest.fixture(scope='module', params=HOW)
def cluster(request):
    """Ray's, or None for torchrun."""
    if request.param == 'torchrun':
        yield None
        return
    with ray_cluster(3) as started:
        yield started


@pytest.fixture
def scenes(tmp_path):
    (folder := tmp_path / 'scenes').mkdir()
    for number, side in enumerate((300, 90, 420)):
        write_scene(folder / f's{number}.tif', blobs(side, 250, seed=number))
    return folder


def _whole(cluster, count, scenes, out, seconds=0.0):
    run = SceneProcesses(cluster, count, scenes, out, seconds)
    assert run.ended(), run.said()
    assert '3 done, 0 before, 0 failed' in run.said()
    return files_of(out)


@pytest.mark.slow
def test_one_two_and_three_workers_write_the_same_bytes(tmp_path, scenes, cluster):
    written = [_whole(cluster, count, scenes, tmp_path / f'out{count}') for count in (1, 2, 3)]
    assert written[0] == written[1] == written[2]
    assert len(written[0]) == 3 + 3 * 5


class _Kills:
    """Runs into one folder, one after the other, that are killed at random moments until there were enough kills.

    A moment is drawn over what a run takes that nobody disturbs, from when its workers are ready; over half of that
    where a run goes on. Some end before their moment comes.
    """

    def __init__(self, cluster, scenes, out, expected):
        self.cluster, self.scenes, self.out, self.expected = cluster, scenes, out, expected
        self.draw = random.Random(f'{cluster is None}')
        self.duration = None
        # Of kills: all, those of the head or everything, those that left a block or outputs half-written.
        self.counts = dict(kills=0, head=0, in_block=0, in_outputs=0)
        self.finished = self.given_up = 0

    def run(self):
        self.duration = self._whole_run()
        while self.counts['kills'] < KILLS:
            self._one_run()
        self._whole_run()
        return self.counts | dict(finished=self.finished, given_up=self.given_up, seconds=round(self.duration, 1))

    def _whole_run(self):
        """Seconds that it takes."""
        run = self._start()
        run.wait_for('at work', 1)
        begun = time.monotonic()
        assert run.ended(), run.said()
        self._compare()
        return time.monotonic() - begun

    def _start(self):
        return SceneProcesses(self.cluster, 2, self.scenes, self.out, SECONDS)

    def _one_run(self):
        run, lives = self._start(), 1
        while self.counts['kills'] < KILLS and run.wait_for('at work', lives):
            goes_on = (self.out / '.blocks').exists()
            if run.ends_within(self.draw.uniform(0, self.duration / (2 if goes_on else 1))):
                break
            if not (workers := run.workers()):
                continue
            head = self.draw.random() < 0.4
            victims = run.all() if head else [self.draw.choice(workers)]
            kill(victims)
            self._count(head, victims)
            if head:
                run.process.wait()
                return
            # Under torchrun all are started anew and say so; Ray's head goes on, and the actor comes back.
            lives += self.cluster is None
        if run.ended():
            self.finished += 1
            self._compare()
        else:
            # One unit was killed three times: that ends a run on Ray.
            assert 'workers were lost one after the other' in run.said(), run.said()
            self.given_up += 1

    def _count(self, head, victims):
        self.counts['kills'] += 1
        self.counts['head'] += head
        left = [path.name.split('.')[-2] for path in self.out.glob('.blocks/*/*.unfinished')]
        self.counts['in_block'] += any(str(pid) in left for pid in victims)
        owners = [_owner(lock) for lock in self.out.rglob('.rs2sam2-*.partial/.lock')]
        self.counts['in_outputs'] += any(pid in owners for pid in victims)

    def _compare(self):
        assert files_of(self.out) == self.expected
        assert not (self.out / '.blocks').exists()
        shutil.rmtree(self.out)


def _owner(lock):
    try:
        return json.loads(lock.read_text())['pid']
    except (OSError, ValueError):
        return None


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on_to_the_same_bytes(tmp_path, scenes, cluster):
    expected = _whole(None, 1, scenes, tmp_path / 'whole')
    counts = _Kills(cluster, scenes, tmp_path / 'out', expected).run()
    print('torchrun' if cluster is None else 'Ray', counts)
    assert counts['in_block'] > 0


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


def _doubling():
    return lambda units: (2 * unit for unit in units)


def test_processes_that_are_started_anew_do_not_take_what_dead_ones_left_in_the_store(monkeypatch):
    """As under torchrun's --max-restarts, which keeps the store."""
    store = dist.HashStore()
    monkeypatch.setattr(dist, 'rendezvous', lambda *_, **__: iter([(store, rank.get(), 2)]))
    rank = ContextVar('rank')

    def serve():
        rank.set(1)
        with contextlib.suppress(SystemExit):
            TorchrunWorkers().serve()

    rank.set(0)
    for died in (True, True, False):
        (other := Thread(target=serve, daemon=True)).start()
        head = TorchrunWorkers()
        head.start(_doubling)
        ended = head.run(list(range(10)))
        if died:
            next(ended)
        else:
            assert sorted(ended) == [(index, 2 * index) for index in range(10)]
        head.close(failed=died)
        other.join(20)
        assert not other.is_alive()
