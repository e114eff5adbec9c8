"""Who may ask the page: browsers on this machine that show it, by this machine's own names."""

import re
from collections.abc import Awaitable, Callable
from typing import Any

LOOPBACK = ('127.0.0.1', 'localhost')
_HOST = re.compile('|'.join(rf'{re.escape(name)}(:\d{{1,5}})?' for name in LOOPBACK))

Application = Callable[[dict, Callable, Callable], Awaitable[Any]]


class LoopbackOnly:
    """ASGI middleware that answers requests by this machine's own names, from pages of the same address, only.

    A foreign `Host` is that of a site whose name was turned to this machine; a foreign `Origin` that of another page,
    which sends requests here from the visitor's browser.

    Args:
        app: What answers the others.
    """

    def __init__(self, app: Application) -> None:
        self.app = app

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        """Answer a request, or refuse it."""
        if scope['type'] == 'lifespan' or self._allows(scope['headers']):
            await self.app(scope, receive, send)
        elif scope['type'] == 'websocket':
            await send({'type': 'websocket.close', 'code': 1008})
        else:
            headers = [(b'content-type', b'text/plain; charset=utf-8')]
            body = f'This page answers to {" or ".join(LOOPBACK)} only.\n'.encode()
            await send({'type': 'http.response.start', 'status': 403, 'headers': headers})
            await send({'type': 'http.response.body', 'body': body})

    @staticmethod
    def _allows(headers: list[tuple[bytes, bytes]]) -> bool:
        hosts, origins = (
            [value.decode('latin-1').lower() for name, value in headers if name == wanted]
            for wanted in (b'host', b'origin')
        )
        if len(hosts) != 1 or len(origins) > 1 or not _HOST.fullmatch(hosts[0]):
            return False
        return origins in ([], [f'http://{hosts[0]}'])
