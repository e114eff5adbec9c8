"""A client of `rs2sam2 serve`, of Python's standard library alone: this file works wherever it is copied."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path

WAIT = 0.5
"""Seconds between two looks at a job."""
OVER = ('done', 'failed', 'cancelled')


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
    """

    def __init__(
        self, address: str = 'http://127.0.0.1:8000', token: str | None = None, timeout: float = 120.0
    ) -> None:
        self.address, self.token, self.timeout = address.rstrip('/'), token, timeout
        # This machine is not reached through a proxy, whatever the environment says.
        here = urllib.parse.urlsplit(self.address).hostname in ('127.0.0.1', 'localhost', '::1')
        self._opener = urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if here else []))

    def health(self) -> dict:
        """Version and state of the service."""
        return self._json('GET', '/health')

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
        body = self._ask('POST', '/segment', self._form(options, expressions), ('image', name, content))
        return body if options.get('format') == 'png' else json.loads(body)

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
        file = None if upload is None else ('scene', Path(upload).name, Path(upload).read_bytes())
        return json.loads(self._ask('POST', '/scenes', self._form(named, [expression]), file))

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
        for name, address in job['files'].items():
            suffix = '.tif' if name != 'polygons' else f'.{job["options"]["polygons"]}'
            paths[name] = Path(folder) / f'{name}{suffix}'
            paths[name].write_bytes(self._ask('GET', address))
        return paths

    def _json(self, method: str, path: str) -> dict:
        return json.loads(self._ask(method, path))

    @staticmethod
    def _form(options: dict, expressions: Iterable[str]) -> list[tuple[str, str]]:
        fields = [('expression', text) for text in expressions]
        for name, value in options.items():
            if value is not None:
                several = value if isinstance(value, (list, tuple)) else [value]
                fields += [(name, str(one).lower() if isinstance(one, bool) else str(one)) for one in several]
        return fields

    def _ask(
        self,
        method: str,
        path: str,
        fields: list[tuple[str, str]] | None = None,
        file: tuple[str, str, bytes] | None = None,
    ) -> bytes:
        headers = {} if self.token is None else {'Authorization': f'Bearer {self.token}'}
        body = None
        if fields is not None:
            body, headers['Content-Type'] = _multipart(fields, file)
        until = time.monotonic() + self.timeout
        while True:
            try:
                request = urllib.request.Request(self.address + path, body, headers, method=method)
                with self._opener.open(request, timeout=self.timeout) as answer:
                    return answer.read()
            except urllib.error.HTTPError as error:
                refusal = _refusal(error)
                if refusal.seconds is None or time.monotonic() + refusal.seconds > until:
                    raise refusal from None
                time.sleep(refusal.seconds)
            except OSError as error:
                reason = getattr(error, 'reason', error)
                raise ServiceError(f'{self.address} does not answer ({reason})') from error


def _refusal(error: urllib.error.HTTPError) -> ServiceError:
    try:
        text = json.loads(error.read())['error']
    except (ValueError, KeyError, TypeError, OSError):
        text = f'the service answered {error.code} {error.reason}'
    seconds = error.headers.get('Retry-After') if error.code == 429 else None
    return ServiceError(text, error.code, None if seconds is None else float(seconds))


def _multipart(fields: list[tuple[str, str]], file: tuple[str, str, bytes] | None) -> tuple[bytes, str]:
    """A form's body, and its content type."""
    mark = uuid.uuid4().hex
    parts = [f'--{mark}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields]
    body = ''.join(parts).encode()
    if file is not None:
        name, path, content = file
        quoted = path.replace('"', '%22').replace('\r', '%0D').replace('\n', '%0A')
        head = f'Content-Disposition: form-data; name="{name}"; filename="{quoted}"\r\n'
        body += f'--{mark}\r\n{head}Content-Type: application/octet-stream\r\n\r\n'.encode() + content + b'\r\n'
    return body + f'--{mark}--\r\n'.encode(), f'multipart/form-data; boundary={mark}'
