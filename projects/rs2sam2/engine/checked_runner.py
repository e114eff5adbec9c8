"""mmengine's runner with its numbers checked: what means nothing is refused before training begins."""

import logging

from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.optim import OptimWrapper
from mmengine.runner import BaseLoop, Runner
from torch.utils.data import DataLoader, IterableDataset

from rs2sam2.engine.config_text import OnceFormattedConfig
from rs2sam2.engine.launch import whole_number
from rs2sam2.engine.registered import config_mistake
from rs2sam2.engine.stopping import DeafWorker
from rs2sam2.errors import ConfigError

# What torch refuses of a data loader without workers.
WORKERS_ONLY = ('persistent_workers', 'prefetch_factor', 'multiprocessing_context', 'timeout')


class CheckedRunner(Runner):
    """A `Runner` that refuses numbers in a config which mean nothing, where mmengine fails later or goes on without."""

    def __init__(self, *args, cfg: Config | dict | None = None, **kwargs) -> None:
        super().__init__(*args, cfg=OnceFormattedConfig.of(cfg) if isinstance(cfg, Config) else cfg, **kwargs)

    @staticmethod
    def build_dataloader(
        dataloader: dict | DataLoader, seed: int | None = None, diff_rank_seed: bool = False
    ) -> DataLoader:
        """Build a data loader; without workers, without what only workers have.

        Args:
            dataloader: its config.
            seed: of the sampler.
            diff_rank_seed: whether processes get seeds of their own.

        Raises:
            ConfigError: a number in the config is none that a data loader can have, or there is no batch, which would
                pass for a run without work.
        """
        if not isinstance(dataloader, dict):
            return dataloader
        workers = whole_number('num_workers of a data loader', dataloader.get('num_workers', 0), 0)
        if 'batch_size' in dataloader:
            whole_number('batch_size of a data loader', dataloader['batch_size'], 1)
        if dataloader.get('batch_sampler'):
            # It says all of a batch, and torch refuses to hear it twice.
            dataloader = {key: value for key, value in dataloader.items() if key not in ('drop_last', 'shuffle')}
        if workers == 0:
            dataloader = {key: value for key, value in dataloader.items() if key not in WORKERS_ONLY}
        built = Runner.build_dataloader(dataloader, seed, diff_rank_seed)
        built.worker_init_fn = DeafWorker(built.worker_init_fn)
        if not isinstance(built.dataset, IterableDataset) and len(built) == 0:
            raise ConfigError(_why_empty(built))
        return built

    def build_logger(self, log_level: int | str = 'INFO', log_file: str | None = None, **kwargs) -> MMLogger:
        """Build the logger; raises `ConfigError` for what is no level."""
        if isinstance(log_level, str) and not isinstance(logging.getLevelName(log_level), int):
            raise ConfigError(f'log_level={log_level!r}: one of DEBUG, INFO, WARNING, ERROR, CRITICAL')
        return super().build_logger(log_level, log_file, **kwargs)

    def set_randomness(self, seed: int | None, diff_rank_seed: bool = False, deterministic: bool = False) -> None:
        """Seed all random states; raises `ConfigError` for what is no seed."""
        if seed is not None:
            whole_number('randomness.seed', seed, 0, 2**32 - 1)
        super().set_randomness(seed, diff_rank_seed, deterministic)

    def build_train_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """Build the loop; raises `ConfigError` where nothing is learned, or for numbers that mean nothing."""
        losses = getattr(getattr(self.model, 'decode_head', None), 'losses', None)
        if losses is not None and not len(losses):
            raise ConfigError('model.decode_head.losses is empty: nothing would be learned; name at least one loss')
        if isinstance(loop, dict):
            for key, least in dict(max_epochs=1, max_iters=1, val_begin=0).items():
                if loop.get(key) is not None:
                    whole_number(f'train_cfg.{key}', loop[key], least)
            without = '; without validation: val_cfg=None val_dataloader=None val_evaluator=None'
            whole_number('train_cfg.val_interval', loop.get('val_interval', 1), 1, remedy=without)
        return super().build_train_loop(loop)

    def build_param_scheduler(self, scheduler: dict | list) -> list:
        """Build the schedules; raises `ConfigError` where their numbers mean nothing."""
        try:
            return super().build_param_scheduler(scheduler)
        except (TypeError, ValueError, KeyError, AssertionError) as error:
            raise config_mistake(error) or ConfigError(f'param_scheduler cannot be built: {error}') from error

    def build_optim_wrapper(self, optim_wrapper: dict | OptimWrapper) -> OptimWrapper:
        """Build the optimizer and its wrapper; raises `ConfigError` where their numbers mean nothing."""
        try:
            return super().build_optim_wrapper(optim_wrapper)
        except (TypeError, ValueError, KeyError, AssertionError) as error:
            raise config_mistake(error) or ConfigError(f'optim_wrapper cannot be built: {error}') from error

    def scale_lr(self, optim_wrapper: OptimWrapper, auto_scale_lr: dict | None = None) -> None:
        """Learning rates in proportion to the samples of an update, where `auto_scale_lr` is enabled.

        mmengine leaves accumulated gradients out of account.

        Args:
            optim_wrapper: holds the optimizer.
            auto_scale_lr: `enable`, and `base_batch_size`, which the learning rates of the config are meant for.
        """
        if not auto_scale_lr or not auto_scale_lr.get('enable'):
            return
        samples = self._train_dataloader['batch_size'] * self.world_size * optim_wrapper._accumulative_counts
        ratio = samples / auto_scale_lr['base_batch_size']
        self.logger.info(
            f'learning rates times {ratio:g}: an update sees {samples} samples, the config is for '
            f'{auto_scale_lr["base_batch_size"]}'
        )
        for group in optim_wrapper.optimizer.param_groups:
            group['lr'] *= ratio


def _why_empty(loader: DataLoader) -> str:
    """What a user needs to know of a data loader without a batch."""
    batch, split = loader.batch_sampler, getattr(loader.dataset, 'split', None)
    where = 'a data set' if split is None else f'split {split!r}'
    count = len(loader.sampler) if batch is None else len(batch.sampler)
    if getattr(batch, 'drop_last', False) and count:
        return (
            f'the data loader of {where} has no batch: {count} samples a process are fewer than batch_size='
            f'{batch.batch_size}, and drop_last=True drops them; lower batch_size or set drop_last=False'
        )
    return f'the data loader of {where} has no batch: it holds no sample'
