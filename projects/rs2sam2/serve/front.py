"""The door of the service: who is let in, with how much, how slowly. It looks at headers and counts bytes."""

import asyncio
import json
import re
import secrets
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException

from rs2sam2.serve.guard import Application, header_values, is_own
from rs2sam2.serve.settings import ServeSettings

FREE = ('/health',)
"""Answered without a token."""
PATIENCE = 20.0
"""Seconds that any body may take."""
SLOWEST = 20_000
"""Bytes a second that a longer one must bring on average."""
_LENGTH = re.compile('[0-9]{1,18}')


class FrontDoor:
    """ASGI middleware that refuses, in one JSON line, what must not reach the service.

    Args:
        app: the service.
        settings: its limits.
    """

    def __init__(self, app: Application, settings: ServeSettings) -> None:
        self.app, self.settings = app, settings

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        """Answer a request, or refuse it."""
        if scope['type'] == 'lifespan':
            return await self.app(scope, receive, send)
        if scope['type'] != 'http':
            return await send({'type': 'websocket.close', 'code': 1008})
        refusal = self._refusal(scope['path'], scope['headers'])
        if refusal is None:
            return await self.app(scope, _Metered(receive, self.settings.max_upload), _InJson(send))
        await send_error(send, refusal)

    def _refusal(self, path: str, headers: list[tuple[bytes, bytes]]) -> HTTPException | None:
        settings = self.settings
        if not is_own(headers, settings.called):
            return HTTPException(403, f'this service answers to {", ".join(settings.called)} and to no other web page')
        if settings.token is not None and path not in FREE and not _brings(headers, settings.token):
            text = 'send the token of this service, as the header "Authorization: Bearer TOKEN"'
            return HTTPException(401, text, {'WWW-Authenticate': 'Bearer'})
        length = header_values(headers, b'content-length')
        if length and (not _LENGTH.fullmatch(length[0]) or int(length[0]) > settings.max_upload):
            return too_large(settings.max_upload)
        return None


class _Metered:
    """A request's body, refused where it is too large or too slow."""

    def __init__(self, receive: Callable, most: int) -> None:
        self._receive, self._most, self._bytes, self._begin = receive, most, 0, time.monotonic()
        self._more = True

    async def __call__(self) -> Any:
        if not self._more:  # what follows the body is waited for without an end
            return await self._receive()
        allowed = self._begin + PATIENCE + self._bytes / SLOWEST - time.monotonic()
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, allowed))
        except asyncio.TimeoutError:
            close = {'Connection': 'close'}
            raise HTTPException(408, 'the body came too slowly; send it in one go', close) from None
        self._bytes += len(message.get('body', b''))
        self._more = message.get('more_body', False)
        if self._bytes > self._most:
            raise too_large(self._most)
        return message


class _InJson:
    """An answer; what refuses in plain words, as files do with ranges that they have not, becomes one JSON line."""

    def __init__(self, send: Callable) -> None:
        self._send, self._refusal = send, None

    async def __call__(self, message: Any) -> None:
        if message['type'] == 'http.response.start' and message['status'] >= 400:
            kind = header_values(message['headers'], b'content-type')
            if kind and kind[0].startswith('text/plain'):
                self._refusal = message
                return
        if self._refusal is None:
            return await self._send(message)
        text = message['body'].decode() or HTTPStatus(self._refusal['status']).phrase
        kept = {name.decode(): value.decode() for name, value in self._refusal['headers'] if name == b'content-range'}
        await send_error(self._send, HTTPException(self._refusal['status'], text, kept))


def too_large(most: int) -> HTTPException:
    """The refusal of a body of more than `most` bytes."""
    text = f'the body has more than {most:,} bytes: send less, or name a scene by its path'
    return HTTPException(413, text, {'Connection': 'close'})


async def send_error(send: Callable, error: HTTPException) -> None:
    """Answer with an error where no application does it."""
    body = json.dumps({'error': error.detail}).encode()
    headers = {'Content-Type': 'application/json', 'Content-Length': str(len(body)), 'Connection': 'close'}
    headers |= error.headers or {}
    raw = [(name.lower().encode(), value.encode('latin-1')) for name, value in headers.items()]
    await send({'type': 'http.response.start', 'status': error.status_code, 'headers': raw})
    await send({'type': 'http.response.body', 'body': body})


def _brings(headers: list[tuple[bytes, bytes]], token: str) -> bool:
    values = [value for name, value in headers if name == b'authorization']
    if len(values) != 1:
        return False
    scheme, _, given = values[0].partition(b' ')
    return scheme.lower() == b'bearer' and secrets.compare_digest(given.strip(), token.encode())
