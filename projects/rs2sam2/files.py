"""Files that are named from outside, to be read or written: regular ones only."""

import errno
import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from rs2sam2.errors import ConfigError, DataError, RefSegError

MAX_BYTES = 'RS2SAM2_MAX_BYTES'
"""Environment variable: larger files of annotations are refused before they are read."""


def require_regular(
    path: str | os.PathLike, remedy: str = 'check the path', error: Callable[[str], RefSegError] = DataError
) -> None:
    """Refuse what is there but is no file of data: reading a named pipe or a device never ends.

    Args:
        path: The path; a link is followed.
        remedy: The way out that the error names.
        error: Its kind.

    Raises:
        DataError: It is a folder, a pipe, a device or a socket (or `error`, if that is another kind).
        OSError: It is missing, or cannot be looked at.
    """
    try:
        mode = os.stat(path).st_mode
    except ValueError as reason:  # a null byte in the name
        raise error(f'{os.fspath(path)} is no name of a file; {remedy}') from reason
    if not stat.S_ISREG(mode):
        raise error(f'{os.fspath(path)} is {_kind(mode)}, not a file; {remedy}')


def require_utf8(path: str | os.PathLike, error: Callable[[str], RefSegError] = DataError) -> None:
    """Refuse a path whose bytes are no UTF-8, before a library that takes no other one.

    Args:
        path: The path.
        error: The kind of the error.

    Raises:
        DataError: It is none (or `error`, if that is another kind).
    """
    try:
        os.path.abspath(path).encode()
    except UnicodeEncodeError as reason:
        raise error(f'{os.fspath(path)}: this name is no UTF-8, which is needed here; rename it') from reason


def open_regular(
    path: str | os.PathLike,
    mode: str = 'rb',
    remedy: str = 'check the path',
    error: Callable[[str], RefSegError] = DataError,
    **options: Any,
) -> IO:
    """`open` for reading, of regular files only; see `require_regular`."""
    require_regular(path, remedy, error)
    return open(path, mode, **options)


def read_regular(path: str | os.PathLike, remedy: str = 'check the path') -> bytes:
    """The content of a regular file that is read whole, of at most `max_bytes`.

    Raises:
        DataError: It is missing, too large or cannot be read.
    """
    limit = max_bytes()
    try:
        with open_regular(path, 'rb', remedy) as file:
            size = os.fstat(file.fileno()).st_size
            if size > limit:
                raise DataError(
                    f'{path} has {size:,} bytes, more than {limit:,} are not read at once: {remedy}; to allow more, '
                    f'set the environment variable {MAX_BYTES}'
                )
            return file.read()
    except OSError as error:
        raise DataError(f'cannot read {path}: {error.strerror}; {remedy}') from error
    except MemoryError as error:
        raise DataError(f'{path} is too large for the memory of this machine; {remedy}') from error


def max_bytes() -> int:
    """Most bytes that are read at once from a file of annotations.

    Raises:
        ConfigError: The environment variable is no whole number above 0.
    """
    return limit_of(MAX_BYTES, 2**31)


def limit_of(variable: str, default: int) -> int:
    """A limit that an environment variable may change.

    Raises:
        ConfigError: The variable is no whole number above 0.
    """
    given = os.environ.get(variable)
    if given is None:
        return default
    if not (given.isascii() and given.isdigit() and len(given) < 16 and int(given)):
        raise ConfigError(f'{variable}={given}: give a whole number above 0')
    return int(given)


def place_of(path: str | os.PathLike) -> Path:
    """Where the file of a name lies, links followed: a regular file, or nothing yet.

    A file that is moved onto a device, a pipe or a link ends it: as root even /dev/null, for the whole machine.

    Raises:
        ConfigError: A folder, a device, a pipe or a socket lies there.
    """
    place = Path(os.path.realpath(path))
    try:
        mode = place.lstat().st_mode
    except OSError:  # nothing is there yet; whether it can be made shows when it is written
        return place
    if not stat.S_ISREG(mode):
        raise ConfigError(f'{path} is {_kind(mode)}; name a file to write')
    return place


def replace_durably(temporary: Path, path: Path) -> None:
    """Put a finished file in place of another, so that a crash leaves one of the two, whole."""
    _sync(temporary)
    os.replace(temporary, path)
    _sync(path.parent)


def append_durably(path: Path, text: bytes) -> None:
    """Append lines to a file, all of them or none, and force them to the disk.

    A disk that fills up takes a part of them without an error, and half a line, which a killed process leaves too,
    would swallow the next one: it is cut off.

    Raises:
        OSError: they cannot be written; the file is as it was.
    """
    with open(path, 'ab+', buffering=0) as file:
        whole = file.seek(0, os.SEEK_END)
        while whole and (file.seek(whole - 1), file.read(1))[1] != b'\n':
            whole -= 1
        file.truncate(whole)
        try:
            if file.write(text) != len(text):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(file.fileno())
        except OSError:
            file.truncate(whole)
            raise


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def digest(path: Path) -> str:
    """SHA-256 of a file, or of all files of a folder."""
    files = [path] if path.is_file() else sorted(one for one in path.iterdir() if one.is_file())
    total = hashlib.sha256()
    for file in files:
        with file.open('rb') as opened:
            while block := opened.read(1 << 22):
                total.update(block)
    return total.hexdigest()


def first_bytes(text: str, count: int) -> str:
    """The beginning of a text that has at most so many bytes in UTF-8: a file's name may have 255."""
    return text.encode()[:count].decode(errors='ignore')


def _kind(mode: int) -> str:
    kinds = {stat.S_IFDIR: 'a folder', stat.S_IFIFO: 'a named pipe', stat.S_IFSOCK: 'a socket'}
    return (kinds | {stat.S_IFLNK: 'a loop of links'}).get(stat.S_IFMT(mode), 'a device')
