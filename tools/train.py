"""Train a referring segmentor.

python tools/train.py CONFIG [--work-dir DIR] [--resume] [--amp] [--auto-scale-lr] [--tensorboard]
    [--cfg-options key=value ...]
"""

import argparse
import os

from mmengine.config import DictAction

from rs2sam2.engine.launch import build_runner, fit_to_device, load_config, one_line_errors
from rs2sam2.errors import ConfigError


def parse_args() -> argparse.Namespace:
    """Read the command line; the options are those of mmsegmentation's `tools/train.py`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file')
    parser.add_argument('--work-dir', help='folder for logs and checkpoints (default: work_dirs/<name of the config>)')
    parser.add_argument('--resume', action='store_true', help='go on from the latest checkpoint in the work dir')
    parser.add_argument('--amp', action='store_true', help='automatic mixed precision (bfloat16; needs a GPU)')
    parser.add_argument('--auto-scale-lr', action='store_true', help='learning rates in proportion to the batch size')
    parser.add_argument('--tensorboard', action='store_true', help='write TensorBoard files to the work dir too')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='override the config: key=value ...')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    # torch.distributed.launch passes --local-rank, torchrun the environment variable.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


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
        cfg.visualizer.vis_backends.append(dict(type='TensorboardVisBackend'))
    cfg.resume = args.resume
    fit_to_device(cfg)
    build_runner(cfg).train()


if __name__ == '__main__':
    with one_line_errors():
        main()
