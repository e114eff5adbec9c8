"""Measure how many training samples a second the data loading gives, stage by stage and through the loader.

python tools/analysis_tools/profile_dataloader.py [CONFIG] [--dataset] [--samples N] [--workers N] [--tiny]

Without --dataset, scenes in RRSIS-D's layout (800 x 800 JPEG, RLE masks) are drawn into a temporary folder and read by
the config's training pipeline; with it, the config's own training set is read. The stages run in this process, one
after the other: CPU milliseconds do not count the time that other load takes. The loader's rate is by the clock.
"""

import argparse
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.registry import DATASETS
from rich.table import Table
from sentencepiece import SentencePieceProcessor

from rs2sam2.engine.arguments import add_cfg_options, make_parser
from rs2sam2.engine.launch import load_config, one_line_errors
from rs2sam2.engine.measure import device_name
from rs2sam2.synthetic.dataset import build_demo_dataset
from rs2sam2.terminal import plain, plain_console

CORES = 8
DRAWN_SIZE = 800


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    parser.add_argument('config', nargs='?', default='configs/rs2sam2_rrsisd.py', help='config (default: RRSIS-D)')
    parser.add_argument('--dataset', action='store_true', help="read the config's own training set")
    parser.add_argument('--samples', type=int, default=200, help='how many samples are timed')
    parser.add_argument('--workers', type=int, default=os.cpu_count(), help='processes of the loader')
    parser.add_argument('--tiny', action='store_true', help='few small scenes: does the tool itself run?')
    add_cfg_options(parser)
    return parser.parse_args()


def draw_dataset(cfg: Config, folder: Path, args: argparse.Namespace) -> None:
    """Draw scenes and let the config's training set read them, with the scenes' own tokenizer."""
    count, size = (4, 128) if args.tiny else (max(8, args.samples // 4), DRAWN_SIZE)
    build_demo_dataset(folder, {'train': count, 'val': 1, 'test': 1}, size=size, workers=max(1, args.workers))
    model = next((folder / 'tokenizer').iterdir())
    pieces = SentencePieceProcessor(model_file=str(model)).get_piece_size()
    dataset = cfg.train_dataloader.dataset
    pipeline = [dict(step) for step in dataset.pipeline]
    for step in pipeline:
        if step['type'] == 'TokenizeExpression':
            step['tokenizer'] = dict(type='RefSegTokenizer', path=str(folder / 'tokenizer'), num_pieces=pieces)
    cfg.train_dataloader.dataset = dict(
        type='RRSISDDataset',
        data_root=str(folder),
        metainfo=dict(split_counts={}),
        split='train',
        no_target='keep',
        pipeline=pipeline,
    )


def time_stages(dataset: BaseDataset, indices: Sequence[int]) -> dict[str, tuple[float, float]]:
    """Wall-clock and CPU seconds a sample spends in every transform of the pipeline."""
    spent: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for index in indices:
        sample, wall, cpu = dataset.get_data_info(index), time.perf_counter(), time.process_time()
        for transform in dataset.pipeline.transforms:
            sample = transform(sample)
            now = time.perf_counter(), time.process_time()
            stage = spent[type(transform).__name__]
            stage[0] += now[0] - wall
            stage[1] += now[1] - cpu
            wall, cpu = now
    return {name: (wall / len(indices), cpu / len(indices)) for name, (wall, cpu) in spent.items()}


def time_loader(cfg: Config, dataset: BaseDataset, args: argparse.Namespace) -> float:
    """Samples a second through mmengine's loader, after every worker has given its first batch."""
    loader_cfg = dict(cfg.train_dataloader, dataset=dataset, num_workers=args.workers)
    if args.workers == 0:
        loader_cfg['persistent_workers'] = False
    loader = Runner.build_dataloader(loader_cfg, seed=0)
    batches = iter(loader)
    for _ in range(max(1, args.workers)):
        next(batches)
    start, count = time.perf_counter(), 0
    for batch in batches:
        count += len(batch['data_samples'])
        if count >= args.samples:
            break
    return count / (time.perf_counter() - start)


def main() -> None:
    """Measure and print one table."""
    args = parse_args()
    torch.set_num_threads(1)
    cfg = load_config(args.config, args.cfg_options, 'none', None)
    init_default_scope('mmseg')
    with tempfile.TemporaryDirectory() as folder:
        if not args.dataset:
            draw_dataset(cfg, Path(folder) / 'scenes', args)
        dataset = DATASETS.build(cfg.train_dataloader.dataset)
        indices = [i % len(dataset) for i in range(args.samples)]
        time_stages(dataset, indices[:2])
        stages = time_stages(dataset, indices)
        rate = time_loader(cfg, dataset, args)
    source = 'its own training set' if args.dataset else 'drawn scenes'
    table = Table(
        title=f'{plain(args.config)}, {source}, {len(indices)} samples; {device_name("cpu")}', title_justify='left'
    )
    for column in ('stage', 'ms', 'CPU ms', 'share'):
        table.add_column(column, justify='left' if column == 'stage' else 'right')
    wall, cpu = (sum(times) for times in zip(*stages.values(), strict=True))
    for name, (stage_wall, stage_cpu) in stages.items():
        table.add_row(name, f'{stage_wall * 1e3:.2f}', f'{stage_cpu * 1e3:.2f}', f'{stage_cpu / cpu:.1%}')
    table.add_section()
    table.add_row('one sample', f'{wall * 1e3:.2f}', f'{cpu * 1e3:.2f}', '100.0%')
    cores = min(max(1, args.workers), os.cpu_count())
    plain_console(width=120).print(
        table,
        f'by CPU time: {1 / cpu:.1f} samples/s a core, x {CORES} cores = {CORES / cpu:.0f} samples/s',
        f'by the clock: {rate:.1f} samples/s through the loader with {args.workers} workers, '
        f'/ {cores} cores x {CORES} = {rate / cores * CORES:.0f} samples/s',
        sep='\n',
    )


if __name__ == '__main__':
    with one_line_errors():
        main()
