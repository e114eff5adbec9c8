"""Make training data from rasters and polygons with a text column (GeoPackage, GeoJSON ...). Needs the extra [geo].

python tools/dataset_converters/gis2jsonl.py RASTER [RASTER ...] --vector FILE --text COLUMN --out DIR
"""

import argparse
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from rs2sam2.datasets.base import SPLITS
from rs2sam2.engine.arguments import make_parser
from rs2sam2.engine.launch import one_line_errors
from rs2sam2.terminal import plain, plain_console


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    parser.add_argument('rasters', nargs='+', help='files that GDAL reads')
    parser.add_argument('--vector', required=True, help='polygons, in the CRS of the rasters')
    parser.add_argument('--text', required=True, metavar='COLUMN', help='column with the sentences')
    parser.add_argument('--out', required=True, help='folder to be made')
    parser.add_argument('--encoding', help='of the words of a shapefile without a .cpg file: UTF-8, GBK ...')
    parser.add_argument('--layer', help='of the vector file, where it has several')
    parser.add_argument('--category', metavar='COLUMN', help='column with the classes')
    parser.add_argument('--tile', type=int, default=1024, help='longest side of a tile, pixels (default: %(default)s)')
    parser.add_argument(
        '--min-share', type=float, default=0.5, help='of a polygon that a tile must show (default: %(default)s)'
    )
    parser.add_argument(
        '--splits', type=float, nargs=3, default=(0.7, 0.1, 0.2), metavar=SPLITS, help='shares (default: 0.7 0.1 0.2)'
    )
    parser.add_argument('--reproject', action='store_true', help="bring the polygons to each raster's CRS")
    parser.add_argument('--bands', type=int, nargs='+', help='red, green and blue, or one for grey, from 1')
    parser.add_argument('--nodata', metavar='NUMBER', help="value of pixels without data, in place of the raster's own")
    parser.add_argument(
        '--stretch', type=float, nargs=2, default=(2.0, 98.0), help='percentiles that become 0 and 255 (default: 2 98)'
    )
    parser.add_argument('--gsd', type=float, help='resample to this ground size of a pixel, metres')
    parser.add_argument('--seed', type=int, default=0, help='of the draw of the splits (default: %(default)s)')
    return parser.parse_args()


def main() -> None:
    """Cut and report."""
    args = parse_args()
    # Here, so that a missing extra is one line too.
    from rs2sam2.geo.nodata import parse_nodata
    from rs2sam2.geo.training_tiles import IN_TILE, make_tiles

    columns = (TextColumn('cutting rasters'), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as bar:
        task = bar.add_task('', total=len(args.rasters))
        report = make_tiles(
            args.rasters,
            args.vector,
            args.text,
            args.out,
            layer=args.layer,
            encoding=args.encoding,
            category_column=args.category,
            tile=args.tile,
            min_share=args.min_share,
            shares=dict(zip(SPLITS, args.splits, strict=True)),
            reproject=args.reproject,
            seed=args.seed,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
            bands=args.bands,
            nodata=None if args.nodata is None else parse_nodata(args.nodata),
            stretch=tuple(args.stretch),
            gsd=args.gsd,
        )
    console = plain_console()
    table = Table(title=plain(Path(args.out)), title_justify='left')
    for column in ('', *SPLITS, 'all'):
        table.add_column(column, justify='right' if column else 'left')
    for name in ('tiles', 'sentences'):
        counts = getattr(report, name)
        table.add_row(name, *(f'{counts[split]:,}' for split in SPLITS), f'{counts.total():,}')
    console.print(table)
    for fate, count in sorted(report.features.items(), key=lambda item: item[0] != IN_TILE):
        console.print(f'{"" if fate == IN_TILE else "left out: "}{count:,} features {fate}', soft_wrap=True)
    if report.left_out:
        console.print(f'left out: {report.left_out:,} tiles that overlap tiles of two splits', soft_wrap=True)
    if report.mended:
        console.print(f'{report.mended:,} outlines that crossed themselves were mended')
    for note in dict.fromkeys(report.notes):
        console.print(f'note: {plain(note)}', soft_wrap=True)


if __name__ == '__main__':
    with one_line_errors():
        main()
