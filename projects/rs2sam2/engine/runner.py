"""mmengine's runner with its checkpoints made strict, safe and durable."""

import contextlib
import copy
import time
from collections.abc import Callable
from pathlib import Path

import mmengine
import torch
from mmengine.device import get_device
from mmengine.dist import all_gather_object, broadcast_object_list, is_main_process, master_only
from mmengine.hooks import EMAHook
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.optim import OptimWrapper
from mmengine.runner import BaseLoop, CheckpointLoader
from torch import Tensor, nn

from rs2sam2.engine.checked_runner import CheckedRunner
from rs2sam2.engine.optim_groups import refuse_other_state
from rs2sam2.engine.randomness import rng_state, set_rng_state
from rs2sam2.engine.settings import TrainingSettings
from rs2sam2.engine.sharding import FullyShardedModel, fill, share_optimizer_state, whole_state_dict
from rs2sam2.engine.stopping import StopRequest
from rs2sam2.engine.train_loop import ResumableTrainLoop
from rs2sam2.engine.work_dir import (
    is_restarted,
    keep_tokenizers,
    latest_checkpoint,
    mark_start,
    remove_unfinished,
    started_at,
)
from rs2sam2.errors import CheckpointError, ConfigError
from rs2sam2.locks import hold_folder
from rs2sam2.models.protocol import ReferringSegmentor
from rs2sam2.weights.building import give_memory, without_starting_values, zero_new
from rs2sam2.weights.files import load_pickle, open_state_dict, replace_durably, save_checkpoint, temporary_name
from rs2sam2.weights.loading import adapter_of, plan_loading
from rs2sam2.weights.zoo import locate

TRAINING_STATE = ('meta', 'message_hub', 'optimizer')


