"""What Prometheus reads of a service."""

import time
from collections.abc import Callable
from typing import Any

import prometheus_client as prometheus

from rs2sam2.serve.guard import Application

_METHODS = ('GET', 'HEAD', 'POST', 'DELETE')
_SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100)


class Metrics:
    """Counts of one service, in a registry of its own.

    Attributes:
        requests: answered, by method, route and status.
        seconds: until an answer, by route.
        batches: expressions that the model took at once.
        alone: expressions that were run again by themselves, because a batch might have tipped a pixel.
        waiting: expressions that wait for the model, or are in it.
        jobs: scenes by how they ended.
    """

    def __init__(self) -> None:
        self.registry = prometheus.CollectorRegistry()
        options: dict[str, Any] = dict(namespace='rs2sam2', registry=self.registry)
        self.requests = prometheus.Counter(
            'requests', 'Requests that were answered.', ['method', 'route', 'status'], **options
        )
        self.seconds = prometheus.Histogram(
            'request_seconds', 'Seconds until an answer.', ['route'], buckets=_SECONDS, **options
        )
        self.batches = prometheus.Histogram(
            'batch_size', 'Expressions that the model took at once.', buckets=(1, 2, 4, 8, 16, 32), **options
        )
        self.alone = prometheus.Counter(
            'run_alone', 'Expressions run again by themselves, because a batch might have tipped a pixel.', **options
        )
        self.waiting = prometheus.Gauge('waiting', 'Expressions that wait for the model, or are in it.', **options)
        self.jobs = prometheus.Counter('jobs', 'Scenes that ended.', ['state'], **options)
        self.queued_jobs = prometheus.Gauge('queued_jobs', 'Scenes that wait.', **options)
        # Memory, processor time and open files of the process.
        prometheus.ProcessCollector(registry=self.registry)

    def text(self) -> bytes:
        """All of it, in Prometheus' text format."""
        return prometheus.generate_latest(self.registry)


class Counted:
    """ASGI middleware that counts requests.

    Args:
        app: what answers them.
        metrics: where they are counted.
    """

    def __init__(self, app: Application, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        """Answer a request, and count it by its route: what a client names is no label."""
        if scope['type'] != 'http':
            return await self.app(scope, receive, send)
        status, begin = 0, time.perf_counter()

        async def noted(message: dict) -> None:
            nonlocal status
            status = message.get('status', status)
            await send(message)

        try:
            await self.app(scope, receive, noted)
        finally:
            route = getattr(scope.get('route'), 'path', 'none')
            method = scope['method'] if scope['method'] in _METHODS else 'other'
            self.metrics.requests.labels(method, route, status).inc()
            self.metrics.seconds.labels(route).observe(time.perf_counter() - begin)


CONTENT_TYPE = prometheus.CONTENT_TYPE_LATEST
