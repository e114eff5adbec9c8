"""Convert published weights to ours, or ours to the published names.

python tools/model_converters/convert.py SRC DST --source {rs2sam2,sam2,rmsin,...} [--to-official] [--dtype D]
"""

import argparse
import sys
from collections import Counter
from math import prod
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from rich.table import Table

from rs2sam2.engine.arguments import make_parser
from rs2sam2.engine.launch import load_config, one_line_errors
from rs2sam2.terminal import plain, plain_console
from rs2sam2.weights.adapters import ADAPTERS, Adapter, Conversion, to_official, to_ours
from rs2sam2.weights.files import StateDictFile, TensorSpec, open_state_dict, save_state_dict
from rs2sam2.weights.targets import config_specs, fit_architecture
from rs2sam2.weights.zoo import locate

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
DEFAULT_CONFIGS = {
    'rs2sam2': 'rs2sam2_rrsisd.py',
    'beit3': 'rs2sam2_rrsisd.py',
    'sam2': 'rs2sam2_rrsisd.py',
    'evf-sam2': 'evf_sam2_l.py',
    'clip': 'rs2sam2_clip_rrsisd.py',
    'siglip': 'rs2sam2_siglip_rrsisd.py',
    'swin': 'rmsin_rrsisd.py',
    'bert': 'rmsin_rrsisd.py',
    'lavt-one': 'lavt_rrsisd.py',
    'lavt': 'lavt_rrsisd.py',
    'rmsin': 'rmsin_rrsisd.py',
}
DTYPES = {'float32': torch.float32, 'bfloat16': torch.bfloat16, 'float16': torch.float16}
NAMES_SHOWN = 4


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    parser.add_argument(
        'src', help='a .safetensors, .pth, .pt or .bin file, a folder with one or shards, or a published name'
    )
    parser.add_argument('dst', type=Path, help='file to write, .pth or .safetensors')
    parser.add_argument('--source', required=True, choices=list(ADAPTERS), help='whose names the published side has')
    parser.add_argument('--to-official', action='store_true', help='from our names to the published ones')
    parser.add_argument('--dtype', choices=list(DTYPES), help='dtype of the result (default: as in SRC)')
    parser.add_argument(
        '--config',
        type=Path,
        help='config whose model the weights are for (default: the published model, of the size that SRC has)',
    )
    return parser.parse_args()


def target_specs(adapter: Adapter, source: StateDictFile, config: Path | None, official: bool) -> dict[str, TensorSpec]:
    """Shape and dtype of every name of ours that the source fills."""
    cfg: Config = load_config(str(config or CONFIGS / DEFAULT_CONFIGS[adapter.source]), None, 'none', None)
    init_default_scope('mmseg')
    if config is None:
        fit_architecture(cfg.model, adapter, source, official)
    return config_specs(adapter, cfg.model)


def report(conversion: Conversion, args: argparse.Namespace) -> Table:
    """What became of every entry: mapped, dropped and new, with numbers of parameters."""
    specs = conversion.source.specs
    dtypes = Counter(str(specs[name].dtype).removeprefix('torch.') for name in conversion.mapped.values())
    table = Table(title=plain(f'{args.src} -> {args.dst} ({conversion.adapter.title})'), title_justify='left')
    for column, justify in (('', 'left'), ('entries', 'right'), ('parameters', 'right'), ('what', 'left')):
        table.add_column(column, justify=justify, overflow='fold')

    def row(kind: str, names: list[str], what: str, known: bool = True) -> None:
        parameters = f'{sum(prod(specs[name].shape) for name in names):,}' if known else ''
        table.add_row(kind, f'{len(names):,}', parameters, plain(what))

    as_read = ', '.join(f'{n:,} {dtype}' for dtype, n in dtypes.items())
    row('mapped', list(conversion.mapped.values()), as_read + (f' -> {args.dtype}' if args.dtype else ''))
    for name, shape in conversion.resized.items():
        row('  resized', [conversion.mapped[name]], f'{name}: bicubic, now {"x".join(map(str, shape))}')
    for kind, reasons in (('dropped', conversion.dropped), ('new', conversion.new)):
        for reason in dict.fromkeys(reasons.values()):
            names = [name for name, why in reasons.items() if why == reason]
            shown = ', '.join(names[:NAMES_SHOWN]) + (', ...' if len(names) > NAMES_SHOWN else '')
            row(kind, names, f'{reason}: {shown}', known=kind == 'dropped')
        if not reasons:
            row(kind, [], 'none')
    return table


def main() -> None:
    """Plan, check, convert, write, report."""
    args = parse_args()
    adapter = ADAPTERS[args.source]
    source = open_state_dict(locate(args.src).weights)
    target = target_specs(adapter, source, args.config, official=not args.to_official)
    dtype = DTYPES[args.dtype] if args.dtype else None
    if args.to_official:
        conversion = to_official(adapter, source, target, dtype)
        save_state_dict(args.dst, dict(conversion.tensors()), {}, wrapper=adapter.wrapper)
    else:
        conversion = to_ours(adapter, source, target, dtype=dtype)
        meta = dict(source=adapter.source, converted_from=Path(args.src).name)
        save_state_dict(args.dst, dict(conversion.tensors()), meta, wrapper='state_dict')
    plain_console(width=None if sys.stdout.isatty() else 160).print(report(conversion, args))


if __name__ == '__main__':
    with one_line_errors():
        main()
