"""Training by epochs that can go on at any batch of an epoch as if it had never stopped."""

from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

from mmengine.dist import get_rank, get_world_size
from mmengine.registry import DATASETS
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import nn
from torch.utils.data import BatchSampler, Dataset

from rs2sam2.engine.randomness import seed_process, seeded, set_rng_state
from rs2sam2.errors import ConfigError


class Visit(NamedTuple):
    """One visit of a sample: what a data loader's worker is asked for, and all that its random draws depend on."""

    seed: int
    epoch: int
    sample: int


class VisitBatches(BatchSampler):
    """Batches of visits of one epoch, from any batch on; what is left out is never loaded.

    Attributes:
        seed: of the random draws of all visits.
        epoch: the epoch that the next iteration is.
        first: the batch that the next iteration begins with.
    """

    seed = epoch = first = 0

    def __iter__(self) -> Iterator[list[Visit]]:
        for batch in islice(super().__iter__(), self.first, None):
            yield [Visit(self.seed, self.epoch, index) for index in batch]


class VisitedDataset(Dataset):
    """A data set whose transforms draw alike at every loading of the same visit, in whichever worker.

    Args:
        dataset: config of the data set.
    """

    def __init__(self, dataset: dict) -> None:
        self.dataset = DATASETS.build(dataset)

    def __getitem__(self, visit: Visit) -> Any:
        with seeded(*visit):
            return self.dataset[visit.sample]

    def __len__(self) -> int:
        return len(self.dataset)

    def __getattr__(self, name: str) -> Any:
        # Unpickled in a spawned worker, it is asked for names before it has a data set.
        if name == 'dataset' or name.startswith('__'):
            raise AttributeError(name)
        return getattr(self.dataset, name)


class ResumableTrainLoop(EpochBasedTrainLoop):
    """mmengine's `EpochBasedTrainLoop`, resumable in mid-epoch; bitwise so on a CPU.

    An epoch is a function of the weights, the seed and its number: the random states are seeded anew where it begins,
    every visit of a sample has random draws of its own, and a window of accumulated gradients ends with the epoch at
    the latest. So a checkpoint needs the batch that comes next, and inside an epoch the random states.

    Args:
        runner: the runner.
        dataloader: config of the data loader; without a `batch_sampler`, which the loop brings.
        **kwargs: those of `EpochBasedTrainLoop`.

    Raises:
        ConfigError: the data loader is built already or has a `batch_sampler`.
    """

    def __init__(self, runner: Runner, dataloader: dict, **kwargs) -> None:
        super().__init__(runner, _with_visits(dataloader), **kwargs)
        self._batch = 0
        self._rng: dict | None = None
        self._resumed = False

    @property
    def batches(self) -> VisitBatches:
        """Which samples come when."""
        return self.dataloader.batch_sampler

    def run(self) -> nn.Module:
        """Train; after a stop between an epoch's checkpoint and the end of its validation, validate first."""
        self.runner.call_hook('before_train')
        if self._resumed and self._batch == 0 and self.runner.message_hub.get_info('epoch_validated') != self._epoch:
            if self._rng is not None:
                set_rng_state(self._rng)
            self._validate()
        while self._epoch < self._max_epochs and not self.stop_training:
            self.run_epoch()
            self._validate()
        self.runner.call_hook('after_train')
        return self.runner.model

    def run_epoch(self) -> None:
        """Train one epoch from the batch that comes next."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        self.batches.seed, self.batches.epoch, self.batches.first = self.runner.seed, self._epoch, self._batch
        self.runner.optim_wrapper.initialize_count_status(self.runner.model, self._batch, len(self.dataloader))
        iterator = iter(self.dataloader)
        # After the loader's start, which draws from the random state itself.
        if self._batch and self._rng is not None:
            set_rng_state(self._rng)
        else:
            seed_process(self.runner.seed, self._epoch, get_rank())
        for index, data in enumerate(iterator, start=self._batch):
            self.run_iter(index, data)
        self._batch, self._rng = 0, None
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def position(self, epoch: int, iteration: int) -> dict[str, int]:
        """Where training stands after `iteration` iterations of all epochs; plain values for a checkpoint."""
        batch = iteration - epoch * len(self.dataloader)
        return dict(batch=batch, batches=len(self.dataloader), samples=self._samples(), seed=self.batches.sampler.seed)

    def restore(self, position: dict[str, int], rng: list[dict]) -> None:
        """Go on from a checkpoint; the runner has set epoch and iteration.

        On another number of processes or with another batch size the next batch is the first that holds an unseen
        sample; random states then begin anew.

        Args:
            position: from `position`.
            rng: random states of all processes, in the order of their ranks.
        """
        self._resumed = True
        self._batch = position['batch']
        self.batches.sampler.seed = position['seed']
        if (position['batches'], position['samples']) != (len(self.dataloader), self._samples()):
            self._batch = self._batch * position['samples'] // self._samples()
            self._iter = self._epoch * len(self.dataloader) + self._batch
            self.runner.logger.warning(
                f'resumed with {self._samples()} samples a step instead of {position["samples"]}: the order of the '
                'samples is kept, but the result is not that of an uninterrupted run; check the learning rate '
                '(--auto-scale-lr, optim_wrapper.accumulative_counts) and schedules that count iterations'
            )
        elif len(rng) == get_world_size():
            self._rng = rng[get_rank()]

    def _samples(self) -> int:
        return self.batches.batch_size * get_world_size()

    def _validate(self) -> None:
        self._decide_current_val_interval()
        due = self._epoch % self.val_interval == 0 or self._epoch == self._max_epochs
        if self.runner.val_loop is not None and self._epoch >= self.val_begin and due:
            # Said before, since the checkpoint hook may write a checkpoint when validation ends.
            self.runner.message_hub.update_info('epoch_validated', self._epoch)
            self.runner.val_loop.run()


def _with_visits(dataloader: dict) -> dict:
    """The config of a data loader, with batches of visits."""
    if not isinstance(dataloader, dict) or dataloader.get('batch_sampler'):
        raise ConfigError(
            'train_dataloader: ResumableTrainLoop needs a config without batch_sampler; '
            'set train_cfg.type=EpochBasedTrainLoop to use a data loader of your own'
        )
    cfg = dict(dataloader)
    cfg['dataset'] = dict(type=VisitedDataset, dataset=cfg['dataset'])
    cfg['batch_sampler'] = dict(type=VisitBatches, drop_last=cfg.pop('drop_last', False))
    return cfg
