"""Makes the embedded data set: aerial-looking scenes with referring expressions, in RRSIS-D's on-disk layout.

python tools/dataset_converters/make_synthetic_scenes.py --out DIR [--train 2000] [--val 40] [--test 150]
"""

import os
import sys

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from rs2sam2.engine.arguments import make_parser
from rs2sam2.errors import RefSegError
from rs2sam2.synthetic.dataset import build_demo_dataset


def main() -> int:
    """Runs the command line; returns the exit status."""
    parser = make_parser(__doc__)
    parser.add_argument('--out', required=True, help='folder to be made')
    parser.add_argument('--train', type=int, default=2000, help='scenes for training (default: %(default)s)')
    parser.add_argument('--val', type=int, default=100, help='scenes for validation (default: %(default)s)')
    parser.add_argument('--test', type=int, default=200, help='scenes for the test (default: %(default)s)')
    parser.add_argument('--size', type=int, default=256, help='side of the images in pixels (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='of everything random (default: %(default)s)')
    parser.add_argument('--no-target-share', type=float, default=0.1, help='of the train refs (default: %(default)s)')
    parser.add_argument('--workers', type=int, default=os.cpu_count(), help='processes (default: %(default)s)')
    args = parser.parse_args()
    splits = {'train': args.train, 'val': args.val, 'test': args.test}
    columns = (TextColumn('drawing scenes'), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns)
    task = bar.add_task('', total=None)

    def progress(done: int, total: int) -> None:
        bar.start()
        bar.update(task, completed=done, total=total)

    try:
        out = build_demo_dataset(args.out, splits, args.size, args.seed, args.no_target_share, args.workers, progress)
    except RefSegError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    finally:
        bar.stop()
    print(f'{sum(splits.values())} scenes in {out}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
