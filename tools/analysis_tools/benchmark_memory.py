"""Measures the memory of runs over scenes, each in a process of its own: of growing size, and of growing number.

python tools/analysis_tools/benchmark_memory.py [--sizes 4096 8192 16384] [--numbers 50 200]
"""

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.table import Table

from rs2sam2.engine.arguments import make_parser
from rs2sam2.geo.many import segment_scenes
from rs2sam2.one_line import one_line_errors
from rs2sam2.terminal import plain_console

_SMALL = 300  # side of the scenes of which there are many


def work(folder: Path, count: int, size: int) -> None:
    """One run, whose peak it prints; the scenes are drawn here, and not counted."""
    from benchmark_scene import write_synthetic_scene  # beside this file, where Python looks when it is run
    from benchmark_workers import Sleeping

    (folder / 'in').mkdir()
    for number in range(count):
        write_synthetic_scene(folder / f'in/{number}.tif', size, size, seed=number)
    Path('/proc/self/clear_refs').write_text('5')  # the peak starts anew
    before, begun = _peak(), time.perf_counter()
    with one_line_errors():
        found = segment_scenes([str(folder / 'in')], ['the disc'], Sleeping(0), folder / 'out', progress=False)
    windows, objects = (sum(row[key] for row in found.rows) for key in ('windows', 'objects'))
    print(f'peak {_peak()} {before} {windows} {objects} {time.perf_counter() - begun:.0f}')


def _peak() -> int:
    """Megabytes of this process at most; not `ru_maxrss`, which keeps the parent's over fork and exec."""
    return int(re.search(r'VmHWM:\s+(\d+)', Path('/proc/self/status').read_text())[1]) // 1024


def main() -> None:
    """Prints the peak of each run."""
    parser = make_parser(__doc__)
    parser.add_argument('--sizes', type=int, nargs='*', default=[4096, 8192, 16384], help='sides of a single scene')
    parser.add_argument('--numbers', type=int, nargs='*', default=[50, 200], help=f'of scenes of {_SMALL} pixels')
    parser.add_argument('--run', type=int, nargs=2, help='one run, of so many scenes of a size: what this starts')
    parser.add_argument('--folder', type=Path, help='where scenes and outputs are put; default: a temporary folder')
    args = parser.parse_args()
    if args.run is not None:
        work(args.folder, *args.run)
        return
    table = Table('scenes', 'pixels a side', 'peak MB', 'MB before the run', 'windows', 'objects', 'seconds')
    for count, size in [*((1, size) for size in args.sizes), *((number, _SMALL) for number in args.numbers)]:
        with tempfile.TemporaryDirectory(dir=args.folder) as name:
            words = [sys.executable, __file__, '--run', str(count), str(size), '--folder', name]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
        found = re.search(r'peak (\d+) (\d+) (\d+) (\d+) (\d+)', done.stdout)
        if found is None:
            raise SystemExit(done.stdout + done.stderr)
        print(f'{count:,} of {size:,} pixels: {found[1]} MB', file=sys.stderr)
        table.add_row(f'{count:,}', f'{size:,}', *(f'{int(number):,}' for number in found.groups()))
    plain_console().print(table)


if __name__ == '__main__':
    main()
