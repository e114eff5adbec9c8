"""The command `rs2sam2` in this process or in one of its own, and what it wrote."""

import json
import os
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

from rs2sam2.cli.main import app

MODULE = [sys.executable, '-m', 'rs2sam2.cli.main']


def run_command(*args: object) -> tuple[int, str]:
    """Exit code and output, told errors included."""
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def run_segment(*args: object) -> tuple[int, str]:
    return run_command('segment', *args)


def start(*command: object, **options: object) -> subprocess.Popen:
    """A process on one thread, its output as text."""
    environment = os.environ | {'OMP_NUM_THREADS': '1'}
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT) | options
    return subprocess.Popen([str(word) for word in command], text=True, env=environment, **pipes)


def rows_of(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / 'results.jsonl').read_text().splitlines()]


def tree(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob('*')) if path.is_file()}


def flags(*expressions: str) -> list[str]:
    return [word for text in expressions for word in ('-e', text)]
