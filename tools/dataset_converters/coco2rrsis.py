"""Make a referring data set in the layout of RRSIS-D from a COCO instance set.

python tools/dataset_converters/coco2rrsis.py INSTANCES.json IMAGES OUT [--no-target-share 0.1] ...
"""

import argparse
import os

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from rs2sam2.datasets.base import SPLITS
from rs2sam2.datasets.coco_to_rrsisd import MIN_AREA, ConversionReport, convert_coco
from rs2sam2.engine.arguments import make_parser
from rs2sam2.engine.launch import one_line_errors
from rs2sam2.errors import ConfigError
from rs2sam2.json_text import read_json
from rs2sam2.terminal import plain, plain_console


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    parser.add_argument('annotations', help='COCO instance file, with polygons or RLEs')
    parser.add_argument('images', help='folder of its images')
    parser.add_argument('out', help='folder to be made')
    parser.add_argument('--names', help='JSON file: how classes are said, by their names ({"A220": "airliner"})')
    parser.add_argument('--per-object', type=int, default=3, help='most sentences an object (default: %(default)s)')
    parser.add_argument(
        '--splits', type=float, nargs=3, default=(0.7, 0.1, 0.2), metavar=SPLITS, help='shares (default: 0.7 0.1 0.2)'
    )
    parser.add_argument(
        '--no-target-share',
        type=float,
        default=0.0,
        help='of refs that mean nothing in their image; only right where classes are annotated everywhere '
        '(default: %(default)s)',
    )
    parser.add_argument(
        '--never-absent', nargs='+', default=(), metavar='CLASS', help='classes that are not annotated everywhere'
    )
    parser.add_argument(
        '--several',
        type=int,
        default=0,
        help='most sentences an image that mean every object of a kind, marked so; only right where classes are '
        'annotated everywhere (default: %(default)s)',
    )
    parser.add_argument(
        '--min-area', type=int, default=MIN_AREA, help='smaller objects get no sentence; pixels (default: %(default)s)'
    )
    parser.add_argument('--seed', type=int, default=0, help='of everything random (default: %(default)s)')
    parser.add_argument('--workers', type=int, default=os.cpu_count(), help='processes (default: %(default)s)')
    return parser.parse_args()


def read_names(path: str | None) -> dict[str, str]:
    """The names of `--names`."""
    if path is None:
        return {}
    names = read_json(path, 'give a JSON object to --names')
    if not isinstance(names, dict) or not all(isinstance(name, str) and name.strip() for name in names.values()):
        raise ConfigError(f'--names {path} is not a JSON object of texts; write {{"A220": "airliner"}}')
    return names


def show(report: ConversionReport, out: str) -> None:
    """Print what was made and what was left out."""
    console = plain_console()
    table = Table(title=plain(out), title_justify='left')
    table.add_column('')
    for column in (*SPLITS, 'all'):
        table.add_column(column, justify='right')
    for name in ('images', 'refs', 'sentences', 'no_target', 'several'):
        counts = getattr(report, name)
        table.add_row(name.replace('_', '-'), *(f'{counts[split]:,}' for split in SPLITS), f'{counts.total():,}')
    console.print(table)
    for reason, count in report.left_out.most_common():
        console.print(f'left out: {count:,} objects: {reason}')
    if report.images_left_out:
        console.print(f'left out: {report.images_left_out:,} images: no object in them is described')
    for note in report.notes:
        console.print(f'note: {note}', soft_wrap=True)


def main() -> None:
    """Convert and report."""
    args = parse_args()
    columns = (TextColumn('describing images'), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    names = read_names(args.names)
    with Progress(*columns) as bar:
        task = bar.add_task('', total=None)
        report = convert_coco(
            args.annotations,
            args.images,
            args.out,
            names,
            args.per_object,
            dict(zip(SPLITS, args.splits, strict=True)),
            args.no_target_share,
            args.never_absent,
            args.several,
            args.min_area,
            args.seed,
            args.workers,
            lambda done, total: bar.update(task, completed=done, total=total),
        )
    show(report, args.out)


if __name__ == '__main__':
    with one_line_errors():
        main()
