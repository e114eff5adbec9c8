"""A client of `rs2sam2 serve`, of Python's standard library alone: this file works wherever it is copied."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

API = 1
"""Which requests and answers are spoken: a service that takes others has another number."""
WAIT = 0.5
"""Seconds between two looks at a job."""
OVER = ('done', 'failed', 'cancelled')
FILES = ('mask', 'polygons', 'probability')
_CHUNK = 1 << 20


class ServiceError(Exception):
    """The service refused, or cannot be reached.

    Attributes:
        status: HTTP's, or None where nothing answered.
        seconds: after which to try again, where the service says so.
    """

    def __init__(self, text: str, status: int | None = None, seconds: float | None = None) -> None:
        super().__init__(text)
        self.status, self.seconds = status, seconds


class Client:
    """A service.

    Args:
        address: `http://127.0.0.1:8000`.
        token: of the service, if it has one.
        timeout: seconds that an answer may take; a service that is busy is asked again within them.

    Raises:
        ServiceError: the address or the token cannot be one.
    """

    def __init__(
        self, address: str = 'http://127.0.0.1:8000', token: str | None = None, timeout: float = 120.0
    ) -> None:
        self.address, self.token, self.timeout = address.rstrip('/'), token, timeout
        host = _host(self.address)
        if token is not None and not (token.isascii() and token.isprintable()):
            raise ServiceError('the token holds characters that no token has: copy it anew')
        # This machine is not reached through a proxy, whatever the environment says.
        here = [urllib.request.ProxyHandler({})] if host in ('127.0.0.1', 'localhost', '::1') else []
        self._opener = urllib.request.build_opener(_Http, _NoRedirect, *here)

    def health(self) -> dict:
        """Version and state of the service.

        Raises:
            ServiceError: it takes other requests than this client sends.
        """
        told = self._json('GET', '/health')
        if told.get('api') != API:
            raise ServiceError(
                f'{self.address} is rs2sam2 {told.get("version", "of another kind")} and takes other requests than '
                'this client sends: install both of the same version'
            )
        return told

    def model(self) -> dict:
        """What the model is and what it was trained on."""
        return self._json('GET', '/model')

    def segment(self, image: str | Path | bytes, *expressions: str, **options: object) -> dict | bytes:
        """Segment an image.

        Args:
            image: path, or the content of a file.
            expressions: what to segment, one or more.
            options: `format` ('rle', 'png', 'geojson'), `box` ('X0,Y0,X1,Y1'), `point` ('X,Y' or 'X,Y,0', or a list of
                them), `min_score`, `tta`; GET /openapi.json describes them.

        Returns:
            The answer's JSON, or the bytes of a PNG.

        Raises:
            ServiceError: the service refused; the text is its one line.
        """
        content = image if isinstance(image, bytes) else Path(image).read_bytes()
        name = 'image' if isinstance(image, bytes) else Path(image).name
        body = self._ask('POST', '/segment', _Form(_fields(options, expressions), ('image', name, content)))
        return body if options.get('format') == 'png' else self._read_json(body)

    def add_scene(
        self, expression: str, path: str | Path | None = None, upload: str | Path | None = None, **options: object
    ) -> dict:
        """Have a scene segmented.

        Args:
            expression: what to segment.
            path: of the scene, below a folder that the server may read.
            upload: GeoTIFF of this machine to send instead.
            options: `scope`, `polygons` ('gpkg', 'geojson'), `probability`, `window`, `gsd` and so on.

        Returns:
            The job; its `id` names it.
        """
        named = options if path is None else {**options, 'path': str(path)}
        file = None if upload is None else ('scene', Path(upload).name, Path(upload))
        return self._read_json(self._ask('POST', '/scenes', _Form(_fields(named, [expression]), file)))

    def scene(self, job_id: str) -> dict:
        """How far a job is, or how it ended."""
        return self._json('GET', f'/scenes/{job_id}')

    def cancel(self, job_id: str) -> dict:
        """Cancel a job; one that is over is removed with its files."""
        return self._json('DELETE', f'/scenes/{job_id}')

    def wait(self, job_id: str, progress: Callable[[float], object] | None = None) -> dict:
        """Wait until a job is over; `progress` is called with its finished share.

        Raises:
            ServiceError: it failed or was cancelled.
        """
        while (job := self.scene(job_id))['state'] not in OVER:
            if progress is not None:
                progress(job['progress'])
            time.sleep(WAIT)
        if job['state'] != 'done':
            raise ServiceError(job['error'] or f'the job was {job["state"]}')
        return job

    def save(self, job: dict, folder: str | Path) -> dict[str, Path]:
        """Fetch the result files of a job that is done into a folder; their paths by what they are."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        paths = {}
        for name in FILES:
            if name not in job['files']:
                continue
            suffix = '.tif' if name != 'polygons' else '.geojson' if job['options'][name] == 'geojson' else '.gpkg'
            paths[name] = Path(folder) / f'{name}{suffix}'
            part = paths[name].with_name(f'.{paths[name].name}.part')
            with part.open('wb') as file, self._open('GET', f'/scenes/{job["id"]}/files/{name}') as answer:
                with _clear(self.address):
                    shutil.copyfileobj(answer, file, _CHUNK)
                if answer.length:
                    raise ServiceError(f'{self.address} broke off while it sent the {name}')
            os.replace(part, paths[name])
        return paths

    def _json(self, method: str, path: str) -> dict:
        return self._read_json(self._ask(method, path))

    def _read_json(self, body: bytes) -> dict:
        with contextlib.suppress(ValueError):
            told = json.loads(body)
            if isinstance(told, dict):
                return told
        raise ServiceError(f'{self.address} answers, but not as rs2sam2 serve does: is the address right?')

    def _ask(self, method: str, path: str, form: _Form | None = None) -> bytes:
        with self._open(method, path, form) as answer, _clear(self.address):
            return answer.read()

    def _open(self, method: str, path: str, form: _Form | None = None) -> http.client.HTTPResponse:
        headers = {} if self.token is None else {'Authorization': f'Bearer {self.token}'}
        if form is not None:
            headers |= {'Content-Type': form.kind, 'Content-Length': str(form.length)}
        until = time.monotonic() + self.timeout
        while True:
            try:
                request = urllib.request.Request(self.address + path, form, headers, method=method)
                with _clear(self.address):
                    return self._opener.open(request, timeout=self.timeout)
            except urllib.error.HTTPError as error:
                refusal = _refusal(error)
                if refusal.seconds is None or time.monotonic() + refusal.seconds > until:
                    raise refusal from None
                time.sleep(refusal.seconds)


