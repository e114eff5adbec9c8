"""Output folders: tried before the work begins, and held by one run at a time."""

import contextlib
import fcntl
import glob
import json
import logging
import os
import shlex
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from rs2sam2.errors import OutputError
from rs2sam2.terminal import shortened

LOCK = '.lock'
# Such locks belong to a process, so one process does not shut itself out: what it holds is kept here.
_held: set[Path] = set()


def make_writable(folder: Path) -> None:
    """Make a folder where there is none, and try whether files can be written into it.

    Raises:
        OutputError: they cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b'?')
    except OSError as error:
        raise OutputError(
            f'{folder} cannot be written ({error.strerror or error}): mend that, or choose another folder'
        ) from error


@contextlib.contextmanager
def hold_folder(folder: Path, remedy: str = 'choose another folder') -> Iterator[None]:
    """Hold a folder, so that no second run writes into it at the same time; machines that share it are told apart.

    The system lets go of it when the process ends, however it ends; children of the process hold nothing. Of several
    processes of one run only the first holds it.

    Args:
        folder: which exists.
        remedy: what else a user may do than wait.

    Raises:
        OutputError: another process holds it; the text says which, where and since when. Or no lock can be written.
    """
    path = (folder / LOCK).resolve()
    if path in _held:
        raise OutputError(f'{folder} is in use by this very process: {remedy}')
    try:
        descriptor = _locked(path, folder, remedy)
    except OSError as error:
        raise OutputError(f'{path} cannot be written ({error.strerror or error}): mend that, or {remedy}') from error
    _held.add(path)
    try:
        yield
    finally:
        _held.discard(path)
        # Removed while it is held: whoever opened it meanwhile sees that the name is gone, and begins anew.
        with contextlib.suppress(OSError):
            path.unlink()
        os.close(descriptor)


@contextlib.contextmanager
def scratch_folder(parent: Path, prefix: str, suffix: str = '') -> Iterator[Path]:
    """A new folder that is held and, in the end, removed; those that killed runs left here are removed first.

    Args:
        parent: where; it exists.
        prefix: of its name.
        suffix: of its name.

    Raises:
        OSError: it cannot be made.
    """
    for old in parent.glob(f'{glob.escape(prefix)}*{glob.escape(suffix)}'):
        if is_abandoned(old):
            shutil.rmtree(old, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=prefix, suffix=suffix, dir=parent))
    try:
        with hold_folder(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def is_abandoned(folder: Path) -> bool:
    """Whether the run that held a folder ended without letting go of it; where that cannot be known, it did not."""
    path = (folder / LOCK).resolve()
    # Opening and closing what this process holds would give it up.
    if path in _held:
        return False
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _locked(path: Path, folder: Path, remedy: str) -> int:
    """Descriptor of the lock file, locked and with this process's name in it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            holder = _holder(descriptor)
            os.close(descriptor)
            raise OutputError(f'{folder} is in use{holder}: wait until that ends, stop it, or {remedy}') from None
        except OSError as error:
            # Some network file systems know no locks; that is no reason not to work there.
            text = f'{folder} cannot be locked ({error.strerror}): see to it that no second run writes there'
            _warn(text)
        if _is_named(descriptor, path):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(_self()).encode(), 0)
            return descriptor
        os.close(descriptor)


def _warn(text: str) -> None:
    """In training's log; where mmengine is missing, as with an exported model, in Python's."""
    try:
        from mmengine.logging import print_log
    except ModuleNotFoundError:
        logging.getLogger('rs2sam2').warning(text)
    else:
        print_log(text, 'current', logging.WARNING)


def _is_named(descriptor: int, path: Path) -> bool:
    """Whether a name still stands for the file that was opened by it."""
    try:
        # Not by opening it again: closing that would give up the lock.
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _self() -> dict:
    return {
        'pid': os.getpid(),
        'host': socket.gethostname(),
        'since': time.strftime('%Y-%m-%d %H:%M:%S'),
        'command': shlex.join(sys.argv),
    }


def _holder(descriptor: int) -> str:
    """What the lock file says of the process that holds it, as a part of a sentence."""
    try:
        known = json.loads(os.pread(descriptor, 1 << 16, 0))
        command = shortened(known['command'], 200)
        return f' by process {known["pid"]} on {known["host"]} since {known["since"]} ({command})'
    except (ValueError, KeyError, TypeError):
        return ' by another process'
