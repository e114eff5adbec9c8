"""What all requests of a service share."""

import math
import statistics
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, Request

from rs2sam2.errors import DataError, RefSegError
from rs2sam2.serve.metrics import Metrics
from rs2sam2.serve.model import SharedModel
from rs2sam2.serve.runner import JobRunner
from rs2sam2.serve.schemas import Problem
from rs2sam2.serve.settings import ServeSettings


class BusyError(RefSegError):
    """Too much waits for the model.

    Attributes:
        seconds: after which it is worth while to try again.
    """

    def __init__(self, text: str, seconds: int) -> None:
        super().__init__(text)
        self.seconds = seconds


class LateError(RefSegError):
    """An answer took longer than is allowed."""


@dataclass
class Service:
    """One service.

    Attributes:
        settings: its limits.
        model: its model.
        jobs: its scenes.
        metrics: its counts.
        scratch: folder for files that are gone when it ends.
        recent: seconds that the latest expressions took.
    """

    settings: ServeSettings
    model: SharedModel
    jobs: JobRunner
    metrics: Metrics
    scratch: Path
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=32))

    @contextmanager
    def room(self, count: int) -> Iterator[None]:
        """Hold a place for expressions, from when their image is decoded until they are answered.

        Raises:
            BusyError: no room is left for `count` expressions.
        """
        waiting = self.model.waiting
        if waiting + count > self.settings.max_waiting:
            each = statistics.fmean(self.recent) if self.recent else 1.0
            seconds = min(math.ceil(self.settings.time_limit), max(1, math.ceil(each * waiting)))
            raise BusyError(f'{waiting} expressions wait already: try again in {seconds} s', seconds)
        with self.model.counted(count):
            yield


def _service(request: Request) -> Service:
    return request.app.state.service


Shared = Annotated[Service, Depends(_service)]


def each_once(*several: str) -> Callable:
    """A dependency of routes that refuses a form's field that is there twice, where the last one would win silently.

    Args:
        several: fields that may be there more than once.
    """

    async def check(request: Request) -> None:
        counts = Counter(name for name, _ in (await request.form()).multi_items() if name not in several)
        for name, count in counts.items():
            if count > 1:
                raise DataError(f'{name[:200]} is given {count} times: send it once')

    return check


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For the OpenAPI document: with which statuses a route refuses, beside those of every route."""
    texts = {
        400: 'The request cannot be parsed.',
        401: 'The token is missing or wrong.',
        403: 'By another name, from another page, or a path that may not be read.',
        404: 'There is no such job or file.',
        408: 'The body came too slowly.',
        409: 'The job has no such file yet.',
        413: 'The body is too large.',
        416: 'The file has no such part.',
        422: 'The image, scene or a value cannot be used.',
        429: 'Too much waits; the header Retry-After says when to try again.',
        500: 'An error of the server, told in its log.',
        503: 'The disk is full.',
        504: 'It took too long.',
    }
    return {status: dict(model=Problem, description=texts[status]) for status in (401, 403, 500, *statuses)}
