"""Arguments that the tools share: a config and what changes it, and how a run is launched."""

import argparse
import os

from rs2sam2.engine.cfg_options import FLAG, CfgOptions


def make_parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser whose help is the tool's docstring, as it is written."""
    return argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)


def add_cfg_options(parser: argparse.ArgumentParser, what: str = 'the config') -> None:
    """Add `--cfg-options`."""
    parser.add_argument(FLAG, nargs='+', action=CfgOptions, help=f'override {what}: key=value ...')


def config_parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser of CONFIG and `--cfg-options`."""
    parser = make_parser(doc)
    parser.add_argument('config', help='config file')
    add_cfg_options(parser)
    return parser


def launch_parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser of what `tools/train.py` and `tools/test.py` share, with the names of mmsegmentation's."""
    parser = config_parser(doc)
    parser.add_argument('--work-dir', help='folder of what is written (default: work_dirs/<name of the config>)')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    # torch.distributed.launch passes --local-rank, torchrun the environment variable.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    return parser


def parse_launch_args(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Read the command line of a `launch_parser`; `--local-rank` goes to the environment, where mmengine looks."""
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args
