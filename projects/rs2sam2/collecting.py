"""Python's search for garbage, left out where nothing is garbage."""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def without_collecting() -> Iterator[None]:
    """Within, garbage is not looked for.

    Imports make a million objects that stay; to look through them again and again took a quarter of the imports' time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
