"""How a training is asked to stop: the signal is noted, and obeyed where a checkpoint can be written."""

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

import torch
from mmengine.dist import all_reduce, get_world_size

from rs2sam2.signals import Stopped

# Slurm, container platforms and torchrun end a job with SIGTERM; USR1 is what Slurm's --signal is asked for; HUP is a
# terminal that closes. Ctrl+C is not among them: who presses it waits for the end.
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)


class StopRequest:
    """Context in which signals to stop are noted once training runs; before, there is nothing to save and they stop it.

    Attributes:
        number: the signal; None where none came.
        is_noted: set by whoever will ask; until then a signal raises `Stopped`.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self.is_noted = False
        self._owner = os.getpid()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> 'StopRequest':
        if threading.current_thread() is threading.main_thread():
            handlers = {number: signal.getsignal(number) for number in SIGNALS}
            # What the caller ignores (nohup) stays ignored.
            self._before = {n: handler for n, handler in handlers.items() if handler not in (signal.SIG_IGN, None)}
            for number in self._before:
                signal.signal(number, self._note)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def agreed(self) -> int | None:
        """The signal that came to any process. Called by all of them at the same places."""
        number = self.number or 0
        if get_world_size() > 1:
            seen = torch.tensor(float(number))
            all_reduce(seen, 'max')
            number = int(seen)
        return number or None

    def _note(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._owner:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif not self.is_noted:
            raise Stopped(number)
        else:
            self.number = number


class DeafWorker:
    """Start of a data loader's worker, which its own training ends and no signal to the whole group of processes.

    Slurm and a terminal send their signals to every process of a job: a worker that obeyed would take the training
    down before it has written its checkpoint.

    Args:
        init: what the worker does besides; None for nothing.
    """

    def __init__(self, init: Callable[[int], None] | None) -> None:
        self.init = init

    def __call__(self, number: int) -> None:
        """Do it in the worker of a number."""
        for one in (signal.SIGUSR1, signal.SIGHUP, signal.SIGINT):
            signal.signal(one, signal.SIG_IGN)
        # Python ends its children by SIGTERM, too: a thread looks who sent it.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        threading.Thread(target=_end_by, args=(os.getppid(),), daemon=True).start()
        if self.init is not None:
            self.init(number)


def _end_by(parent: int) -> None:
    while signal.sigwaitinfo([signal.SIGTERM]).si_pid != parent:
        pass
    os._exit(0)