def _fields(options: dict, expressions: Iterable[str]) -> list[tuple[str, str]]:
    fields = [('expression', text) for text in expressions]
    for name, value in options.items():
        if value is not None:
            several = value if isinstance(value, (list, tuple)) else [value]
            fields += [(name, str(one).lower() if isinstance(one, bool) else str(one)) for one in several]
    return fields


class _Form:
    """A form as a request's body; its file is read while it is sent.

    Attributes:
        kind: content type.
        length: bytes.
    """

    def __init__(self, fields: list[tuple[str, str]], file: tuple[str, str, bytes | Path] | None) -> None:
        mark = uuid.uuid4().hex
        self.kind = f'multipart/form-data; boundary={mark}'
        head = ''.join(
            f'--{mark}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields
        )
        tail = f'--{mark}--\r\n'
        self._content: bytes | Path = b''
        if file is not None:
            name, path, self._content = file
            quoted = path.replace('"', '%22').replace('\r', '%0D').replace('\n', '%0A')
            head += f'--{mark}\r\nContent-Disposition: form-data; name="{name}"; filename="{quoted}"\r\n'
            head += 'Content-Type: application/octet-stream\r\n\r\n'
            tail = f'\r\n{tail}'
        self._head, self._tail = head.encode('utf-8', 'replace'), tail.encode()
        size = len(self._content) if isinstance(self._content, bytes) else self._content.stat().st_size
        self.length = len(self._head) + size + len(self._tail)

    def __iter__(self) -> Iterator[bytes]:
        yield self._head
        if isinstance(self._content, bytes):
            yield self._content
        else:
            with self._content.open('rb') as file:
                yield from iter(lambda: file.read(_CHUNK), b'')
        yield self._tail


class _Connection(http.client.HTTPConnection):
    """Reads the answer where the service refused a body before it was sent whole."""

    def send(self, data: Any) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            super().send(data)


class _Http(urllib.request.HTTPHandler):
    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Connection, request)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Goes nowhere else: the token is for this address alone."""

    def redirect_request(self, *arguments: object) -> None:
        return None


def _host(address: str) -> str:
    """Name of the machine of an address."""
    with contextlib.suppress(ValueError):
        parts = urllib.parse.urlsplit(address)
        if parts.scheme in ('http', 'https') and parts.hostname and parts.port != 0 and address.isascii():
            return parts.hostname
    raise ServiceError(f'{address} is no address of a service: it is like http://127.0.0.1:8000')


@contextlib.contextmanager
def _clear(address: str) -> Iterator[None]:
    """What goes wrong on the way, as one line."""
    try:
        yield
    except urllib.error.HTTPError:
        raise
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, 'reason', error) or type(error).__name__
        raise ServiceError(f'{address} does not answer ({reason})') from error


def _refusal(error: urllib.error.HTTPError) -> ServiceError:
    try:
        text = json.loads(error.read())['error']
    except (ValueError, KeyError, TypeError, OSError, http.client.HTTPException):
        place = f' ({error.headers["Location"]})' if error.headers.get('Location') else ''
        text = f'the service answered {error.code} {error.reason}{place}'
    seconds = None
    if error.code == 429:
        after = error.headers.get('Retry-After', '')
        seconds = float(after) if after.isdecimal() else None  # it may be a date
    return ServiceError(str(text), error.code, seconds)
