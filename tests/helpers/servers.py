"""A server of files on this machine, as object stores are: parts of files can be asked for.

A process of its own: GDAL asks while it holds Python's lock.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, *args, parts: bool, **kwargs):
        self.parts = parts
        super().__init__(*args, **kwargs)

    def log_message(self, *args):
        print(self.path, flush=True)

    def do_GET(self):
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        wanted = re.fullmatch(r'bytes=(\d+)-(\d*)', self.headers.get('Range', '')) if self.parts else None
        first, last = (int(wanted[1]), int(wanted[2] or len(data))) if wanted else (0, len(data))
        last = min(last, len(data) - 1)
        if first > last:
            self.send_error(416)
            return
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header('Content-Range', f'bytes {first}-{last}/{len(data)}')
        self.send_header('Content-Length', str(last - first + 1))
        self.end_headers()
        self.wfile.write(data[first : last + 1])


@contextmanager
def serve_files(folder: Path, parts: bool = True) -> Iterator[tuple[str, list[str]]]:
    """Serve a folder; gives the address, and a list that after the block holds what was asked for.

    Args:
        folder: what is served.
        parts: whether ranges of bytes can be asked for.
    """
    command = [sys.executable, __file__, str(folder), str(int(parts))]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    asked: list[str] = []
    try:
        yield f'http://127.0.0.1:{server.stdout.readline().strip()}', asked
    finally:
        server.terminate()
        asked += server.communicate()[0].splitlines()


if __name__ == '__main__':
    folder, parts = sys.argv[1:]
    handler = partial(_Handler, directory=folder, parts=bool(int(parts)))
    with ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()
