"""Train and test a list of configs and compare them in one table; the first is what the others are compared with.

python tools/analysis_tools/ablate.py FULL.py WITHOUT_A.py WITHOUT_B.py ... [--work-dir DIR] [--processes N]
    [--cfg-options key=value ...]

Every config is trained, and the checkpoint that did best on the validation split is tested. What is done already in the
work dir is not done again. DIR/table.md and DIR/table.png are written after every config.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rs2sam2.engine.arguments import make_parser
from rs2sam2.engine.launch import one_line_errors
from rs2sam2.engine.tool_runs import train_and_test
from rs2sam2.errors import ConfigError
from rs2sam2.evaluation.ablation import ablation_figure, ablation_table
from rs2sam2.evaluation.results import read_results
from rs2sam2.terminal import plain, plain_console

TOOLS = Path(__file__).resolve().parents[1]


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    parser.add_argument('configs', nargs='+', type=Path, help='config files; the first is the reference')
    parser.add_argument('--work-dir', default='work_dirs/ablate', type=Path, help='a folder for each config in it')
    parser.add_argument('--processes', type=int, default=1, help='processes of a training: one a GPU (default: 1)')
    parser.add_argument('--cfg-options', nargs='+', default=[], help='override every config: key=value ...')
    return parser.parse_args()


def check_names(configs: Sequence[Path]) -> None:
    """A run's folder is called like its config: no two alike, no file that is not there."""
    names = [path.stem for path in configs]
    for path in configs:
        if not path.is_file():
            raise ConfigError(f'{path}: no such config file')
        if names.count(path.stem) > 1:
            raise ConfigError(f'two configs are called {path.stem}; give them names of their own or run them apart')


def main() -> None:
    """Run every config, then show the table."""
    args = parse_args()
    check_names(args.configs)
    console = plain_console()
    runs = {}
    for number, config in enumerate(args.configs, 1):
        console.rule(plain(f'{number} of {len(args.configs)}: {config.stem}'))
        results = train_and_test(TOOLS, config, args.work_dir / config.stem, args.processes, args.cfg_options)
        runs[config.stem] = read_results(results)
        table = ablation_table(runs)
        (args.work_dir / 'table.md').write_text(table + '\n', encoding='utf-8')
        ablation_figure(runs, args.work_dir / 'table.png')
    print(table)
    print(plain(f'also in {args.work_dir}/table.md and {args.work_dir}/table.png'))


if __name__ == '__main__':
    with one_line_errors():
        main()
