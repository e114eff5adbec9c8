"""Measures what more workers bring, with a model that sleeps as long as a GPU works: ratio of wall-clocks, same bytes.

And what is lost beside the model: windows that blocks cost on top, and the share of its time that it waits for windows
to be read (a thread reads ahead).

python tools/analysis_tools/benchmark_workers.py [--scenes 4] [--size 8192] [--seconds-per-window 0.1] [--ray]
"""

import hashlib
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.table import Table

from rs2sam2.engine.arguments import make_parser
from rs2sam2.geo.many import segment_scenes
from rs2sam2.geo.options import SceneOptions
from rs2sam2.geo.windows import tile_axis
from rs2sam2.one_line import one_line_errors
from rs2sam2.terminal import plain_console
from rs2sam2.workers import open_workers


@dataclass
class Sleeping:
    """Makes a predictor that sleeps for each window; its answer is the green band.

    Attributes:
        seconds: a window.
    """

    seconds: float

    def __call__(self) -> 'Sleeping':
        """See the class."""
        return self

    @property
    def identity(self) -> dict:
        """What it is."""
        return {'name': 'sleeping'}

    def predict(self, images: list[np.ndarray], expression: str) -> np.ndarray:
        """See `WindowPredictor`."""
        time.sleep(self.seconds * len(images))
        return np.stack([(image[..., 1].astype(np.float32) - 150) / 16 for image in images])


def work(folder: Path, count: int, seconds: float, ray: bool) -> None:
    """One run, in each of its processes; the first prints what it took, without starting and loading."""
    with one_line_errors(), open_workers('local' if ray else None, count if ray else None) as workers:
        begun = []

        def settle(about: object) -> SceneOptions:
            begun.append(time.perf_counter())
            return SceneOptions()

        found = segment_scenes(
            [str(folder / 'in')],
            ['the bright disc'],
            Sleeping(seconds),
            folder / f'out{count}',
            options=settle,
            workers=workers,
            progress=False,
        )
        wall = time.perf_counter() - begun[0]
        waits = found.seconds['wait'] / (found.seconds['wait'] + found.seconds['predict'])
        read = found.seconds['read']
        print(f'took {wall:.3f} windows {sum(row["windows"] for row in found.rows)} waits {waits:.5f} read {read:.3f}')


def main() -> None:
    """Prints the wall-clock of one worker and of two, and their ratio."""
    parser = make_parser(__doc__)
    parser.add_argument('--scenes', type=int, default=4)
    parser.add_argument('--size', type=int, default=8192, help='side of a scene in pixels')
    parser.add_argument('--seconds-per-window', type=float, default=0.1)
    parser.add_argument('--ray', action='store_true', help='workers of a Ray cluster on this machine; else torchrun')
    parser.add_argument('--worker', type=int, help='one run, of so many workers, in --folder: what this script starts')
    parser.add_argument('--folder', type=Path, help='where scenes and outputs are put; default: a temporary folder')
    args = parser.parse_args()
    if args.worker is not None:
        work(args.folder, args.worker, args.seconds_per_window, args.ray)
        return
    from benchmark_scene import write_synthetic_scene  # beside this file, where Python looks when it is run

    console = plain_console()
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        (folder / 'in').mkdir()
        for number in range(args.scenes):
            write_synthetic_scene(folder / f'in/{number}.tif', args.size, args.size, seed=number)
        table = Table('workers', 'seconds', 'ratio', 'windows', 'model waits', 'ms to read a window')
        options = SceneOptions()
        whole = args.scenes * len(tile_axis(args.size, options.window, options.overlap).starts) ** 2
        first, digests = None, set()
        for count in (1, 2):
            seconds, windows, waits, read = _start(folder, count, args)
            first = first or seconds
            extra = f'{windows:.0f} (+{windows / whole - 1:.1%})'
            table.add_row(
                str(count),
                f'{seconds:.1f}',
                f'{first / seconds:.3f}',
                extra,
                f'{waits:.1%}',
                f'{1000 * read / windows:.0f}',
            )
            digests.add(_digest(folder / f'out{count}'))
    console.print(table)
    console.print('same bytes' if len(digests) == 1 else 'DIFFERENT bytes')


def _start(folder: Path, count: int, args: object) -> tuple[float, ...]:
    """Seconds, windows, share of its time that the model waits, seconds of reading."""
    launcher = ['-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', str(count)]
    words = [sys.executable, *(launcher if count > 1 and not args.ray else []), __file__, '--worker', str(count)]
    words += ['--folder', str(folder), '--seconds-per-window', str(args.seconds_per_window)]
    environment = os.environ | {'OMP_NUM_THREADS': '1'}
    words += ['--ray'] if args.ray else []
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    found = re.search(r'took ([\d.]+) windows (\d+) waits ([\d.]+) read ([\d.]+)', done.stdout)
    if found is None:
        raise SystemExit(done.stdout + done.stderr)
    return tuple(map(float, found.groups()))


def _digest(folder: Path) -> str:
    total = hashlib.sha256()
    for path in sorted(path for path in folder.rglob('*') if path.is_file()):
        total.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return total.hexdigest()


if __name__ == '__main__':
    main()
