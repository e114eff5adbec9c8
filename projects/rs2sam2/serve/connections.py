"""Connections to the service: how many there may be, and how long one holds its place without a request or a reader."""

import asyncio
import json

import h11
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol

from rs2sam2.serve.front import PATIENCE, SLOWEST

MOST = 256
"""Connections at once."""


class Connection(H11Protocol):
    """An HTTP/1.1 connection that waits for nobody without an end.

    Headers have `PATIENCE` seconds from when the connection was made, or its answer before was written; so has a
    connection on which nothing is asked. What is written must be read as fast as a body must come. Where `MOST` are
    open, a new one takes the place of the one that has been without a request for longest.
    """

    _since = 0.0
    _left = 0
    _waiting: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # a TCP server's transport is one
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._wait_for_request()
        if len(self.connections) > MOST:
            idle = [one for one in self.connections if isinstance(one, Connection) and one.is_idle and one is not self]
            if idle:
                min(idle, key=lambda one: one._since).transport.abort()
            else:
                self._refuse(503, f'{MOST} requests are under way already: try again later')

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        for timer in (self._waiting, self._unread):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Wait for the next request; one that is here already begins."""
        self._wait_for_request()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """What was written is not read yet: give that the time which its size needs."""
        super().pause_writing()
        seconds = PATIENCE + self.transport.get_write_buffer_size() / SLOWEST
        self._unread = self.loop.call_later(seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """It was read."""
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, in JSON as everything else."""
        self._refuse(400, msg)

    @property
    def is_idle(self) -> bool:
        """Whether no request is under way."""
        return self.cycle is None or self.cycle.response_complete

    def _wait_for_request(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
        self._since = self.loop.time()
        self._waiting = self.loop.call_later(PATIENCE, self._waited)

    def _waited(self) -> None:
        if not self.is_idle:
            return
        self._waiting = self.loop.call_later(PATIENCE, self._waited)
        before, self._left = self._left, self.transport.get_write_buffer_size()
        if self._left:
            if self._left == before and not self.flow.write_paused:  # nobody reads the little that is left
                self.transport.abort()
        elif self.conn.trailing_data[0]:
            self._refuse(408, 'the headers came too slowly; send them in one go')
        else:
            self.transport.close()

    def _refuse(self, status: int, text: str) -> None:
        """Answer in the service's place, where it sees no request, and close."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = json.dumps({'error': text}).encode()
            headers = {'Content-Type': 'application/json', 'Content-Length': str(len(body)), 'Connection': 'close'}
            answer = h11.Response(status_code=status, headers=[*headers.items()], reason=STATUS_PHRASES[status])
            for event in (answer, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b'')
        self.transport.close()
