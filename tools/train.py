"""Train a referring segmentor.

python tools/train.py CONFIG [--work-dir DIR] [--resume] [--amp] [--auto-scale-lr] [--tensorboard]
    [--cfg-options key=value ...]
"""

import argparse
import importlib.util

from rs2sam2.engine.arguments import launch_parser, parse_launch_args
from rs2sam2.engine.launch import build_runner, fit_to_device, load_config, one_line_errors
from rs2sam2.engine.preflight import require_inputs
from rs2sam2.errors import ConfigError


def parse_args() -> argparse.Namespace:
    """Read the command line; the options are those of mmsegmentation's `tools/train.py`."""
    parser = launch_parser(__doc__)
    parser.add_argument('--resume', action='store_true', help='go on from the latest checkpoint in the work dir')
    parser.add_argument('--amp', action='store_true', help='automatic mixed precision (bfloat16; needs a GPU)')
    parser.add_argument('--auto-scale-lr', action='store_true', help='learning rates in proportion to the batch size')
    parser.add_argument('--tensorboard', action='store_true', help='write TensorBoard files to the work dir too')
    return parse_launch_args(parser)


def main() -> None:
    """Build the runner from the config and train."""
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options, args.launcher, args.work_dir)
    if args.amp and cfg.optim_wrapper.type != 'AmpOptimWrapper':
        if cfg.optim_wrapper.type != 'OptimWrapper':
            raise ConfigError(f'--amp replaces OptimWrapper; the config has {cfg.optim_wrapper.type}')
        cfg.optim_wrapper.update(type='AmpOptimWrapper', dtype='bfloat16', loss_scale=dict(enabled=False))
    if args.auto_scale_lr:
        if 'base_batch_size' not in cfg.get('auto_scale_lr', {}):
            raise ConfigError('--auto-scale-lr needs auto_scale_lr=dict(base_batch_size=...) in the config')
        cfg.auto_scale_lr.enable = True
    if args.tensorboard:
        if importlib.util.find_spec('tensorboard') is None:
            raise ConfigError('--tensorboard needs the package: pip install tensorboard')
        cfg.visualizer.vis_backends.append(dict(type='TensorboardVisBackend'))
    cfg.resume = args.resume
    require_inputs(cfg, ('train', 'val'))
    fit_to_device(cfg)
    build_runner(cfg).train()


if __name__ == '__main__':
    with one_line_errors('; --resume goes on from the last checkpoint'):
        main()
