"""Compare two runs of tools/test.py, sample by sample.

python tools/analysis_tools/compare.py A/results.jsonl B/results.jsonl [--pictures PICTURES_OF_A PICTURES_OF_B]
"""

import argparse
from pathlib import Path

from PIL import Image

from rs2sam2.datasets.images import read_image
from rs2sam2.engine.arguments import make_parser
from rs2sam2.engine.launch import one_line_errors
from rs2sam2.errors import ConfigError, DataError
from rs2sam2.evaluation.compare import comparison_by_group, comparison_table, largest_changes, pair_results
from rs2sam2.evaluation.results import SampleResult, read_results
from rs2sam2.locks import make_writable
from rs2sam2.terminal import plain, plain_console
from rs2sam2.visualization.figure import Panel, contact_sheet, draw_figure, fit, labelled, without_title
from rs2sam2.visualization.hook import picture_name

console = plain_console()


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    parser.add_argument('first', help='results.jsonl of one run, the baseline')
    parser.add_argument('second', help='results.jsonl of the other')
    parser.add_argument('--names', nargs=2, metavar=('A', 'B'), help='what to call them (default: their folders)')
    parser.add_argument('--pictures', nargs=2, metavar=('DIR_A', 'DIR_B'), help='the --show-dir of both tests')
    parser.add_argument('--out', type=Path, help='folder for pictures of the largest wins and losses')
    parser.add_argument('--number', type=int, default=6, help='wins and losses to show (default: %(default)s)')
    parser.add_argument('--samples', type=int, default=1000, help='resamples of the bootstrap (default: %(default)s)')
    return parser.parse_args()


def folder_names(first: str, second: str) -> tuple[str, str]:
    """Names of the runs from their folders, as short as tells them apart."""
    parts = [Path(path).resolve().parent.parts for path in (first, second)]
    for count in range(1, max(len(one) for one in parts) + 1):
        names = ['/'.join(one[-count:]) for one in parts]
        if names[0] != names[1]:
            return names[0], names[1]
    return 'A', 'B'


def picture(pair: tuple[SampleResult, SampleResult], names: tuple[str, str], folders: list[str] | None) -> Image.Image:
    """Both runs' pictures of one sample, or its image where there are none."""
    rows = []
    for folder, name, row in zip(folders or (), names, pair, strict=False):
        files = [Path(folder) / picture_name(row.sample_id, suffix) for suffix in ('.jpg', '.png')]
        found = [file for file in files if file.is_file()]
        if not found:
            raise DataError(f'{files[0]} is missing; test with --show-dir {folder} and draw all samples')
        drawn = Image.fromarray(read_image(found[0], 'RGB', f'test with --show-dir {folder} again'))
        rows.append(labelled(without_title(drawn, row.expression), f'{name}: IoU {row.iou:.2f}'))
    facts = '  ·  '.join(filter(None, (f'sample {pair[0].sample_id}', pair[0].category)))
    if rows:
        return draw_figure([Panel(contact_sheet(rows, 1), '')], pair[0].expression, facts)
    image = fit(Image.fromarray(read_image(pair[0].img_path, 'RGB', 'leave out --out')), 420)
    title = '   '.join(f'{name} {row.iou:.2f}' for name, row in zip(names, pair, strict=True))
    return draw_figure([Panel(image, title)], pair[0].expression, facts)


def main() -> None:
    """Print the tables, draw the largest changes."""
    args = parse_args()
    if args.number < 1 or args.samples < 1:
        raise ConfigError('--number and --samples count from 1')
    if args.pictures and not args.out:
        raise ConfigError('--pictures needs --out, the folder to write to')
    if args.out:
        make_writable(args.out)
    names = tuple(args.names) if args.names else folder_names(args.first, args.second)
    first, second = pair_results(read_results(args.first), read_results(args.second), (args.first, args.second))
    tables = [comparison_table(first, second, names, args.samples)]
    tables += [comparison_by_group(first, second, names, by, args.samples) for by in ('category', 'size')]
    console.print('\n\n'.join(tables), soft_wrap=True)
    for title, pairs in zip(('wins', 'losses'), largest_changes(first, second, args.number), strict=True):
        console.print(f'\nlargest {title} of {names[1]}' + ('' if pairs else ': none'))
        for a, b in pairs:
            console.print(plain(f'  {a.iou:.2f} -> {b.iou:.2f}  {a.sample_id}  {a.expression}'), soft_wrap=True)
        if args.out and pairs:
            if any(a.img_path is None for a, _ in pairs):
                raise DataError(f'{args.first} names no images; leave out --out')
            sheet = contact_sheet([picture(pair, names, args.pictures) for pair in pairs], 1 if args.pictures else 2)
            sheet.save(args.out / f'{title}.png')
            print(plain(f'  {args.out / f"{title}.png"}'))


if __name__ == '__main__':
    with one_line_errors():
        main()
