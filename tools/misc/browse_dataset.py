"""Contact sheets of what the model is fed: both views after all transforms, the mask, the sentence, its tokens.

python tools/misc/browse_dataset.py CONFIG [--split train] [--out DIR] [--number 12] [--cfg-options key=value ...]
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS
from PIL import Image
from rich.progress import track

from rs2sam2.datasets.stable_hash import stable_hash
from rs2sam2.datasets.transforms import TokenizeExpression
from rs2sam2.engine.arguments import config_parser
from rs2sam2.engine.launch import load_config, one_line_errors, whole_number
from rs2sam2.errors import ConfigError
from rs2sam2.visualization.figure import Panel, contact_sheet, draw_figure, fit
from rs2sam2.visualization.overlay import HIT, draw_regions

PER_SHEET, COLUMNS, SIDE = 12, 2, 340


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = config_parser(__doc__)
    parser.add_argument(
        '--split', choices=['train', 'val', 'test'], default='train', help='which loader (default: train)'
    )
    parser.add_argument('--out', type=Path, help='folder (default: browse/ in the work folder)')
    parser.add_argument('--number', type=int, default=PER_SHEET, help='samples (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='which samples (default: %(default)s)')
    return parser.parse_args()


def picture(packed: dict, tokens: Callable[[list[int]], str]) -> Image.Image:
    """One sample as the model gets it."""
    inputs, sample = packed['inputs'], packed['data_samples']
    views = [
        Image.fromarray(view.permute(1, 2, 0).numpy())
        for view in (inputs.image, inputs.union_image)
        if view is not None
    ]
    shown = fit(views[0], SIDE)
    mask = sample.gt_sem_seg.data[0].numpy() > 0
    size = '{} × {}'.format(*views[0].size)
    note = 'no target' if sample.no_target else f'{mask.mean():.2%} of the image' if mask.any() else 'empty'
    panels = [
        Panel(shown, 'view', size),
        Panel(draw_regions(shown, [(mask, HIT)]), 'mask', note),
        *(Panel(fit(view, SIDE), 'union view', '{} × {}'.format(*view.size)) for view in views[1:]),
    ]
    ids = inputs.token_ids.tolist()
    turned = f'turned by {sample.turned_by}   ' if sample.get('turned_by', 'identity') != 'identity' else ''
    subtitle = f'sample {sample.sample_id}   {sample.category or ""}   {turned}{len(ids)} tokens: {tokens(ids)}'
    return draw_figure(panels, sample.expression, subtitle)


def main() -> None:
    """Draw the sheets."""
    args = parse_args()
    if args.number < 1:
        raise ConfigError(f'--number {args.number}: at least 1')
    cfg = load_config(args.config, args.cfg_options, 'none', None)
    loader = cfg.get(f'{args.split}_dataloader')
    if loader is None:
        raise ConfigError(f'{args.config} has no {args.split}_dataloader')
    init_default_scope('mmseg')
    whole_number('--seed', args.seed, 0, 2**32 - 1)
    np.random.seed(args.seed)  # noqa: NPY002 - the transforms draw from numpy's global state
    dataset = DATASETS.build(loader.dataset)
    steps = [step for step in dataset.pipeline.transforms if isinstance(step, TokenizeExpression)]
    pieces = getattr(steps[0].tokenizer, 'pieces', None) if steps else None
    tokens = (lambda ids: ' '.join(pieces(ids))) if pieces else str
    order = sorted(range(len(dataset)), key=lambda index: stable_hash('browse', args.seed, index))[: args.number]
    out = args.out or Path(cfg.work_dir) / 'browse'
    out.mkdir(parents=True, exist_ok=True)
    for start in range(0, len(order), PER_SHEET):
        chosen = order[start : start + PER_SHEET]
        figures = [picture(dataset[index], tokens) for index in track(chosen, 'drawing')]
        file = out / f'{args.split}_{start // PER_SHEET}.png'
        contact_sheet(figures, COLUMNS).save(file)
        print(file)


if __name__ == '__main__':
    with one_line_errors():
        main()
