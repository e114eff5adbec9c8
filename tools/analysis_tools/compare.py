"""Compare runs of tools/test.py or score.py, sample by sample; the first is what the others are compared with.

python tools/analysis_tools/compare.py A/results.jsonl B/results.jsonl [C/results.jsonl ...] [--out DIR]
    [--category NAME ...] [--id SAMPLE ...]

With --out it draws one row a sample: image, ground truth, one column a model in the colours of its errors.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from rs2sam2.datasets.images import read_image
from rs2sam2.datasets.masks import decode_segmentation
from rs2sam2.engine.arguments import make_parser
from rs2sam2.engine.launch import one_line_errors
from rs2sam2.errors import ConfigError, DataError
from rs2sam2.evaluation.ablation import ablation_table
from rs2sam2.evaluation.compare import (
    align_runs,
    comparison_by_group,
    comparison_table,
    largest_changes,
    largest_disagreements,
    means_by_group,
)
from rs2sam2.evaluation.results import SampleResult, read_results
from rs2sam2.locks import make_writable
from rs2sam2.terminal import plain, plain_console
from rs2sam2.visualization.figure import Panel, build_prediction, contact_sheet, draw_figure, fit
from rs2sam2.visualization.overlay import HIT, draw_regions
from rs2sam2.visualization.text import font, shorten

PANEL = 230
Runs = dict[str, list[SampleResult]]
Samples = Sequence[Sequence[SampleResult]]
console = plain_console()


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    parser.add_argument('results', nargs='+', help='two or more results.jsonl; the first is the baseline')
    parser.add_argument('--names', nargs='+', metavar='NAME', help='what to call them (default: their folders)')
    parser.add_argument('--out', type=Path, help='folder for pictures of the samples that are shown')
    parser.add_argument('--number', type=int, default=6, help='samples to show of a kind (default: %(default)s)')
    parser.add_argument('--category', nargs='+', metavar='NAME', help='compare these categories only')
    parser.add_argument('--id', nargs='+', metavar='SAMPLE', help='show these samples, not those that differ most')
    parser.add_argument('--samples', type=int, default=1000, help='resamples of the bootstrap (default: %(default)s)')
    return parser.parse_args()


def folder_names(files: Sequence[str]) -> list[str]:
    """Names of the runs from their folders, else from their files too, as short as tells them apart."""
    paths = [Path(path).resolve() for path in files]
    for parts in ([path.parent.parts for path in paths], [path.with_suffix('').parts for path in paths]):
        for count in range(1, max(map(len, parts)) + 1):
            names = ['/'.join(one[-count:]) for one in parts]
            if len(set(names)) == len(names):
                return names
    return [f'{number} {path.parent.name}' for number, path in enumerate(paths, 1)]


def read_runs(args: argparse.Namespace) -> Runs:
    """The results by name, in one order, of the categories that are asked for.

    Raises:
        ConfigError: too few files or names, or two of one name.
        DataError: a file cannot be read, they are not on the same samples, or no sample has such a category.
    """
    if len(args.results) < 2:
        raise ConfigError('name two or more files of results; one alone is a table of tools/test.py')
    names = args.names or folder_names(args.results)
    if len(names) != len(args.results) or len(set(names)) != len(names):
        raise ConfigError(f'--names gives {len(set(names))} different names for {len(args.results)} files')
    runs = align_runs({name: read_results(path) for name, path in zip(names, args.results, strict=True)})
    if not args.category:
        return runs
    there = {row.category for row in runs[names[0]]}
    if missing := sorted(set(args.category) - there):
        known = ', '.join(sorted(filter(None, there))) or 'none'
        raise DataError(f'no sample has the category {missing[0]!r}; there are {known}')
    return {name: [row for row in rows if row.category in args.category] for name, rows in runs.items()}


def chosen(runs: Runs, ids: Sequence[str] | None, number: int) -> dict[str, Samples]:
    """The samples to show, by the title of their picture.

    Raises:
        DataError: no sample has such an id.
    """
    if ids:
        by_id = {rows[0].sample_id: rows for rows in zip(*runs.values(), strict=True)}
        if missing := [one for one in ids if one not in by_id]:
            raise DataError(f'no sample is called {missing[0]!r}; the first is {next(iter(by_id))!r}')
        return {'samples': [by_id[one] for one in ids]}
    if len(runs) == 2:
        wins, losses = largest_changes(*runs.values(), number)
        return {'wins': wins, 'losses': losses}
    return {'disagreements': largest_disagreements(runs, number)}


def draw_row(rows: Sequence[SampleResult], names: Sequence[str], files: Sequence[str]) -> Image.Image:
    """One sample: image, ground truth, and a column a model.

    Raises:
        DataError: a file has no masks, or no image.
    """
    for row, file in zip(rows, files, strict=True):
        if row.mask is None or row.target is None:
            raise DataError(f'{file} was written without masks; run tools/test.py --out again, or leave out --out here')
    if rows[0].img_path is None:
        raise DataError(f'{files[0]} names no images; leave out --out')
    photo = fit(Image.fromarray(read_image(rows[0].img_path, 'RGB', 'leave out --out')), PANEL)
    truth = decode_segmentation(rows[0].target, None, f'{files[0]}, the ground truth of {rows[0].sample_id}') > 0
    panels = [Panel(photo, 'image'), Panel(draw_regions(photo, [(truth, HIT)]), 'ground truth')]
    for name, row, file in zip(names, rows, files, strict=True):
        mask = decode_segmentation(row.mask, None, f'{file}, the mask of {row.sample_id}') > 0
        # However long the name, its IoU stands beside it.
        name = shorten(name, photo.width - 70, font(14, bold=True))
        panels.append(build_prediction(photo, mask, truth, name, f'IoU {row.iou:.2f}'))
    facts = '  ·  '.join(filter(None, (f'sample {rows[0].sample_id}', rows[0].category)))
    return draw_figure(panels, rows[0].expression, facts)


def main() -> None:
    """Print the tables, list and draw the samples."""
    args = parse_args()
    if args.number < 1 or args.samples < 1:
        raise ConfigError('--number and --samples count from 1')
    if args.out:
        make_writable(args.out)
    runs = read_runs(args)
    names = tuple(runs)
    if len(runs) == 2:
        tables = [comparison_table(*runs.values(), names, args.samples)]
        tables += [comparison_by_group(*runs.values(), names, by, args.samples) for by in ('category', 'size')]
    else:
        tables = [ablation_table(runs, args.samples), *(means_by_group(runs, by) for by in ('category', 'size'))]
    console.print('\n\n'.join(tables), soft_wrap=True)
    titles = {'wins': f'largest wins of {names[-1]}', 'losses': f'largest losses of {names[-1]}'}
    for kind, samples in chosen(runs, args.id, args.number).items():
        console.print(f'\n{plain(titles.get(kind, kind))}' + ('' if samples else ': none'))
        for rows in samples:
            ious = (
                ' -> '.join(f'{row.iou:.2f}' for row in rows)
                if len(rows) == 2
                else '  '.join(f'{name} {row.iou:.2f}' for name, row in zip(names, rows, strict=True))
            )
            console.print(plain(f'  {ious}  {rows[0].sample_id}  {rows[0].expression}'), soft_wrap=True)
        if args.out and samples:
            sheet = contact_sheet([draw_row(rows, names, args.results) for rows in samples], 1)
            sheet.save(args.out / f'{kind}.png')
            print(plain(f'  {args.out / f"{kind}.png"}'))


if __name__ == '__main__':
    with one_line_errors():
        main()
