"""This process."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rs2sam2.workers import AnyWork, Work


class LocalWorker:
    """The work is done here, one unit after the other; see `Workers`."""

    count, apart = 1, False

    def start(self, make: Callable[[], AnyWork]) -> AnyWork:
        """See `Workers`."""
        work = make()
        self._work: Work = work
        return work

    def run(self, units: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """See `Workers`."""
        yield from enumerate(self._work(iter(units)))

    def close(self, failed: bool) -> None:
        """See `Workers`."""