class StrictRunner(CheckedRunner):
    """A runner that reads weights with this project's loader only, loads them strictly, and survives being killed.

    `load_from` may be a checkpoint of our own, what `convert.py` made, or a published file or folder as it is: the
    names tell. It may be the name of a published model, or `hf:user/repo[@revision][/folder]`, which are fetched.
    mmengine's own ways around are closed: its unsafe fallback for pickles, remote files, and the lenient
    `init_cfg=dict(type='Pretrained')`.
    """

    _resume: bool  # mmengine's: the config's `resume`
    _resume_from: str | None = None
    stop_request: StopRequest | None = None
    # The checkpoint that training went on from.
    resumed_from: Path | None = None

    def __init__(self, *args, **kwargs) -> None:
        # Every scheme, known by its prefix: '', 'http://', 'torchvision://', ...
        for prefix in tuple(CheckpointLoader._schemes):
            CheckpointLoader.register_scheme(prefix, _load_for_mmengine, force=True)
        super().__init__(*args, **kwargs)

    def build_model(self, model: nn.Module | dict) -> nn.Module:
        """Build the model; raises `ConfigError` where a part asks for mmengine's lenient loading.

        A model that is only tested gets its memory and no starting values: a checkpoint fills all of it.
        """
        if self._only_tests:
            with without_starting_values():
                model = super().build_model(model)
            give_memory(model, get_device())
        else:
            model = super().build_model(model)
        for name, module in model.named_modules():
            init_cfg = getattr(module, 'init_cfg', None) or ()
            for cfg in [init_cfg] if isinstance(init_cfg, dict) else init_cfg:
                if 'Pretrained' in str(cfg.get('type')):
                    raise ConfigError(
                        f"model.{name}: init_cfg type 'Pretrained' skips what does not fit, use 'OfficialWeights' "
                        'or load_from'
                    )
        return model

    @property
    def _only_tests(self) -> bool:
        """Whether the model is filled from a checkpoint and never trained: `tools/test.py` leaves training out."""
        return self._train_dataloader is None and self._load_from is not None

    @property
    def bare_model(self) -> nn.Module:
        """The model without its wrapper, and without the one of test-time augmentation."""
        model = self.model.module if is_model_wrapper(self.model) else self.model
        return model.module if isinstance(model, BaseTTAModel) else model

    @property
    def is_sharded(self) -> bool:
        """Whether every process holds a part of the model only."""
        return isinstance(self.model, FullyShardedModel)

    def build_optim_wrapper(self, optim_wrapper: dict | OptimWrapper) -> OptimWrapper:
        """Build the optimizer and its wrapper; of a sharded model its states are written and read whole."""
        built = super().build_optim_wrapper(optim_wrapper)
        if self.is_sharded and built is not optim_wrapper:
            share_optimizer_state(built.optimizer)
        return built

    def _init_model_weights(self) -> None:
        # A sharded model was initialised when it was wrapped, while it was whole.
        if not self.is_sharded:
            super()._init_model_weights()

    def model_state(self) -> dict[str, Tensor]:
        """Weights for a checkpoint, by name. Called on every process; the main one's are written."""
        return whole_state_dict(self.bare_model) if self.is_sharded else self.bare_model.state_dict()

    def optimizer_state(self) -> dict:
        """State of the optimizer wrapper for a checkpoint. Called on every process; the main one's is written."""
        return self.optim_wrapper.state_dict()

    @torch.no_grad()
    def load_model_state(self, tensors: dict[str, Tensor]) -> None:
        """Fill the model with what `model_state` gave; entries may be missing where the loader allows it."""
        own = self.bare_model.state_dict()
        for name, tensor in tensors.items():
            fill(own[name], tensor)

    def load_optimizer_state(self, state: dict) -> None:
        """Fill the optimizer wrapper with what `optimizer_state` gave."""
        # One without loss scaling leaves nothing to load.
        if not state.get('loss_scaler', True):
            state = {key: value for key, value in state.items() if key != 'loss_scaler'}
        # An optimizer on the CPU keeps what it is given, and the mapped file may be overwritten later.
        on_cpu = next(self.bare_model.parameters()).device.type == 'cpu'
        self.optim_wrapper.load_state_dict(copy.deepcopy(state) if on_cpu else state)

    def save_checkpoint(
        self,
        out_dir: str,
        filename: str,
        file_client_args: dict | None = None,
        save_optimizer: bool = True,
        save_param_scheduler: bool = True,
        meta: dict | None = None,
        by_epoch: bool = True,
        backend_args: dict | None = None,
    ) -> None:
        """Write a checkpoint whole or not at all; all processes call it, the main one writes.

        Beside mmengine's content it holds, with the optimizer: `position`, the batch that comes next, and `rng`, the
        random states of all processes.

        Args:
            out_dir: a local folder.
            filename: name of the checkpoint.
            file_client_args: must stay None; mmengine's signature.
            save_optimizer: whether training can go on from it.
            save_param_scheduler: whether the schedules are written.
            meta: `epoch` and `iter` that are behind, where they are not the current ones; and more entries.
            by_epoch: called after an epoch, not after an iteration.
            backend_args: must stay None; mmengine's signature.

        Raises:
            CheckpointError: the file cannot be written.
            ConfigError: a remote place is asked for.
        """
        if file_client_args or backend_args:
            raise ConfigError('checkpoints are written to local folders: leave out file_client_args and backend_args')
        now = dict(epoch=self.epoch + 1, iter=self.iter) if by_epoch else dict(epoch=self.epoch, iter=self.iter + 1)
        meta = {
            **now,
            **(meta or {}),
            'cfg': self.cfg.pretty_text,
            'seed': self.seed,
            'optimizer': type(self.optim_wrapper.optimizer).__name__,
            'experiment_name': self.experiment_name,
            'time': time.strftime('%Y%m%d_%H%M%S'),
            'mmengine_version': mmengine.__version__,
        }
        if hasattr(self.train_dataloader.dataset, 'metainfo'):
            meta['dataset_meta'] = self.train_dataloader.dataset.metainfo
        checkpoint = dict(meta=meta, state_dict=self.model_state(), message_hub=self.message_hub.state_dict())
        if save_optimizer:
            checkpoint['optimizer'] = self.optimizer_state()
            checkpoint['rng'] = all_gather_object(rng_state())
            if isinstance(self.train_loop, ResumableTrainLoop):
                checkpoint['position'] = self.train_loop.position(meta['epoch'], meta['iter'])
        if save_param_scheduler and self.param_schedulers is not None:
            # Without functions, which some keep beside their state and no checkpoint may hold.
            checkpoint['param_schedulers'] = [
                {key: value for key, value in one.state_dict().items() if not callable(value)}
                for one in self.param_schedulers
            ]
        self.call_hook('before_save_checkpoint', checkpoint=checkpoint)
        if is_main_process():
            save_checkpoint(Path(out_dir) / filename, checkpoint)

    @torch.no_grad()
    def load_checkpoint(
        self,
        filename: str,
        map_location: str | Callable = 'cpu',
        strict: bool = True,
        revise_keys: list | None = None,
    ) -> dict:
        """Load weights into the model, all of them and no others.

        Args:
            filename: a checkpoint of our own, a converted file, a published file or folder, or what `locate` fetches.
            map_location: device of what is read, as in `torch.load`.
            strict: must stay True; mmengine's signature.
            revise_keys: must stay None; mmengine's signature. Names are translated by the adapters.

        Returns:
            The checkpoint, its `state_dict` under our names.

        Raises:
            CheckpointError: the file is missing, damaged, unsafe or does not fit the model.
            ConfigError: lenient loading is asked for.
        """
        if not strict or revise_keys:
            raise ConfigError('StrictRunner loads whole checkpoints only: leave strict and revise_keys as they are')
        model = self.bare_model
        file = open_state_dict(locate(filename).weights, map_location)
        adapter = adapter_of(file, model)
        if not adapter.whole:
            raise CheckpointError(
                f'{filename} holds {adapter.title} weights, a part of this model: name it in '
                f"init_cfg=[dict(type='OfficialWeights', source='{adapter.source}', checkpoint=...)]"
            )
        plan, _ = plan_loading(model, adapter, file)
        checkpoint = {**file.content, 'state_dict': dict(plan.tensors())}
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        self.load_model_state(checkpoint['state_dict'])
        if self._only_tests:
            zero_new(model, plan)
        self._has_loaded = True
        return checkpoint

    def resume(
        self,
        filename: str,
        resume_optimizer: bool = True,
        resume_param_scheduler: bool = True,
        map_location: str | Callable = 'default',
    ) -> None:
        """Go on from a checkpoint of our own training; the arguments are mmengine's.

        Epoch, iteration, random states and the optimizer's moments come from the checkpoint. Settings of optimizer and
        schedules come from the config, and where the checkpoint was trained with others the log says both.

        Raises:
            CheckpointError: as `load_checkpoint`, or the file holds weights only, or the state of another optimizer.
        """
        saved = open_state_dict(filename).content
        missing = [key for key in TRAINING_STATE if not isinstance(saved.get(key), dict)]
        if missing or 'epoch' not in saved['meta']:
            raise CheckpointError(
                f'{filename} holds weights but no training state ({", ".join(missing) or "meta.epoch"}): start from it '
                'with load_from, not --resume'
            )
        if resume_optimizer and self.optim_wrapper is not None:
            refuse_other_state(self.optim_wrapper.optimizer, saved['optimizer'], saved['meta'].get('optimizer'))
        # To the CPU, so that a GPU never holds the optimizer's state twice.
        checkpoint = self.load_checkpoint(filename, 'cpu' if map_location == 'default' else map_location)
        settings = TrainingSettings(self.optim_wrapper, self.param_schedulers or [])
        try:
            self._restore(checkpoint, filename)
            if resume_optimizer:
                self.load_optimizer_state(checkpoint['optimizer'])
                self._settle(settings, checkpoint, resume_param_scheduler)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
            raise CheckpointError(
                f'{filename}: its training state is damaged ({type(error).__name__}: {error}); go on from another '
                'checkpoint, or start from its weights with load_from and without --resume'
            ) from error
        self._has_loaded = True
        self.resumed_from = Path(filename)
        loop = self.train_loop
        self.logger.info(f'resumed {filename}: epoch {loop.epoch}, iteration {loop.iter}')
        if loop.iter >= loop.max_iters:
            self.logger.warning(
                f'nothing is left to train: {loop.epoch} of {loop.max_epochs} epochs and {loop.iter} of '
                f'{loop.max_iters} iterations are behind; to go on raise train_cfg.max_epochs (or max_iters)'
            )

    def _restore(self, checkpoint: dict, filename: str) -> None:
        """Take over where training stands: epoch, iteration, batch, seed, random states, what was logged."""
        meta, loop = checkpoint['meta'], self.train_loop
        for key in ('epoch', 'iter'):
            if not isinstance(meta[key], int) or meta[key] < 0:
                raise ValueError(f'{key} is {meta[key]!r}')
        loop._epoch, loop._iter = meta['epoch'], meta['iter']
        self._take_over_seed(meta.get('seed'))
        self.message_hub.load_state_dict(checkpoint['message_hub'])
        if isinstance(loop, ResumableTrainLoop) and 'position' in checkpoint:
            loop.restore(checkpoint['position'], checkpoint['rng'])
        elif 'position' in checkpoint and checkpoint['position']['batch']:
            raise CheckpointError(
                f'{filename} stands in the middle of an epoch: set train_cfg.type=ResumableTrainLoop, or resume from '
                'an epoch_*.pth'
            )
        elif len(checkpoint.get('rng', ())) == self.world_size:
            set_rng_state(checkpoint['rng'][self.rank])

    def _settle(self, settings: TrainingSettings, checkpoint: dict, resume_schedules: bool) -> None:
        """Go on with the settings of the checkpoint where the config says the same, else with the config's."""
        states = checkpoint.get('param_schedulers') if resume_schedules else None
        saved = list(checkpoint['optimizer']['param_groups'])
        if base := checkpoint['optimizer'].get('base_param_settings'):
            saved.append(base)
        if changes := settings.changes(saved, states):
            settings.restore(self.train_loop.epoch, self.train_loop.iter, len(self.train_dataloader))
            rates = ', '.join(f'{group["lr"]:.4g}' for group in self.optim_wrapper.optimizer.param_groups)
            self.logger.warning(
                f'the config differs from what the checkpoint was trained with, and is used: {"; ".join(changes)}; '
                f'learning rates now {rates}'
            )
            return
        for schedule, state in zip(self.param_schedulers or [], states or [], strict=True):
            schedule.load_state_dict(state)

    def train(self) -> nn.Module:
        """Train, from the beginning or from a checkpoint, as `resume` and `load_from` say.

        With `resume`: from the last checkpoint in the work dir; where there is none, from `load_from` where that holds
        training state; else training starts fresh and the log says so. A `load_from` that lies in the work dir is a
        choice among its checkpoints and comes first. A process that torchrun has restarted, or a job that
        Slurm has queued again, goes on from the last checkpoint that this run has written, without being asked.

        Raises:
            OutputError: another training is at work in the work dir.
            Stopped: a signal asked for it; a checkpoint was written then.
        """
        if self.is_sharded and any(isinstance(hook, EMAHook) for hook in self.hooks):
            raise ConfigError('EMAHook averages whole weights: leave it out of custom_hooks with FullyShardedModel')
        with self._hold_work_dir(), StopRequest() as self.stop_request:
            self._choose_start()
            return super().train()

    def _hold_work_dir(self) -> contextlib.AbstractContextManager:
        if not is_main_process():
            return contextlib.nullcontext()
        return hold_folder(Path(self.work_dir), 'choose another --work-dir')

    def _choose_start(self) -> None:
        choice: list[str | None] = [None]
        if is_main_process():
            if left := remove_unfinished(Path(self.work_dir)):
                self.logger.warning(f'removed what a killed run left unfinished: {", ".join(left)}')
            choice = [self._checkpoint_to_resume()]
            tested = self.cfg.get('test_dataloader') or self.cfg.get('val_dataloader') or {}
            keep_tokenizers(Path(self.work_dir), tested.get('dataset', {}).get('pipeline') or ())
        broadcast_object_list(choice)
        self._resume_from = choice[0]
        if self._resume and self._resume_from is None:
            weights = '' if self._load_from is None else f' from the weights of {self._load_from}'
            self.logger.warning(f'nothing to resume in {self.work_dir}: training starts fresh{weights}')
        # Hooks ask for it, to join what earlier processes of this run logged.
        self._resume = self._resume_from is not None

    def load_or_resume(self) -> None:
        """Go on from the checkpoint that `train` chose, or load the weights that `load_from` names.

        A model that is only tested is folded then, as everywhere in inference.
        """
        if self._has_loaded:
            return
        if self._resume_from is not None:
            self.resume(self._resume_from)
        elif self._load_from is not None:
            self.load_checkpoint(self._load_from)
        if self._only_tests and not self.is_sharded and isinstance(self.bare_model, ReferringSegmentor):
            self.bare_model.fold()
        # Not before: a training that never begins must not leave its config in place of another's.
        if isinstance(self._train_loop, BaseLoop):
            self._keep_config()

    def dump_config(self) -> None:
        """Nothing yet: mmengine calls it for tests too, whose config is not that of the work dir's weights.

        The config of every run is in its own log folder, `<time>/vis_data/config.py`.
        """

    @master_only
    def _keep_config(self) -> None:
        """Write the config of this training to the work dir, whole or not at all."""
        name = Path(self.cfg.filename).name if self.cfg.filename else f'{self.timestamp}.py'
        path = Path(self.work_dir) / name
        temporary = temporary_name(path)
        temporary.write_text(self.cfg.pretty_text, encoding='utf-8')
        replace_durably(temporary, path)

    def _checkpoint_to_resume(self) -> str | None:
        work_dir = Path(self.work_dir)
        restarted = is_restarted(work_dir)
        found = latest_checkpoint(work_dir, since=started_at(work_dir)) if restarted else None
        if found is None and self._resume:
            found, chosen = latest_checkpoint(work_dir), self._load_from
            is_choice = chosen is not None and (found is None or Path(chosen).resolve().parent == work_dir.resolve())
            if is_choice and _holds_training_state(chosen):
                found = locate(chosen).weights
            elif found is not None and chosen is not None:
                self.logger.info(f'load_from={chosen} is not read: this work dir holds a later {found.name}')
        if found is None and not restarted:
            mark_start(work_dir)
        return None if found is None else str(found)

    def _take_over_seed(self, seed: int | None) -> None:
        own = self._randomness_cfg.get('seed')
        if seed is None or seed == own:
            return
        if own is not None:
            self.logger.warning(f'the seed of the checkpoint, {seed}, replaces that of the config, {own}')
        self._randomness_cfg.update(seed=seed)
        self.set_randomness(**self._randomness_cfg)


def _holds_training_state(filename: str) -> bool:
    return all(key in open_state_dict(locate(filename).weights).content for key in TRAINING_STATE)


def _load_for_mmengine(filename: str, map_location: str | Callable | None = None) -> dict:
    """What mmengine's own code (hooks that read checkpoints back) gets instead of its loader."""
    return load_pickle(Path(filename), 'cpu' if map_location is None else map_location)
