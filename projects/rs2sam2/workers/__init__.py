"""Who does the work: this process, the processes of torchrun, or a Ray cluster. One interface of three calls.

A run is a list of units that do not depend on each other. `run` hands them out and yields what becomes of each, in the
order in which they end. What schedules, restarts and finds machines is torchrun or Ray.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

Work = Callable[[Iterator[Any]], Iterator[Any]]
"""Units in, one outcome for each out, in their order; it may read ahead. Units and outcomes are pickled."""
AnyWork = TypeVar('AnyWork', bound=Work)


class Workers(Protocol):
    """Processes that do the same kind of work.

    Attributes:
        count: how many.
        apart: whether some are other processes, perhaps on other machines.
    """

    count: int
    apart: bool

    def start(self, make: Callable[[], AnyWork]) -> AnyWork | None:
        """Makes every worker ready.

        Args:
            make: makes what works, in each worker: it loads the model. Pickled where workers are apart.

        Returns:
            What works in this very process, or None.

        Raises:
            RefSegError: `make` raised it in one of them.
        """
        ...

    def run(self, units: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """Yields (index of the unit, its outcome) as they end.

        Raises:
            WorkerError: a worker was lost, and with it the unit, more often than it is tried.
        """
        ...

    def close(self, failed: bool) -> None:
        """Lets the workers go."""
        ...


@contextmanager
def open_workers(ray: str | None = None, count: int | None = None) -> Iterator[Workers]:
    """The workers that there are: a Ray cluster where one is named, torchrun's where it started us, else this process.

    Of torchrun's processes the first goes on from here and plans and tells; the others work until it ends, and exit.

    Args:
        ray: address of a cluster ('auto', 'host:6379', 'ray://host:10001'), or 'local' to start one here.
        count: how many of Ray's workers; None: one a GPU, or one a CPU where there is none.

    Raises:
        ConfigError: the cluster cannot be reached, or Ray is not installed.
    """
    workers: Workers
    if ray is not None:
        from rs2sam2.workers.ray_cluster import RayWorkers

        workers = RayWorkers(ray, count)
    elif int(os.environ.get('WORLD_SIZE', 1)) > 1:
        from rs2sam2.workers.torchrun import TorchrunWorkers

        workers = TorchrunWorkers()
        if not workers.is_head:
            workers.serve()
    else:
        from rs2sam2.workers.local import LocalWorker

        workers = LocalWorker()
    try:
        yield workers
    except BaseException:
        workers.close(failed=True)
        raise
    workers.close(failed=False)


def own_device() -> str | None:
    """The GPU of this process where torchrun started several on a machine; else whatever there is, None."""
    if int(os.environ.get('WORLD_SIZE', 1)) == 1:
        return None
    import torch

    return f'cuda:{os.environ.get("LOCAL_RANK", 0)}' if torch.cuda.is_available() else None
