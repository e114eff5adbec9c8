"""Whom a server on this machine answers: requests by its own names, from pages of its own address."""

import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

LOOPBACK = ('127.0.0.1', 'localhost')

Application = Callable[[dict, Callable, Callable], Awaitable[Any]]
Headers = Iterable[tuple[bytes, bytes]]


def is_own(headers: Headers, names: Sequence[str] = LOOPBACK) -> bool:
    """Whether a request was sent by one of the server's own names, from nowhere or a page of the same address.

    A foreign `Host` is that of a site whose name was turned to this machine; a foreign `Origin` that of another page,
    which sends requests here from the visitor's browser.

    Args:
        headers: of the request, as ASGI has them.
        names: by which the server is called, in lower case.
    """
    host_pattern = '|'.join(rf'{re.escape(name)}(:\d{{1,5}})?' for name in names)
    hosts, origins = (header_values(headers, wanted) for wanted in (b'host', b'origin'))
    if len(hosts) != 1 or len(origins) > 1 or not re.fullmatch(host_pattern, hosts[0]):
        return False
    return origins in ([], [f'http://{hosts[0]}'])


def header_values(headers: Headers, wanted: bytes) -> list[str]:
    """All values of a header, in lower case."""
    return [value.decode('latin-1').lower() for name, value in headers if name == wanted]


class LoopbackOnly:
    """ASGI middleware that answers requests by this machine's own names, from pages of the same address, only.

    Args:
        app: What answers the others.
    """

    def __init__(self, app: Application) -> None:
        self.app = app

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        """Answer a request, or refuse it."""
        if scope['type'] == 'lifespan' or is_own(scope['headers']):
            await self.app(scope, receive, send)
        elif scope['type'] == 'websocket':
            await send({'type': 'websocket.close', 'code': 1008})
        else:
            headers = [(b'content-type', b'text/plain; charset=utf-8')]
            body = f'This page answers to {" or ".join(LOOPBACK)} only.\n'.encode()
            await send({'type': 'http.response.start', 'status': 403, 'headers': headers})
            await send({'type': 'http.response.body', 'body': body})
