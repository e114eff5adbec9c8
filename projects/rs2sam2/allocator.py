"""What glibc's `malloc` is told by commands that compute on a CPU; elsewhere, and where a user told it, nothing.

Settings of the process, so no import and no class sets them: commands and services do.
"""

import ctypes
import os
import sys

# `mallopt`'s numbers of settings, and the variables by which a user says them.
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
_KEEPING = ('TRIM_THRESHOLD_', 'MMAP_MAX_', 'MMAP_THRESHOLD_')
_SHARING = ('ARENA_MAX', 'ARENA_TEST')
_WITHOUT_LIMIT = -1


def keep_memory(device: str) -> None:
    """Keep freed memory for the next forward pass; else a sixth of each is the kernel handing out the same pages again.

    The process stays as large as it was at its peak.

    Args:
        device: where the model computes; on others than the CPU nothing is changed.
    """
    if device == 'cpu' and not _is_told(_KEEPING):
        _tell(_MMAP_MAX, 0)
        _tell(_TRIM_THRESHOLD, _WITHOUT_LIMIT)


def share_memory() -> None:
    """Let all threads allocate from one arena.

    Each has its own otherwise, and what one gave back another takes anew: masks of all sizes in many threads would make
    a service grow.
    """
    if not _is_told(_SHARING):
        _tell(_ARENA_MAX, 1)


def _is_told(names: tuple[str, ...]) -> bool:
    """Whether the user's environment says one of these settings, in either of glibc's two ways."""
    tunables = os.environ.get('GLIBC_TUNABLES', '')
    return any(
        f'MALLOC_{name}' in os.environ or f'glibc.malloc.{name.lower().rstrip("_")}=' in tunables for name in names
    )


def _tell(setting: int, value: int) -> None:
    """`mallopt`, where the C library has it; musl and macOS do not."""
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None) if sys.platform == 'linux' else None
    if mallopt is not None:
        mallopt(setting, value)
