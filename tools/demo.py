"""The whole system on one page: draw a data set, train, test, show.

python tools/demo.py [--config CONFIG] [--data DIR] [--work-dir DIR]

Runs tools/train.py and tools/test.py as a user would, with the same config, and sums up their results. What is already
there (the data set, the trained checkpoint) is used again.
"""

import argparse
import os
import time
from pathlib import Path

from PIL import Image
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from rs2sam2.engine.launch import load_config, one_line_errors
from rs2sam2.engine.tool_runs import run_tool
from rs2sam2.evaluation.results import SampleResult, bootstrap_interval, read_results, summarise
from rs2sam2.synthetic.dataset import build_demo_dataset
from rs2sam2.terminal import plain, plain_console
from rs2sam2.text.position import uses_position
from rs2sam2.visualization.figure import contact_sheet

TOOLS = Path(__file__).resolve().parent
SCENES = dict(train=2000, val=40, test=150)
SIZE = 160
DRAWN, PICTURES = 90, 6
console = plain_console()


def step(title: str) -> float:
    """Print a heading; return the time."""
    console.rule(plain(title))
    return time.time()


def draw_data(folder: Path) -> None:
    """Draw the embedded data set."""
    columns = (TextColumn('drawing scenes'), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task('', total=sum(SCENES.values()))
        build_demo_dataset(
            folder, SCENES, SIZE, workers=os.cpu_count() or 1, progress=lambda done, _: bar.update(task, completed=done)
        )


def run(tool: str, *args: object) -> None:
    """Run a tool on two processes, as `tools/dist_*.sh CONFIG 2` does; one where there is one core."""
    run_tool(TOOLS / tool, *args, processes=min(2, os.cpu_count() or 1))


def summary(results: dict[str, list[SampleResult]]) -> Table:
    """Table of the three tests, and of the expressions without position words."""
    plain = results['as they are']
    without = [row for row in plain if not uses_position(row.expression)]
    table = Table('test on unseen scenes', 'sentences', 'mIoU', '95 %', 'oIoU', 'Pr@0.5')
    for name, rows in {**results, 'expressions without position words': without}.items():
        values = summarise(rows)
        low, high = bootstrap_interval(rows, 'mIoU')
        table.add_row(
            name, str(len(rows)), f'{values["mIoU"]:.1f}', f'{low:.1f} - {high:.1f}', f'{values["oIoU"]:.1f}',
            f'{values["Pr@0.5"]:.1f}',
        )  # fmt: skip
    return table


def main() -> None:
    """Draw, train, test, show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--config', default=TOOLS.parent / 'configs/rs2sam2_tiny_demo.py', help='config to train')
    parser.add_argument('--data', default='data/demo', type=Path, help='folder of the data set')
    parser.add_argument('--work-dir', default='work_dirs/demo', type=Path, help='folder of everything else')
    args = parser.parse_args()
    begin = time.time()
    cfg = load_config(str(args.config), None, 'none', None)

    step('1  data: aerial-looking scenes with referring expressions, in the layout of RRSIS-D')
    if not args.data.exists():
        draw_data(args.data)
    print(plain(f'data set: {args.data}'))

    step('2  training: tools/train.py on two processes')
    checkpoint = args.work_dir / f'epoch_{cfg.train_cfg.max_epochs}.pth'
    if not checkpoint.exists():
        run('train.py', args.config, '--work-dir', args.work_dir)
    print(plain(f'checkpoint: {checkpoint}'))

    results = {}
    controls = {
        'as they are': None,
        'expressions shuffled': 'shuffled_expressions',
        'images shuffled': 'shuffled_images',
    }
    for name, control in controls.items():
        step(f'3  test, {name}: tools/test.py')
        out = args.work_dir / (control or 'test')
        options = [f'test_dataloader.dataset.control={control}'] if control else []
        show = [] if control else ['--show-dir', out / 'pictures']
        limit = [f'default_hooks.visualization.max_images={DRAWN}']
        run(
            'test.py', args.config, checkpoint, '--work-dir', out, '--out', out, *show,
            '--cfg-options', *limit, *options,
        )  # fmt: skip
        results[name] = read_results(out / 'results.jsonl')

    step('4  summary')
    console.print(summary(results))
    pictures = sorted((args.work_dir / 'test/pictures').glob('*.jpg'))
    sheet = args.work_dir / 'pictures.png'
    chosen = pictures[:: max(1, len(pictures) // PICTURES)][:PICTURES]
    contact_sheet([Image.open(path) for path in chosen], columns=2).save(sheet)
    print(plain(f'pictures: {sheet}  (each: {args.work_dir}/test/pictures)'))
    print(plain(f'curves:   {args.work_dir}/curves.png'))
    print(f'all in {(time.time() - begin) / 60:.1f} min')


if __name__ == '__main__':
    with one_line_errors():
        main()
