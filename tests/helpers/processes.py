"""A function in several gloo processes, with what they said where one of them dies."""

import faulthandler
import os
import pickle
import sys
from collections.abc import Callable
from multiprocessing.connection import wait
from pathlib import Path

import torch
import torch.distributed as dist

from helpers.training_site import imported


def in_processes(work: Callable, world_size: int, folder: Path, *arguments: object) -> list:
    """Run `work(rank, *arguments)` in gloo processes, forks that have imported the package.

    Args:
        work: a function of a test module's top level.
        world_size: number of processes.
        folder: takes the rendezvous, what each process printed and what it returned.

    Returns:
        What each returned, in order of rank.
    """
    folder.mkdir(exist_ok=True)
    started = [
        imported().Process(target=_process, args=(rank, world_size, str(folder), work, arguments))
        for rank in range(world_size)
    ]
    for process in started:
        process.start()
    running = {process.sentinel: process for process in started}
    while running and not any(process.exitcode for process in started):
        for sentinel in wait(list(running)):
            running.pop(sentinel).join()
    codes = [process.exitcode for process in started]
    for process in running.values():
        process.terminate()
    said = '\n'.join(f'process {rank}: {_log(folder, rank).read_text()[-4000:]}' for rank in range(world_size))
    assert codes == [0] * world_size, f'exit codes {codes}\n{said}'
    return [pickle.loads(_returned(folder, rank).read_bytes()) for rank in range(world_size)]


def _process(rank: int, world_size: int, folder: str, work: Callable, arguments: tuple) -> None:
    log = os.open(_log(Path(folder), rank), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    # Where a library aborts, the stack is all that tells what it was at.
    faulthandler.enable(sys.stderr)
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'file://{folder}/rendezvous', rank=rank, world_size=world_size)
    _returned(Path(folder), rank).write_bytes(pickle.dumps(work(rank, *arguments)))
    # Taken down otherwise, while threads of the group may still be at work.
    os._exit(0)


def _log(folder: Path, rank: int) -> Path:
    return folder / f'rank{rank}.log'


def _returned(folder: Path, rank: int) -> Path:
    return folder / f'rank{rank}.pickle'
