"""The whole system on one page, in minutes: draw scenes, segment, test, train, show.

python tools/demo.py [--train] [--work-dir DIR]

The model named `demo` travels with the package: it segments a drawn scene and is tested on scenes that it has not seen,
as they are and with expressions or images shuffled. Then the same network is trained from scratch for two minutes.
All of it runs as a user would run it: rs2sam2 segment, tools/test.py, tools/train.py. With `--train` the network is
trained as the embedded one was, first on sentences that mean one object, then also on those that mean several, then
also on windows of larger scenes, twice, and tested in its place. What is already there is used again.
"""

import functools
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from rs2sam2.engine.arguments import make_parser
from rs2sam2.engine.launch import one_line_errors
from rs2sam2.engine.tool_runs import run_command, run_tool
from rs2sam2.evaluation.results import SampleResult, bootstrap_interval, read_results, summarise
from rs2sam2.synthetic.dataset import build_demo_dataset, build_window_dataset
from rs2sam2.terminal import plain, plain_console
from rs2sam2.text.position import uses_position
from rs2sam2.visualization.figure import contact_sheet

TOOLS = Path(__file__).resolve().parent
CONFIGS = TOOLS.parent / 'configs'
CONFIG, SHORT = CONFIGS / 'rs2sam2_tiny_demo.py', CONFIGS / 'rs2sam2_tiny_demo_short.py'
SEVERAL = CONFIGS / 'rs2sam2_tiny_demo_several.py'
WINDOWS, MORE_WINDOWS = CONFIGS / 'rs2sam2_tiny_demo_windows.py', CONFIGS / 'rs2sam2_tiny_demo_more_windows.py'
EMBEDDED, DATA = 'demo', Path('data/demo')  # where the configs look for it
SCENES = dict(train=2000, val=40, test=150)
SIZE, MOSAICS = 160, 2400
DRAWN, PICTURES = 90, 6
CONTROLS = {'as they are': None, 'expressions shuffled': 'shuffled_expressions', 'images shuffled': 'shuffled_images'}
FIRST = 'images/rrsisd/JPEGImages/02120.jpg', 'the baseball field'
console = plain_console()


def draw(what: str, folder: Path, count: int, build: Callable[..., Path], *args: object, **options: object) -> None:
    """Draw one of the data sets, unless it is there."""
    if not folder.exists():
        columns = (TextColumn(f'drawing {what}'), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console) as bar:
            task = bar.add_task('', total=count)
            done = functools.partial(bar.update, task)
            build(folder, *args, **options, workers=os.cpu_count() or 1, progress=lambda n, _: done(completed=n))
    print(plain(f'{what}: {folder}'))


def draw_data(with_windows: bool) -> None:
    """Draw the embedded data set, and the windows that the training of the embedded model needs beside it."""
    draw('scenes', DATA, sum(SCENES.values()), build_demo_dataset, SCENES, SIZE)
    for seed, name in enumerate(('windows', 'more_windows') if with_windows else ()):
        windows = DATA.with_name(f'{DATA.name}_{name}')
        draw('mosaics', windows, MOSAICS, build_window_dataset, MOSAICS, SIZE, seed=seed)


def run(tool: str, *args: object) -> None:
    """Run a tool on two processes, as `tools/dist_*.sh CONFIG 2` does; one where there is one core."""
    run_tool(TOOLS / tool, *args, processes=min(2, os.cpu_count() or 1))


def test(checkpoint: object, work_dir: Path) -> dict[str, list[SampleResult]]:
    """Test a checkpoint on the data as they are, then with what a model must not do without shuffled."""
    results = {}
    for name, control in CONTROLS.items():
        out = work_dir / (control or 'test')
        if not (out / 'results.jsonl').exists():
            show = [] if control else ['--show-dir', out / 'pictures']
            options = [f'test_dataloader.dataset.control={control}'] if control else []
            options.append(f'default_hooks.visualization.max_images={DRAWN}')
            run('test.py', CONFIG, checkpoint, '--work-dir', out, '--out', out, *show, '--cfg-options', *options)
        results[name] = read_results(out / 'results.jsonl')
    return results


def summary(results: dict[str, list[SampleResult]]) -> Table:
    """Table of the three tests, and of the expressions without position words."""
    without = [row for row in results['as they are'] if not uses_position(row.expression)]
    table = Table('test on unseen scenes', 'sentences', 'mIoU', '95 %', 'oIoU', 'Pr@0.5')
    for name, rows in {**results, 'expressions without position words': without}.items():
        values = summarise(rows)
        low, high = bootstrap_interval(rows, 'mIoU')
        table.add_row(
            name, str(len(rows)), f'{values["mIoU"]:.1f}', f'{low:.1f} - {high:.1f}', f'{values["oIoU"]:.1f}',
            f'{values["Pr@0.5"]:.1f}',
        )  # fmt: skip
    return table


def draw_sheet(pictures: Path, sheet: Path) -> None:
    """A few of the test's pictures on one."""
    found = sorted(pictures.glob('*.jpg'))
    contact_sheet([Image.open(path) for path in found[:: max(1, len(found) // PICTURES)][:PICTURES]], columns=2).save(
        sheet
    )


def main() -> None:
    """Draw, segment, test, train, show."""
    parser = make_parser(__doc__)
    parser.add_argument(
        '--train', action='store_true', help='the whole training of the embedded model (about 100 minutes)'
    )
    parser.add_argument('--work-dir', type=Path, help='folder of all else (work_dirs/demo; work_dirs/demo_train)')
    args = parser.parse_args()
    work_dir = args.work_dir or Path('work_dirs/demo_train' if args.train else 'work_dirs/demo')
    begin = time.time()

    console.rule('1  data: aerial-looking scenes with referring expressions, in the layout of RRSIS-D')
    draw_data(args.train)
    if args.train:
        console.rule('2  training: tools/train.py on two processes')
        folders = [work_dir / name for name in ('first', 'second', 'third')] + [work_dir]
        options: list[str] = []
        for config, folder in zip((CONFIG, SEVERAL, WINDOWS, MORE_WINDOWS), folders, strict=True):
            run('train.py', config, '--work-dir', folder, '--resume', *options)
            (model,) = folder.glob('best_*.pth')
            options = ['--cfg-options', f'load_from={model}']
    else:
        console.rule('2  segment: rs2sam2 segment with the model that travels with the package')
        picture, expression = DATA / FIRST[0], FIRST[1]
        command = ['segment', picture, '-e', expression, '--model', EMBEDDED, '--out', work_dir / 'segmented']
        run_command(sys.executable, '-m', 'rs2sam2.cli.main', *command)
        model = EMBEDDED

    console.rule('3  test, as they are and with expressions or images shuffled: tools/test.py')
    table = summary(test(model, work_dir))
    if not args.train:
        console.rule('4  training from scratch, two minutes: tools/train.py on two processes')
        run('train.py', SHORT, '--work-dir', work_dir / 'trained', '--resume')

    console.rule('summary')
    console.print(table)
    draw_sheet(work_dir / 'test/pictures', work_dir / 'pictures.png')
    print(plain(f'pictures: {work_dir}/pictures.png  (each: {work_dir}/test/pictures)'))
    if args.train:
        print(plain(f'curves:   {work_dir}/curves.png'))
    else:
        print(plain(f'a mask:   {work_dir}/segmented'))
        print(plain(f'training: {work_dir}/trained/curves.png'))
    print(f'all in {(time.time() - begin) / 60:.1f} min')


if __name__ == '__main__':
    with one_line_errors():
        main()
