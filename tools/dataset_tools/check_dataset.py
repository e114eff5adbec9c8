"""Open every image and mask of a config's data sets, read every sentence, and report what is wrong.

python tools/dataset_tools/check_dataset.py CONFIG [--out REPORT.json] [--cfg-options key=value ...]

Exit code: 0 fit, 1 problems found, 2 the config cannot be used.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, TRANSFORMS
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from rs2sam2.datasets.base import RefSegDataset
from rs2sam2.datasets.check import NOTES, PROBLEMS, CheckReport, check_datasets
from rs2sam2.engine.arguments import config_parser
from rs2sam2.engine.launch import load_config, one_line_errors
from rs2sam2.errors import ConfigError

SHOWN = 5
EXIT_PROBLEMS = 1
# What a data set is built with that does not change which files it reads.
_IRRELEVANT = ('pipeline', 'test_mode', 'indices', 'control', 'filter_cfg')


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = config_parser(__doc__)
    parser.add_argument('--out', type=Path, help='JSON report (default: check_dataset.json in the work folder)')
    parser.add_argument('--workers', type=int, default=os.cpu_count(), help='processes (default: %(default)s)')
    return parser.parse_args()


def build_datasets(cfg: Config) -> dict[str, RefSegDataset]:
    """The data sets of the config's loaders, each once, named after its loaders; nothing is read yet."""
    found: dict[str, tuple[list[str], dict]] = {}
    for name in ('train', 'val', 'test'):
        loader = cfg.get(f'{name}_dataloader')
        if loader is None:
            continue
        options = {key: value for key, value in loader.dataset.items() if key not in _IRRELEVANT}
        found.setdefault(repr(sorted(options.items(), key=str)), ([], options))[0].append(name)
    datasets = {}
    for names, options in found.values():
        kind = options.get('type')
        kind = DATASETS.get(kind) if isinstance(kind, str) else kind
        if not isinstance(kind, type) or not issubclass(kind, RefSegDataset):
            raise ConfigError(
                f'{names[0]}_dataloader.dataset is a {options.get("type")}, no referring data set of rs2sam2'
            )
        datasets[', '.join(names)] = DATASETS.build({**options, 'lazy_init': True, 'pipeline': []})
    if not datasets:
        raise ConfigError(f'{cfg.filename} has no train_dataloader, val_dataloader or test_dataloader')
    return datasets


def find_tokenizer(cfg: Config) -> Callable[[str], list[int]] | None:
    """The tokenizer of the first pipeline that has one."""
    for name in ('train', 'val', 'test'):
        for step in cfg.get(f'{name}_dataloader', {}).get('dataset', {}).get('pipeline', ()):
            if step['type'] == 'TokenizeExpression':
                return TRANSFORMS.build(step['tokenizer'])
    return None


def show(report: CheckReport, out: Path) -> None:
    """Print the summary."""
    console = Console(highlight=False)
    table = Table(title='data sets', title_justify='left')
    for column in ('split', 'samples', 'published', 'images', 'no target', 'turn by all 8'):
        table.add_column(column, justify='left' if column == 'split' else 'right')
    for split, row in report.splits.items():
        published = f'{row["published"]:,}' if row['published'] else ''
        turned = f'{min(row["turned"].values()):.1%}'
        table.add_row(split, f'{row["samples"]:,}', published, f'{row["images"]:,}', f'{row["no_target"]:,}', turned)
    console.print(table)
    for kinds, style in ((PROBLEMS, 'bold red'), (NOTES, 'bold')):
        for kind, meaning in kinds.items():
            found = report.findings.get(kind)
            if found:
                console.print(f'[{style}]{kind}[/]: {len(found):,} ({meaning})', soft_wrap=True)
                for text in found[:SHOWN]:
                    console.print(f'  {text}', soft_wrap=True, markup=False)
                if len(found) > SHOWN:
                    console.print(f'  ... {len(found) - SHOWN:,} more in {out}', soft_wrap=True, markup=False)
    console.print('fit' if report.fit else '[bold red]not fit[/]', f'(report: {out})', soft_wrap=True)


def main() -> int:
    """Check and report; returns the exit code."""
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options, 'none', None)
    init_default_scope('mmseg')
    datasets, tokenizer = build_datasets(cfg), find_tokenizer(cfg)
    columns = (TextColumn('opening images'), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as bar:
        task = bar.add_task('', total=None)
        report = check_datasets(
            datasets, tokenizer, args.workers, lambda done, total: bar.update(task, completed=done, total=total)
        )
    out = args.out or Path(cfg.work_dir) / 'check_dataset.json'
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(report.as_json(), indent=1, ensure_ascii=False), encoding='utf-8')
    show(report, out)
    return 0 if report.fit else EXIT_PROBLEMS


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
