"""What a service allows: where it listens, whom it answers, what it reads, and how much of it."""

import ipaddress
import math
import os
import re
import socket
from dataclasses import dataclass, field
from pathlib import Path

from rs2sam2.errors import ConfigError
from rs2sam2.files import read_regular
from rs2sam2.serve.guard import LOOPBACK

TOKEN = 'RS2SAM2_TOKEN'
"""Environment variable with the token that requests must bring."""
_TOKEN_FORM = re.compile(r'[\x21-\x7e]{16,256}')
_MEGABYTE = 10**6
_LONGEST, _MOST_DAYS = 10**6, 10**5  # beyond these the clocks and calendars of Python end


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeSettings:
    """Of one service.

    Attributes:
        jobs: folder of the scenes' jobs.
        host: address to listen on.
        port: to listen on.
        names: other names by which clients may call it.
        token: that requests must bring, or None.
        roots: folders from which scenes may be named by a path.
        batch_size: expressions that the model takes at once, at most.
        max_upload: bytes of a request's body.
        max_pixels: of an image; a scene may have any number.
        max_waiting: expressions that wait for the model, or are in it.
        max_jobs: scenes that wait.
        time_limit: seconds until an image's answer.
        grace: seconds that a clean end waits for what runs.
        keep_days: after these, finished jobs are removed.
    """

    jobs: Path
    host: str = '127.0.0.1'
    port: int = 8000
    names: tuple[str, ...] = ()
    token: str | None = field(default=None, repr=False)
    roots: tuple[Path, ...] = ()
    batch_size: int = 8
    max_upload: int = 256 * _MEGABYTE
    max_pixels: int = 36 * _MEGABYTE
    max_waiting: int = 64
    max_jobs: int = 32
    time_limit: float = 60.0
    grace: float = 30.0
    keep_days: float = 30.0

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ConfigError: it listens beyond this machine without a token, or a value means nothing.
        """
        if self.token is not None and not _TOKEN_FORM.fullmatch(self.token):
            raise ConfigError('the token is not of 16 to 256 visible ASCII characters: take `openssl rand -hex 32`')
        if self.token is None and not is_loopback(self.host):
            raise ConfigError(
                f'--host {self.host} can be reached from other machines: set a token in the environment variable '
                f'{TOKEN} or a --token-file, or listen on 127.0.0.1'
            )
        for name in ('batch_size', 'max_upload', 'max_pixels', 'max_waiting', 'max_jobs', 'time_limit'):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f'{name}={getattr(self, name)}: give a number above 0')
        for name, most in (('time_limit', _LONGEST), ('grace', _LONGEST), ('keep_days', _MOST_DAYS)):
            if not 0 <= getattr(self, name) <= most:
                raise ConfigError(f'{name}={getattr(self, name)}: give a number from 0 to {most:,}')
        for root in self.roots:
            if not os.path.isdir(root):
                raise ConfigError(f'--root {root} is no folder')

    @property
    def called(self) -> tuple[str, ...]:
        """Names by which it answers, in lower case."""
        own = [] if self.host in ('0.0.0.0', '::') else [f'[{self.host}]' if ':' in self.host else self.host]
        machine = [] if is_loopback(self.host) else [socket.gethostname()]
        return tuple(dict.fromkeys(name.lower() for name in (*LOOPBACK, *own, *machine, *self.names)))


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == 'localhost'


def find_token(file: Path | None) -> str | None:
    """The token of a file, else of the environment, else None; it is no option, for others see a command's words.

    Raises:
        DataError: the file cannot be read.
    """
    if file is not None:
        return read_regular(file, 'check --token-file').decode('ascii', 'replace').strip()
    return os.environ.get(TOKEN) or None


def default_jobs() -> Path:
    """Where a user's programs keep what outlives them, as the XDG base directories say."""
    state = os.environ.get('XDG_STATE_HOME') or Path.home() / '.local/state'
    return Path(state) / 'rs2sam2/jobs'
