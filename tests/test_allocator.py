"""What glibc is told, seen by what it then does: each time in a bare process that knows this one file."""

import os
import platform
import subprocess
import sys

import pytest

from helpers.paths import ROOT

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='settings of glibc')
START = f"""
import ctypes, os, runpy, threading
from pathlib import Path
allocator = runpy.run_path({str(ROOT / 'projects/rs2sam2/allocator.py')!r})
"""
# 64 MB are allocated, touched and freed: are they still there?
KEPT = """
def resident():
    return int(Path('/proc/self/statm').read_text().split()[1]) * os.sysconf('SC_PAGESIZE')
allocator['keep_memory']({device!r})
before = resident()
block = bytearray(b'x') * (64 << 20)
del block
print(resident() - before > 32 << 20)
"""
# Eight threads allocate at the same time: from how many arenas?
ARENAS = """
allocator['share_memory']()
together = threading.Barrier(8)
def work():
    together.wait()
    kept = [bytes(100_000) for _ in range(20)]
    together.wait()
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
libc = ctypes.CDLL(None)
libc.fopen.restype, libc.malloc_info.argtypes = ctypes.c_void_p, (ctypes.c_int, ctypes.c_void_p)
file = libc.fopen(b'/dev/stdout', b'w')
libc.malloc_info(0, file)
libc.fflush(ctypes.c_void_p(file))
"""


def run(code: str, **environment: str) -> str:
    own = {name: value for name, value in os.environ.items() if not name.startswith(('MALLOC_', 'GLIBC_TUNABLES'))}
    words = [sys.executable, '-S', '-c', START + code]
    return subprocess.run(words, env={**own, **environment}, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    ('device', 'environment', 'kept'),
    [
        ('cpu', {}, True),
        ('cuda:0', {}, False),
        ('cpu', {'MALLOC_TRIM_THRESHOLD_': '131072'}, False),
        ('cpu', {'GLIBC_TUNABLES': 'glibc.malloc.mmap_max=65536'}, False),
        ('cpu', {'MALLOC_ARENA_MAX': '2'}, True),  # another matter
    ],
)
def test_freed_memory_is_kept_on_a_cpu_unless_the_user_says_otherwise(device, environment, kept):
    assert run(KEPT.format(device=device), **environment).strip() == str(kept)


@pytest.mark.parametrize(
    ('environment', 'several'),
    [({}, False), ({'MALLOC_ARENA_MAX': '4'}, True), ({'GLIBC_TUNABLES': 'glibc.malloc.arena_max=4'}, True)],
)
def test_threads_share_an_arena_unless_the_user_says_otherwise(environment, several):
    assert (run(ARENAS, **environment).count('<heap nr') > 1) == several
