"""Arguments that the tools share: a config and what changes it, and how a run is launched."""

import argparse
import os
from collections.abc import Sequence

from rs2sam2.engine.cfg_options import FLAG, CfgOptions


class OnceParser(argparse.ArgumentParser):
    """A parser that refuses an option with a value a second time, where only the last would count, and empty values.

    An empty value is what a shell makes of a variable that is not set; as a path it would mean this folder.
    """

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> object:
        # Called once for each time that an option is met.
        if type(action) is self._registry_get('action', 'store') and action.option_strings:
            if action.dest in self._met:
                raise argparse.ArgumentError(action, 'it is given more than once; give it once')
            self._met.add(action.dest)
        if '' in arg_strings:
            raise argparse.ArgumentError(action, 'it is empty; name something, or leave it out')
        return super()._get_values(action, arg_strings)

    def parse_known_args(  # type: ignore[override]  # argparse overloads it by its namespace
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple:
        """Parse; see `argparse.ArgumentParser`."""
        self._met: set[str] = set()
        return super().parse_known_args(args, namespace)


def make_parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser whose help is the tool's docstring, as it is written."""
    return OnceParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)


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
