"""Work in a thread while the caller does something else: the next batch while the model computes this one."""

import threading
from collections.abc import Callable, Iterable, Iterator
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


def in_background(work: Callable[[], T]) -> 'Future[T]':
    """Begin some work; the end of the process does not wait for it, and its error is raised by `result()`."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name='in-background', daemon=True).start()
    return future
