"""Print a config whole, with all that it inherits.

python tools/misc/print_config.py CONFIG [--save-path FILE] [--cfg-options key=value ...]

What is printed is a config itself.
"""

import argparse
from pathlib import Path

from rs2sam2.engine.arguments import config_parser
from rs2sam2.engine.cfg_options import merge_options
from rs2sam2.engine.config_file import read_config_file
from rs2sam2.engine.launch import one_line_errors
from rs2sam2.errors import ConfigError, OutputError

SUFFIXES = ('.py', '.json', '.yml', '.yaml')


def parse_args() -> argparse.Namespace:
    """Read the command line; the options are those of mmsegmentation's `tools/misc/print_config.py`."""
    parser = config_parser(__doc__)
    parser.add_argument('--save-path', type=Path, help='also write it to a file (.py, .json or .yml)')
    return parser.parse_args()


def main() -> None:
    """Read, print, write."""
    args = parse_args()
    if args.save_path is not None and args.save_path.suffix not in SUFFIXES:
        raise ConfigError(f'--save-path {args.save_path}: expected a name that ends in {", ".join(SUFFIXES)}')
    cfg = read_config_file(args.config)
    merge_options(cfg, args.cfg_options or {})
    print(cfg.pretty_text)
    if args.save_path is not None:
        try:
            args.save_path.parent.mkdir(parents=True, exist_ok=True)
            cfg.dump(args.save_path)
        except OSError as error:
            raise OutputError(f'{args.save_path} cannot be written: {error.strerror}') from error


if __name__ == '__main__':
    with one_line_errors():
        main()
