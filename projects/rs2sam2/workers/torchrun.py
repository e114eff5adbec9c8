"""The processes that torchrun started, on one machine or several: `RANK`, `WORLD_SIZE` and torch's store."""

import pickle
import secrets
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any, NoReturn

from rs2sam2.errors import ConfigError, RefSegError
from rs2sam2.one_line import EXIT_BAD_INPUT
from rs2sam2.workers import AnyWork, Work

_LOOK = 0.05  # seconds between two looks into the store
_FAILED = b'failed'


class TorchrunWorkers:
    """All processes take the next unit from one counter; rank 0 is the head and works, too. See `Workers`.

    What they tell each other goes through torch's store as pickles, as torch's own collectives of objects do: only the
    processes of this run write there. The store has no password: run it in a network that you trust.

    When a process dies torchrun stops all of them, and starts them anew where it was told to (`--max-restarts`), with
    the same store: each start has names of its own in it.
    """

    apart = True

    def __init__(self) -> None:
        try:
            import torch.distributed as dist
        except ModuleNotFoundError as error:
            raise ConfigError(
                'several processes (WORLD_SIZE) need PyTorch, not installed here: start a single one'
            ) from error
        self._store, self._rank, self.count = next(dist.rendezvous('env://', timeout=timedelta(minutes=30)))
        self.is_head = self._rank == 0
        self._store = dist.PrefixStore(self._gather() if self.is_head else self._join(), self._store)
        self._runs = 0

    def start(self, make: Callable[[], AnyWork]) -> AnyWork:
        """See `Workers`."""
        self._store.set('make', pickle.dumps(make))
        errors: list[RefSegError | None] = []
        try:
            own = make()
        except RefSegError as error:
            errors.append(error)
        errors += [pickle.loads(self._get(f'ready/{rank}')) for rank in range(1, self.count)]
        for failed in filter(None, errors):
            raise failed
        self._work: Work = own
        return own

    def run(self, units: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """See `Workers`."""
        name, self._runs = str(self._runs), self._runs + 1
        self._store.set(f'units/{name}', pickle.dumps(list(units)))
        own = others = 0
        for ended in self._share(name, units):
            own += 1
            yield ended
            while others < self._store.add(f'ended/{name}', 0):
                others += 1
                yield self._outcome(name, others)
        while own + others < len(units):
            others += 1
            yield self._outcome(name, others)

    def close(self, failed: bool) -> None:
        """See `Workers`."""
        if failed and not self._store.check(['make']):
            self._store.set('make', _FAILED)
        self._store.set(f'units/{self._runs}', _FAILED if failed else pickle.dumps(None))
        # The store may live in this process.
        while not failed and self._store.add('left', 0) < self.count - 1:
            time.sleep(_LOOK)

    def _gather(self) -> str:
        """Name of this start, by which the others are met; every start has another head."""
        name = secrets.token_hex(8)
        self._store.set('head', name)
        for rank in range(1, self.count):
            self._store.set(f'{name}/met/{self._get(f"{name}/here/{rank}").decode()}', b'')
        return name

    def _join(self) -> str:
        """Name of the start whose head meets this very process: those of earlier starts are still in the store."""
        me = secrets.token_hex(8)
        while True:
            if self._store.check(['head']):
                name = self._store.get('head').decode()
                self._store.set(f'{name}/here/{self._rank}', me)
                if self._store.check([f'{name}/met/{me}']):
                    return name
            time.sleep(_LOOK)

    def _share(self, name: str, units: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """What this process takes, and what becomes of it."""
        taken: deque[int] = deque()

        def take() -> Iterator[Any]:
            while (index := self._store.add(f'taken/{name}', 1) - 1) < len(units):
                taken.append(index)
                yield units[index]

        for outcome in self._work(take()):
            yield taken.popleft(), outcome

    def serve(self) -> NoReturn:
        """What a process does that is not the head: the units of all runs, until the head ends; then it exits."""
        error = None
        if (make := self._get('make')) == _FAILED:
            sys.exit(EXIT_BAD_INPUT)
        try:
            self._work = pickle.loads(make)()
        except RefSegError as reason:
            error = reason
        self._store.set(f'ready/{self._rank}', pickle.dumps(error))
        for number in range(sys.maxsize):
            told = self._get(f'units/{number}')
            if told == _FAILED:
                sys.exit(EXIT_BAD_INPUT)
            units = pickle.loads(told)
            if units is None:
                self._store.add('left', 1)
                sys.exit(0)
            for ended in self._share(str(number), units):
                place = self._store.add(f'ended/{number}', 1)
                self._store.set(f'outcome/{number}/{place}', pickle.dumps(ended))
        raise AssertionError('unreachable')

    def _outcome(self, name: str, place: int) -> tuple[int, Any]:
        return pickle.loads(self._get(f'outcome/{name}/{place}'))

    def _get(self, key: str) -> bytes:
        """Waits as long as it takes, and lets signals through."""
        while not self._store.check([key]):
            time.sleep(_LOOK)
        return self._store.get(key)
