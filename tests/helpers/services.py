"""A service in this process, and one of its own."""

import io
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from fastapi.testclient import TestClient
from PIL import Image

from helpers.command import MODULE, start
from rs2sam2.inference import RefSegInferencer
from rs2sam2.serve.app import build_app
from rs2sam2.serve.settings import ServeSettings


@contextmanager
def service(inferencer: RefSegInferencer, folder: Path, **settings: object) -> Iterator[TestClient]:
    """A service in this process; `client.service` is what its requests share."""
    (jobs := folder / 'jobs').mkdir(parents=True, exist_ok=True)
    app = build_app(inferencer, ServeSettings(jobs=jobs, **{'grace': 0, **settings}), folder)
    inner = app.app.app  # within what counts requests and the front door
    with TestClient(app, base_url='http://127.0.0.1', raise_server_exceptions=False) as client:
        client.service = inner.state.service
        yield client


@contextmanager
def own_service(model: Path, jobs: Path, *options: object) -> Iterator[tuple[str, object]]:
    """The command in a process of its own; its address and process. What is not ended by then is killed."""
    process = start(*MODULE, 'serve', '--model', model, '--jobs', jobs, '--port', 0, *options)
    try:
        line = process.stdout.readline()
        found = re.search(r'http://[\d.:]+', line)
        assert found, line + process.communicate()[0]
        yield found[0], process
    finally:
        process.kill()
        process.communicate()


def picture(size: tuple[int, int] = (40, 30), seed: int = 0, form: str = 'PNG') -> bytes:
    """A noisy picture of (width, height) as a file."""
    small = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(small).resize(size).save(file, form)
    return file.getvalue()


def ask(client: TestClient, content: bytes, *expressions: str, **fields: object):
    """POST /segment."""
    data = {'expression': list(expressions), **fields}
    return client.post('/segment', files={'image': ('a.png', content)}, data=data)


def ended(client: TestClient, job_id: str, seconds: float = 30) -> dict:
    """A job when it is over."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        job = client.get(f'/scenes/{job_id}').json()
        if job['state'] in ('done', 'failed', 'cancelled'):
            return job
        time.sleep(0.01)
    raise AssertionError(f'not over after {seconds} s: {job}')
