"""Prepare the next batch while the model computes this one."""

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar('T')
_END = object()


def one_ahead(items: Iterable[T]) -> Iterator[T]:
    """Yield the items in order; a thread makes the next one while the caller works on this one.

    An error of the maker is raised where its item would have come. At most two items exist at a time.
    """
    iterator = iter(items)
    with ThreadPoolExecutor(1, 'one-ahead') as thread:
        coming: Future[Any] = thread.submit(next, iterator, _END)
        while (item := coming.result()) is not _END:
            coming = thread.submit(next, iterator, _END)
            yield item
