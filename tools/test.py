"""Test a referring segmentor.

python tools/test.py CONFIG CHECKPOINT [--out DIR] [--show-dir DIR] [--tta] [--cfg-options key=value ...]
"""

import argparse
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import is_main_process

from rs2sam2.allocator import keep_memory
from rs2sam2.datasets.transforms.turning import turned_pipeline
from rs2sam2.engine.arguments import launch_parser, parse_launch_args
from rs2sam2.engine.launch import build_runner, fit_to_device, load_config, one_line_errors
from rs2sam2.engine.preflight import require_inputs
from rs2sam2.errors import ConfigError
from rs2sam2.locks import hold_folder, make_writable
from rs2sam2.models.common.precision import PRECISIONS

RESULTS = 'results.jsonl'
TRAINING = (
    'train_cfg', 'train_dataloader', 'optim_wrapper', 'param_scheduler', 'val_cfg', 'val_dataloader', 'val_evaluator',
)  # fmt: skip


def parse_args() -> argparse.Namespace:
    """Read the command line; the options are those of mmsegmentation's `tools/test.py`."""
    parser = launch_parser(__doc__)
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--out', help='folder for the results of every sample (results.jsonl)')
    parser.add_argument('--show', action='store_true', help='show the pictures in a window')
    parser.add_argument('--show-dir', help='folder for pictures: image, ground truth, pseudo-mask, prediction')
    parser.add_argument(
        '--precision', choices=PRECISIONS, help="default: the config's, else bf16 on a GPU that has it, fp32 elsewhere"
    )
    parser.add_argument('--wait-time', type=float, default=2, help='how long --show shows a picture, in seconds')
    parser.add_argument(
        '--tta', nargs='*', metavar='SYMMETRY', help='average over turned copies: all eight, or those named (identity, '
        'rot90 ...); one forward a copy',
    )  # fmt: skip
    return parse_launch_args(parser)


def use_tta(cfg: Config, elements: list[str]) -> None:
    """Test turned copies as mmsegmentation's `--tta` does, by the config's own `tta_pipeline` where it has one."""
    dataset = cfg.test_dataloader.dataset
    if 'tta_pipeline' in cfg:
        dataset.pipeline = cfg.tta_pipeline
    else:
        dataset.pipeline = turned_pipeline(dataset.pipeline, elements, cfg.get('tta', {}).get('top', 'at the top'))
    cfg.model = {**cfg.get('tta_model', dict(type='TurnAveraging')), 'module': cfg.model}


def main() -> None:
    """Build the runner from the config, load the checkpoint, test."""
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options, args.launcher, args.work_dir)
    cfg.load_from = args.checkpoint
    # The checkpoint brings the weights; the files that training started from are not needed.
    cfg.model.init_cfg = None
    # Nothing is trained: no optimizer, no starting values, and a model that is folded for inference.
    for key in TRAINING:
        cfg[key] = None
    # A checkpoint's weights are the averaged ones already.
    cfg.custom_hooks = [hook for hook in cfg.get('custom_hooks') or () if hook.type != 'EMAHook']
    if args.precision:
        cfg.model.test_cfg = dict(precision=args.precision)
    for folder in filter(None, (args.out, args.show_dir)):
        # Found out now and not after all batches.
        make_writable(Path(folder))
    if args.out:
        if Path(args.out, RESULTS).is_dir():
            raise ConfigError(f'{args.out}/{RESULTS} is a folder: choose another --out')
        cfg.test_evaluator.results_file = os.path.join(args.out, RESULTS)
    if args.show or args.show_dir:
        cfg.default_hooks.visualization.update(draw=True, show=args.show, wait_time=args.wait_time)
        if args.show_dir:
            cfg.visualizer.save_dir = args.show_dir
    if args.tta is not None:
        use_tta(cfg, args.tta or ['all'])
    require_inputs(cfg, ('test',))
    fit_to_device(cfg)
    keep_memory(get_device())
    runner = build_runner(cfg)
    with hold_out(args.out) if args.out and is_main_process() else contextlib.nullcontext():
        runner.test()


@contextlib.contextmanager
def hold_out(folder: str) -> Iterator[None]:
    """Hold the folder of the results, and remove what a killed test began to write there."""
    with hold_folder(Path(folder), 'choose another --out'):
        for path in Path(folder).glob(f'.{RESULTS}.*'):
            path.unlink(missing_ok=True)
        yield


if __name__ == '__main__':
    with one_line_errors():
        main()
