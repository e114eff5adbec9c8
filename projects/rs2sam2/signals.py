"""Stopping: what a run began to write is cleared away before it ends, whatever asks it to end."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)


class Stopped(SystemExit):
    """A signal asked the process to end; its exit status is the shell's, 128 and the signal's number.

    Args:
        number: of the signal.
        text: what to say after that, in place of what is said of every run.
    """

    def __init__(self, number: int, text: str = '') -> None:
        super().__init__(128 + number)
        self.status = 128 + number
        self.name = signal.Signals(number).name
        self.text = text


@contextlib.contextmanager
def stop_by_exception() -> Iterator[None]:
    """Context in which Ctrl+C, SIGTERM, SIGHUP and SIGUSR1 raise `Stopped` in the main thread; `finally` is done.

    A second signal does not disturb that. What the caller ignores (`nohup`) stays ignored. Forked children end as they
    would without this, and handlers that code within sets for itself are left alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    owner, stopping = os.getpid(), False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopping
        if os.getpid() != owner:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif not stopping:
            stopping = True
            raise Stopped(number)

    before = {number: signal.getsignal(number) for number in SIGNALS}
    ours = [number for number, handler in before.items() if handler not in (signal.SIG_IGN, None)]
    for number in ours:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in ours:
            if signal.getsignal(number) is stop:
                signal.signal(number, before[number])


def end_by_signals() -> None:
    """Let signals end this worker process at once, as the system does; what the caller ignores stays ignored.

    A forked worker inherits handlers of Python's, which run between two steps of Python's alone: where it waits for a
    lock at that moment it would wait for ever, and whoever ends it would wait for it.
    """
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
