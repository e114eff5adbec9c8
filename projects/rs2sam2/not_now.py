"""Keep a package out of an import that would only look whether it is there."""

import contextlib
import sys
import threading
from collections.abc import Iterator
from importlib.abc import MetaPathFinder


class _Absent(MetaPathFinder):
    def __init__(self, names: tuple[str, ...]) -> None:
        self.names, self.thread = names, threading.get_ident()

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Nothing: the next finder is asked; or there is no such package."""
        if name in self.names and threading.get_ident() == self.thread:
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)


@contextlib.contextmanager
def not_now(*names: str) -> Iterator[None]:
    """Within, packages that were not imported before are missing, for this thread."""
    finder = _Absent(names)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
