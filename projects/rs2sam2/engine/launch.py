"""What the tools share: reading a config, fitting it to the machine, one line for a user's mistake."""

import contextlib
import logging
import re
from pathlib import Path

import torch
import torch.distributed as dist
from mmengine.config import Config
from mmengine.dist import get_rank
from mmengine.logging import print_log
from mmengine.runner import Runner
from mmseg.registry import RUNNERS

from rs2sam2 import one_line
from rs2sam2.engine.cfg_options import merge_options
from rs2sam2.engine.config_file import read_config_file
from rs2sam2.engine.config_keys import refuse_unknown_keys
from rs2sam2.engine.registered import config_mistake
from rs2sam2.errors import ConfigError, DataError, RefSegError
from rs2sam2.locks import make_writable
from rs2sam2.terminal import shortened

# How torch says that a worker ended, and what that means.
WORKER_END = re.compile(
    r'DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) '
    r'(?:is )?(killed by signal: [^.]*|exited unexpectedly(?: with exit code \d+)?)'
)
WORKER_ENDS = {
    'Killed': 'most likely the machine ran out of memory; lower num_workers or batch_size of the data loader',
    'Bus error': 'shared memory is full; give it more (docker run --shm-size=8g) or lower num_workers',
    'Segmentation fault': 'a library crashed while it read a sample; num_workers=0 shows which',
    '': 'look for it in the system log (dmesg); num_workers=0 runs without workers',
}


def one_line_errors(when_stopped: str = '') -> contextlib.AbstractContextManager[None]:
    """See `rs2sam2.one_line`; a data loader's worker that dies is named, and so is a part that misfits the config."""
    return one_line.one_line_errors(when_stopped, explain)


def explain(error: Exception) -> RefSegError | None:
    """What a user needs to know of an error of torch's or of a registry's; None where it is a bug."""
    return _worker_death(error) if isinstance(error, RuntimeError) else config_mistake(error)


def _worker_death(error: RuntimeError) -> DataError | None:
    """What a user needs to know of torch's message that a worker of a data loader is gone; None for other errors."""
    # Where training was waiting for the worker, only the error's cause says by which signal it ended.
    told = [WORKER_END.search(str(one)) for one in (error.__cause__, error)]
    found = next(filter(None, told), None)
    if found is None:
        return None
    pids, end = found.groups()
    cause = next((text for sign, text in WORKER_ENDS.items() if sign in end), WORKER_ENDS[''])
    return DataError(f'rank {get_rank()}: data loader worker {pids} was lost ({end}): {cause}')


def load_config(path: str, options: dict | None, launcher: str, work_dir: str | None) -> Config:
    """Read a config file and fill in what the command line says.

    Args:
        path: config file.
        options: `--cfg-options`.
        launcher: 'none', 'pytorch', 'slurm' or 'mpi'.
        work_dir: `--work-dir`; else the config's, else `work_dirs/<config's name>`.

    Raises:
        ConfigError: the file is no config of this project, or it or an option says what nothing takes.
    """
    cfg = read_config_file(path)
    cfg.launcher = launcher
    if options:
        merge_options(cfg, options)
    refuse_unknown_keys(cfg)
    cfg.work_dir = work_dir or cfg.get('work_dir') or str(Path('work_dirs') / Path(path).stem)
    return cfg


def whole_number(name: str, value: object, least: int, most: int | None = None, remedy: str = '') -> int:
    """A number of a config that counts something.

    Args:
        name: key in the config.
        value: what the config says.
        least: smallest number that means something.
        most: largest one; None for any.
        remedy: what else to do, after a semicolon.

    Raises:
        ConfigError: it is no whole number, or none between the two.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= least and (most is None or value <= most):
        return value
    upto = 'upwards' if most is None else f'to {most}'
    raise ConfigError(f'{name}={shortened(str(value), 100)}: a whole number from {least} {upto}{remedy}')


def fit_to_device(cfg: Config) -> None:
    """On a machine without a GPU: fp32 instead of AMP, gloo instead of NCCL, no SyncBN; each change is in the log."""
    if torch.cuda.is_available():
        return
    if (cfg.get('optim_wrapper') or {}).get('type') == 'AmpOptimWrapper':
        print_log('no GPU here: training in fp32 instead of automatic mixed precision', 'current', logging.WARNING)
        cfg.optim_wrapper.type = 'OptimWrapper'
        for key in ('dtype', 'loss_scale'):
            cfg.optim_wrapper.pop(key, None)
    if cfg.launcher != 'none':
        cfg.setdefault('model_wrapper_cfg', dict(type='MMDistributedDataParallel'))
        if cfg.model_wrapper_cfg.get('type', 'MMDistributedDataParallel') == 'MMDistributedDataParallel':
            cfg.model_wrapper_cfg['device_ids'] = None
        if cfg.launcher != 'pytorch':
            raise ConfigError(f'no GPU here: --launcher {cfg.launcher} needs one, use --launcher pytorch (gloo)')
        if cfg.pop('sync_bn', None):
            print_log('no GPU here: each process has batch norms of its own samples', 'current', logging.WARNING)
        # mmengine's own start of a process group selects a CUDA device.
        dist.init_process_group('gloo')


def build_runner(cfg: Config) -> Runner:
    """Build the runner that the config names; `Runner` without a `runner_type`.

    Raises:
        OutputError: the work dir cannot be written.
        ConfigError: a package that the config asks for is not installed.
    """
    make_writable(Path(cfg.work_dir))
    try:
        return RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
    except ImportError as error:
        raise ConfigError(f'the config needs a package that is not installed: {error}') from error
