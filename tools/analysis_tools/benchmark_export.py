"""Export a model and measure it: size, memory, nearness to PyTorch, and the time of both, taken in turns.

python tools/analysis_tools/benchmark_export.py [CONFIG] [--weights FILE] [--tokenizer FILE] [--dtype fp32 fp16 int8]

Without weights the model is built with random ones, its mask head widened so that masks are neither empty nor full.
"""

import argparse
import resource
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from rich.table import Table

import rs2sam2  # noqa: F401
from rs2sam2.engine.arguments import make_parser
from rs2sam2.engine.launch import one_line_errors
from rs2sam2.export.run import export_model
from rs2sam2.inference import RefSegInferencer
from rs2sam2.synthetic.scene import draw_scene
from rs2sam2.terminal import plain_console

EXPRESSION = 'the small gray airplane at the top of the picture'


def main() -> None:
    """Entry point."""
    parser = make_parser(__doc__)
    parser.add_argument(
        'config', nargs='?', default='demo', help='config, or any model of the inferencer (default: demo)'
    )
    parser.add_argument('--weights', help='checkpoint')
    parser.add_argument('--tokenizer', help="in place of the config's")
    parser.add_argument('--dtype', nargs='+', default=['fp32'], choices=('fp32', 'fp16', 'int8'))
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--folder', help='where models are written (default: a temporary folder)')
    args = parser.parse_args()
    with one_line_errors(), tempfile.TemporaryDirectory(dir=args.folder) as folder:
        measure(args, Path(folder))


def measure(args: argparse.Namespace, folder: Path) -> None:
    """Export in each dtype and print the table."""
    model, weights = args.config, args.weights
    if model.endswith('.py'):
        model, weights = prepare(model, weights, args.tokenizer, folder)
    table = Table(title=f'{args.config}; CPU, {torch.get_num_threads()} threads; median of {args.repeats}, in turns')
    for column in (
        'dtype',
        'file MB',
        'export s',
        'peak GB',
        'difference / spread',
        'changed px',
        'PyTorch s',
        'ONNX s',
    ):
        table.add_column(column, justify='right')
    for dtype in args.dtype:
        out = folder / f'{dtype}.onnx'
        start = time.perf_counter()
        check = export_model(model, out, weights=weights, dtype=dtype).check
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        size = sum(path.stat().st_size for path in folder.glob(f'{dtype}.onnx*')) / 1e6
        eager, onnx = take_turns(model, weights, out, args.repeats)
        worst = max(check['largest_difference_over_spread'].values())
        table.add_row(
            dtype, f'{size:.1f}', f'{seconds:.0f}', f'{peak:.1f}', f'{worst:.1e}', f'{check["changed_pixels"]:.4%}',
            f'{eager:.3f}', f'{onnx:.3f}',
        )  # fmt: skip
        print(dtype, check, flush=True)
        for path in folder.glob(f'{dtype}.onnx*'):
            path.unlink()
    plain_console(width=140).print(table)


def take_turns(model: str, weights: str | None, out: Path, repeats: int) -> tuple[float, float]:
    """Median seconds of one expression in one image, both models in memory, taken in turns."""
    both = [RefSegInferencer(model, weights, 'cpu'), RefSegInferencer(out)]
    image = draw_scene(np.random.default_rng(0)).image
    times: list[list[float]] = [[], []]
    for turn in range(repeats + 1):
        for inferencer, taken in zip(both, times, strict=True):
            start = time.perf_counter()
            inferencer(image, EXPRESSION)
            if turn:  # the first warms up
                taken.append(time.perf_counter() - start)
    return statistics.median(times[0]), statistics.median(times[1])


def prepare(config: str, weights: str | None, tokenizer: str | None, folder: Path) -> tuple[str, str]:
    """A config with the tokenizer, and weights: random ones where none are given."""
    cfg = Config.fromfile(config)
    cfg.model.init_cfg = None
    if tokenizer:
        from sentencepiece import SentencePieceProcessor

        pieces = SentencePieceProcessor(model_file=tokenizer).get_piece_size()
        for step in cfg.test_dataloader.dataset.pipeline:
            if step.type == 'TokenizeExpression':
                step.tokenizer.update(path=str(Path(tokenizer).resolve()), num_pieces=pieces)
    cfg.dump(folder / 'config.py')
    if weights is None:
        torch.manual_seed(0)
        model = MODELS.build(cfg.model)
        with torch.no_grad():
            for mlp in model.decode_head.mask_decoder.output_hypernetworks_mlps:
                mlp.layers[-1].bias.mul_(8)
                mlp.layers[-1].weight.mul_(8)
        weights = str(folder / 'weights.pth')
        torch.save({'state_dict': model.state_dict()}, weights)
    return str(folder / 'config.py'), weights


if __name__ == '__main__':
    main()
