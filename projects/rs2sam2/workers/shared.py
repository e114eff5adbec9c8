"""An output folder that all workers see: tried before the work begins."""

import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rs2sam2.errors import ConfigError
from rs2sam2.workers import Workers


@contextmanager
def token_in(folder: Path, workers: Workers) -> Iterator[Path | None]:
    """A file in a folder that every worker must see; None where there is no other process."""
    if not workers.apart:
        yield None
        return
    token = folder.absolute() / f'.seen-by-all-{secrets.token_hex(8)}'
    try:
        token.touch()
        yield token
    finally:
        token.unlink(missing_ok=True)


def check_token(token: Path | None) -> None:
    """Raises ConfigError where a worker does not see what the head wrote."""
    if token is not None and not token.is_file():
        raise ConfigError(
            f'the worker on {socket.gethostname()} does not see {token.parent} as the head does: name an output '
            'folder on a disk that all machines share, by the same path'
        )
