"""Count the floating-point operations of one forward pass, by component; nothing is computed.

python tools/analysis_tools/get_flops.py CONFIG [--text-length 12] [--batch-size 1] [--fold]
"""

import argparse

import torch
from mmengine.config import Config
from rich.table import Table

from rs2sam2.engine.arguments import add_cfg_options, make_parser
from rs2sam2.engine.launch import one_line_errors
from rs2sam2.engine.measure import TINY_CONFIG, count_flops, random_batch, random_model, read_config, sam2_trunk
from rs2sam2.errors import ConfigError
from rs2sam2.terminal import plain, plain_console


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    parser.add_argument('config', nargs='?', default='configs/rs2sam2_rrsisd.py', help='config (default: the full one)')
    parser.add_argument('--tiny', action='store_true', help=f'take {TINY_CONFIG} instead')
    parser.add_argument('--batch-size', type=int, default=1)
    parser.add_argument('--text-length', type=int, default=12, help='tokens, <s> and </s> counted')
    parser.add_argument('--fold', action='store_true', help='count the model folded for inference')
    add_cfg_options(parser)
    return parser.parse_args()


def count_yardstick(cfg: Config, image: torch.Tensor) -> tuple[int | None, str]:
    """FLOPs of the sam2 package's trunk on the same image, or None and why there is no such trunk."""
    try:
        trunk = sam2_trunk(cfg, 'meta')
    except ConfigError as error:
        return None, str(error)
    return count_flops(lambda: trunk(image), trunk)[''], ''


@torch.no_grad()
def main() -> None:
    """Count on the meta device and print one table."""
    args = parse_args()
    cfg = read_config(args.config, args.tiny, args.cfg_options)
    model = random_model(cfg, 'meta').eval()
    batch = random_batch(model, args.batch_size, args.text_length, 'meta')
    if args.fold:
        model.fold()
    counts = count_flops(lambda: model(batch, mode='tensor'), model)
    yardstick, why_none = count_yardstick(cfg, batch.image)
    stages, name_of = model.stages(), {module: name for name, module in model.named_modules()}
    spent = {stage.name: sum(counts.get(name_of[module], 0) for module in stage.modules) for stage in stages}
    for stage in stages:
        if stage.inside:
            spent[stage.inside] -= spent[stage.name]
    title = f'{plain(cfg.filename)}, batch {args.batch_size}, {args.text_length} tokens'
    table = Table(title=title, title_justify='left')
    for column in ('component', 'GFLOP', 'share', *(('x plain trunk',) if yardstick else ())):
        table.add_column(column, justify='left' if column == 'component' else 'right')

    def row(name: str, count: int) -> None:
        ratio = (f'{count / yardstick:.3f}',) if yardstick else ()
        table.add_row(name, f'{count / 1e9:,.1f}', f'{count / counts[""]:.1%}', *ratio)

    for name, count in spent.items():
        row(name, count)
    table.add_section()
    row('whole model', counts[''])
    if yardstick:
        row("the sam2 package's plain trunk", yardstick)
    parameters = sum(p.numel() for p in model.parameters())
    facts = f'{parameters:,} parameters; torch {torch.__version__}, counted on the meta device'
    notes = [f'no plain trunk beside it: {why_none}'] if why_none else []
    plain_console(width=100).print(table, facts, *notes, sep='\n', soft_wrap=True)


if __name__ == '__main__':
    with one_line_errors():
        main()
