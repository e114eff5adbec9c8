"""Open every image and mask of a config's data sets, read every sentence as training does, and report what is wrong.

python tools/dataset_tools/check_dataset.py CONFIG [--out REPORT.json] [--cfg-options key=value ...]

Exit code: 0 fit, 1 problems found, 2 the config cannot be used.
"""

import argparse
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, MODELS, TRANSFORMS
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from rs2sam2.datasets.base import RefSegDataset
from rs2sam2.datasets.check import NOTES, PROBLEMS, CheckReport, check_datasets
from rs2sam2.engine.arguments import config_parser
from rs2sam2.engine.launch import load_config, one_line_errors
from rs2sam2.errors import ConfigError, OutputError, RefSegError
from rs2sam2.files import place_of
from rs2sam2.json_text import json_line
from rs2sam2.terminal import plain, plain_console, shortened

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


def sentence_steps(cfg: Config, datasets: dict[str, RefSegDataset]) -> dict[str, list[Callable[[dict], object]]]:
    """What a training or test does with a sentence: the pipelines' tokenizers, then the model's preprocessor."""
    preprocessor = cfg.get('model', {}).get('data_preprocessor')
    pad = getattr(MODELS.build(preprocessor), 'pad', None) if preprocessor else None
    found: dict[str, list[Callable[[dict], object]]] = {}
    for names in datasets:
        pipelines = [cfg[f'{name}_dataloader'].dataset.get('pipeline', ()) for name in names.split(', ')]
        steps = {
            repr(step): step for pipeline in pipelines for step in pipeline if step['type'] == 'TokenizeExpression'
        }
        found[names] = [partial(read_sentence, TRANSFORMS.build(step), pad) for step in steps.values()]
    return found


def read_sentence(tokenize: Callable[[dict], dict], pad: Callable | None, sample: dict) -> None:
    """Take one sentence as far as the model; TokenizerError where it does not get there."""
    fields = dict(sample_id=sample['sample_id'], expression=sample['expression'])
    ids = torch.from_numpy(tokenize(fields)['token_ids'])
    if pad is not None:
        pad([ids], [SimpleNamespace(**fields)])


def start(cfg: Config, report: CheckReport) -> None:
    """Build every loader's data set as the Runner does, and take its first sample through the pipeline."""
    for name in ('train', 'val', 'test'):
        loader = cfg.get(f'{name}_dataloader')
        if loader is not None:
            try:
                DATASETS.build(loader.dataset)[0]
            except RefSegError as error:
                report.findings['does not start'].append(f'{name}: {error}')


def show(report: CheckReport, out: Path) -> None:
    """Print the summary."""
    console = plain_console()
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
                console.print(Text(kind, style), f': {len(found):,} ({meaning})', sep='', soft_wrap=True)
                for text in found[:SHOWN]:
                    console.print(f'  {shortened(plain(text), 500)}', soft_wrap=True)
                if len(found) > SHOWN:
                    console.print(f'  ... {len(found) - SHOWN:,} more in {plain(out)}', soft_wrap=True)
    verdict = Text('fit') if report.fit else Text('not fit', 'bold red')
    console.print(verdict, f'(report: {plain(out)})', soft_wrap=True)


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
            datasets,
            tokenizer,
            args.workers,
            lambda done, total: bar.update(task, completed=done, total=total),
            sentence_steps(cfg, datasets),
        )
    if report.fit:  # else its first problem would be told again
        start(cfg, report)
    out = place_of(args.out or Path(cfg.work_dir) / 'check_dataset.json')
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(json_line(report.as_json(), indent=1))
    except OSError as error:
        show(report, out)
        raise OutputError(f'{out} cannot be written ({error.strerror}); name another place by --out') from error
    show(report, out)
    return 0 if report.fit else EXIT_PROBLEMS


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
