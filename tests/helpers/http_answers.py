"""A server that gives one answer to all who ask."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def answering(
    status: int = 200, body: bytes = b'{}', headers: Mapping[str, str] | None = None, take: bool = True,
    token: str | None = None,
) -> Iterator[tuple[str, list[tuple[str, dict, bytes]]]]:  # fmt: skip
    """A server on this machine; its address, and the requests that came: path, headers, body.

    Args:
        status: of the answer.
        body: of the answer.
        headers: of the answer.
        take: whether a request's body is read.
        token: whoever does not bring it gets 401.
    """
    came: list[tuple[str, dict, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get('Content-Length', 0))
            came.append((self.path, dict(self.headers), self.rfile.read(length) if take else b''))
            good = token is None or self.headers.get('Authorization') == f'Bearer {token}'
            self.send_response(status if good else 401)
            for name, value in {'Content-Length': str(len(body)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_DELETE = do_GET

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(('127.0.0.1', 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f'http://127.0.0.1:{server.server_address[1]}', came
        server.shutdown()
