"""What a run says when it cannot go on: one line for a user's mistake or a stop; bugs keep their traceback."""

import atexit
import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from types import ModuleType

from rs2sam2.collecting import keep_imports
from rs2sam2.errors import RefSegError, TrainingError
from rs2sam2.signals import Stopped, stop_by_exception

EXIT_BAD_INPUT = 2


@contextlib.contextmanager
def one_line_errors(
    when_stopped: str = '', explain: Callable[[Exception], RefSegError | None] = lambda error: None
) -> Iterator[None]:
    """Print a `RefSegError` as one line on stderr and exit with 2; other errors are bugs and keep their traceback.

    What commands and tools run in. Ctrl+C, SIGTERM and SIGHUP end it in order, with one line (see `rs2sam2.signals`).
    Of several processes of torch's the first one speaks, and each ends here.

    Args:
        when_stopped: what the line of a stop says besides.
        explain: gives what a user needs to know of a RuntimeError, TypeError, ValueError or KeyError; None for a bug.
    """
    for stream in (sys.stdout, sys.stderr):
        # A terminal that has no such letter shows its number.
        if hasattr(stream, 'reconfigure'):
            stream.reconfigure(errors='backslashreplace')
    keep_imports()
    try:
        with stop_by_exception():
            yield
    except Stopped as stopped:
        if _rank() == 0:
            print(f'stopped by {stopped.name}{stopped.text or when_stopped}', file=sys.stderr)
        if _process_group() is not None:
            # Leaving the group would wait for processes that may be gone.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(stopped.status)
        raise
    except (RefSegError, RuntimeError, TypeError, ValueError, KeyError) as error:
        told = error if isinstance(error, RefSegError) else explain(error)
        if told is None:
            raise
        if not isinstance(told, TrainingError) or _rank() == 0:
            print(f'error: {told}', file=sys.stderr)
        _end_in_group(EXIT_BAD_INPUT)
        sys.exit(EXIT_BAD_INPUT)
    _end_in_group(0)


def _process_group() -> ModuleType | None:
    """torch.distributed where this process is one of several; torch is not imported for it."""
    dist = sys.modules.get('torch.distributed')
    return dist if dist is not None and dist.is_available() and dist.is_initialized() else None


def _rank() -> int:
    group = _process_group()
    return int(os.environ.get('RANK', 0)) if group is None else group.get_rank()


def _end_in_group(status: int) -> None:
    """End here where this process is one of several, with all that Python does at its end but taking itself down.

    gloo's threads may still put away the last collective's tensors, for which they need an interpreter: where that is
    gone, or going, the process is aborted after all its work is done.
    """
    if (group := _process_group()) is None:
        return
    if group.get_backend() != 'gloo':
        group.destroy_process_group()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
