"""An output folder that all workers see: tried before the work begins."""

import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from rs2sam2.errors import ConfigError, OutputError
from rs2sam2.workers import Workers


class Token(NamedTuple):
    """A file that every worker must see.

    Attributes:
        path: of the file.
        text: what is in it.
    """

    path: Path
    text: str


@contextmanager
def token_in(folder: Path, workers: Workers, name: str = 'run') -> Iterator[Token | None]:
    """A file in a folder that every worker must see; None where there is no other process.

    Args:
        folder: of the outputs.
        workers: who must see it.
        name: of the run, of which there is one at a time: what a killed one left is overwritten, or removed.

    Raises:
        OutputError: it cannot be written.
    """
    token = Token(folder.absolute() / f'.rs2sam2-{name}.token', secrets.token_hex(16))
    try:
        if workers.apart:
            _write(token)
        yield token if workers.apart else None
    finally:
        with suppress(OSError):  # there is none, or no such folder
            token.path.unlink()


def _write(token: Token) -> None:
    try:
        token.path.write_text(token.text, 'ascii')
    except OSError as error:
        raise OutputError(
            f'{token.path.parent} cannot be written ({error.strerror or error}): mend that, or choose another folder'
        ) from error


def check_token(token: Token | None) -> None:
    """Raises ConfigError where a worker does not see what the head wrote."""
    if token is None:
        return
    try:
        seen = token.path.read_text('ascii') == token.text
    except (OSError, ValueError):
        seen = False
    if not seen:
        raise ConfigError(
            f'the worker on {socket.gethostname()} does not see {token.path.parent} as the head does: name an output '
            'folder on a disk that all machines share, by the same path'
        )
