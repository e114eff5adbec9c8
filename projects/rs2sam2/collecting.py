"""Python's search for garbage, left out where nothing is garbage."""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def without_collecting() -> Iterator[None]:
    """Within, garbage is not looked for.

    Imports make a million objects that stay; to look through them again and again took a quarter of the imports' time,
    and to look through them once at the end a tenth. So they count as old from then on.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            if not gc.get_freeze_count():  # what somebody froze would thaw
                gc.freeze()
                gc.unfreeze()
            gc.enable()


def keep_imports() -> None:
    """What a command has imported stays until it ends: it is never looked through while the command works.

    A setting of the process, so commands and tools do it, and no import.
    """
    if not gc.get_freeze_count():  # once; what else a process makes later may become garbage
        gc.freeze()
