"""A Ray cluster: every worker is an actor that holds the model (extra `[ray]`)."""

import os
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from rs2sam2.errors import ConfigError, RefSegError, WorkerError
from rs2sam2.workers import Work

_TRIES = 3  # of a unit whose worker is lost
_CONNECT = 10.0  # seconds that a cluster has to answer
_AGAIN = 0.5  # seconds until an actor that is being restarted is asked again
_PATIENCE = 60.0  # seconds until something is said of workers that are not there


class RayWorkers:
    """Actors of a Ray cluster; see `Workers`.

    Ray restarts an actor that is lost, on another machine if need be; its unit goes to whoever is free.
    """

    apart = True

    def __init__(self, address: str, count: int | None) -> None:
        try:
            import ray
        except ModuleNotFoundError as error:
            raise ConfigError('Ray is not installed here; run: pip install "rs2sam2[ray]"') from error
        self._ray = ray
        _connect(ray, address, count)
        resources = ray.cluster_resources()
        gpus, cpus = int(resources.get('GPU', 0)), int(resources.get('CPU', 0))
        there = gpus or cpus
        self.count = there if count is None else count
        if not 1 <= self.count <= there:
            ray.shutdown()
            raise ConfigError(f'{self.count} workers of a Ray cluster that has {gpus} GPUs and {cpus} CPUs: give fewer')
        self._needs = {'num_gpus': 1, 'num_cpus': 1} if gpus else {'num_cpus': 1}

    def start(self, make: Callable[[], Work]) -> None:
        """See `Workers`."""
        ray = self._ray

        class Actor:
            """Holds what works."""

            def __init__(self) -> None:
                self._work: Work | None = None
                self._error: RefSegError | None = None

            def ready(self) -> RefSegError | None:
                """Makes it; an error comes as a value, since an actor whose making fails is made again."""
                if self._work is None:
                    try:
                        self._work = make()
                    except RefSegError as error:
                        self._error = error
                return self._error

            def do(self, unit: Any) -> Any:
                """One unit."""
                assert self._work is not None, 'units come to who is ready'
                (outcome,) = self._work(iter([unit]))
                return outcome

        actor = ray.remote(Actor).options(max_restarts=-1, max_task_retries=0, **self._needs)
        self._actors = [actor.remote() for _ in range(self.count)]
        ready = [one.ready.remote() for one in self._actors]
        _, late = ray.wait(ready, num_returns=len(ready), timeout=_PATIENCE)
        if late:
            text = f'{len(late)} of {self.count} workers are not ready'
            print(f'{text}: they load the model, or the cluster has no room for them yet', file=sys.stderr)
        for one, waited in zip(self._actors, ready, strict=True):
            if (error := self._ready(one, waited)) is not None:
                raise error

    def run(self, units: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """See `Workers`."""
        ray = self._ray
        left, tries = deque(range(len(units))), [0] * len(units)
        # What is waited for: a unit, or that an actor is there (again).
        waiting: dict[Any, tuple[Any, int | None]] = {one.ready.remote(): (one, None) for one in self._actors}
        while left or any(index is not None for _, index in waiting.values()):
            (ended,), _ = ray.wait(list(waiting), num_returns=1)
            actor, index = waiting.pop(ended)
            try:
                outcome = ray.get(ended)
            except ray.exceptions.RayActorError as error:
                if index is None:
                    time.sleep(_AGAIN)
                waiting[actor.ready.remote()] = actor, None
                if index is not None:
                    tries[index] += 1
                    if tries[index] == _TRIES:
                        raise WorkerError(
                            f'{_TRIES} workers were lost one after the other over the same unit '
                            f'({" ".join(str(error).split())[:200]}); is their memory too small?'
                        ) from error
                    left.appendleft(index)
                continue
            if index is None and outcome is not None:
                raise outcome
            if left:
                number = left.popleft()
                waiting[actor.do.remote(units[number])] = actor, number
            if index is not None:
                yield index, outcome

    def _ready(self, actor: Any, waited: Any) -> RefSegError | None:
        """Waits for an actor, however often it is lost while it loads the model."""
        while True:
            try:
                return self._ray.get(waited)
            except self._ray.exceptions.RayActorError:
                time.sleep(_AGAIN)
                waited = actor.ready.remote()

    def close(self, failed: bool) -> None:
        """See `Workers`."""
        self._ray.shutdown()


def _connect(ray: Any, address: str, count: int | None) -> None:
    """Connect, or say in one line why not: Ray itself waits for minutes."""
    host = urlsplit(address if '//' in address else f'//{address}')
    if address not in ('local', 'auto'):
        try:
            socket.create_connection((host.hostname, host.port), timeout=_CONNECT).close()
        except (OSError, ValueError, TypeError) as error:
            raise ConfigError(
                f'no Ray cluster answers at {address} ({error}); give HOST:6379, ray://HOST:10001, auto, or local to '
                'start one here'
            ) from error
    # What actors print is not the user's business, and nothing is reported to anyone.
    os.environ.setdefault('RAY_USAGE_STATS_ENABLED', '0')
    options: dict[str, Any] = dict(logging_level='ERROR', log_to_driver=False)
    if address == 'local':
        options |= {'include_dashboard': False, 'num_cpus': max(count or 1, os.cpu_count() or 1)}
    try:
        ray.init(address=address, **options)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError, ray.exceptions.RayError) as error:
        text = ' '.join(str(error).split())[:200]
        raise ConfigError(
            f'no Ray cluster can be reached at {address} ({text}); give HOST:6379, ray://HOST:10001, auto, or local to '
            'start one here, and set RAY_AUTH_MODE=token where the cluster wants a token (ray get-auth-token)'
        ) from error
