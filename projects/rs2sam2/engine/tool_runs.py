"""Run tools/train.py and tools/test.py from another tool, as a user would."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

from rs2sam2.errors import ConfigError, RefSegError

BEST = 'best_*.pth'


def run_tool(tool: Path, *args: object, processes: int = 1) -> None:
    """Run a tool of this repository on one or more processes of this machine and wait for it.

    Args:
        tool: the script.
        *args: its arguments.
        processes: as many as GPUs are meant to be used; several on a CPU share its cores.

    Raises:
        RefSegError: it failed; its own last lines say why.
    """
    command = [sys.executable, tool, *args]
    if processes > 1:
        launch = ['-m', 'torch.distributed.run', '--standalone', f'--nproc_per_node={processes}']
        command = [sys.executable, *launch, tool, *args, '--launcher', 'pytorch']
    run_command(*command, threads=max(1, (os.cpu_count() or 1) // processes))


def run_command(*command: object, threads: int | None = None) -> None:
    """Run a command and wait for it.

    Args:
        *command: its words.
        threads: of each process of torch, unless the environment says it.

    Raises:
        RefSegError: it failed; its own last lines say why.
    """
    words = [str(word) for word in command]
    env = {**({} if threads is None else {'OMP_NUM_THREADS': str(threads)}), **os.environ}
    done = subprocess.run(words, env=env, check=False)
    if done.returncode:
        name = next((word for word in words if word.endswith('.py')), shlex.join(words[1:4]))
        raise RefSegError(f'{name} failed with exit code {done.returncode}; its last lines above say why')


def train_and_test(tools: Path, config: Path, work_dir: Path, processes: int, options: list[str]) -> Path:
    """Train a config, then test the checkpoint that did best on the validation split; skip what is done already.

    Args:
        tools: folder of train.py and test.py.
        config: config file.
        work_dir: folder of the run; its `test/results.jsonl` marks a run as done.
        processes: see `run_tool`.
        options: `--cfg-options` of both tools.

    Returns:
        Path of the results, one sample a line.

    Raises:
        ConfigError: no such config, or training left no best checkpoint.
        RefSegError: a tool failed.
    """
    if not config.is_file():
        raise ConfigError(f'{config}: no such config file')
    results = work_dir / 'test/results.jsonl'
    if results.is_file():
        return results
    extra = ['--cfg-options', *options] if options else []
    # A run that was cut short goes on from its last checkpoint.
    run_tool(tools / 'train.py', config, '--work-dir', work_dir, '--resume', *extra, processes=processes)
    best = sorted(work_dir.glob(BEST))
    if len(best) != 1:
        raise ConfigError(
            f'{work_dir} holds {len(best)} files {BEST}, expected one: '
            f'set default_hooks.checkpoint.save_best in {config}'
        )
    run_tool(
        tools / 'test.py', config, best[0], '--work-dir', results.parent, '--out', results.parent, *extra,
        processes=processes,
    )  # fmt: skip
    return results
