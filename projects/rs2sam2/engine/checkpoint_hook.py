"""When checkpoints are written and old ones removed, so that a kill at any moment loses neither."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.dist import barrier, is_main_process
from mmengine.fileio import LocalBackend
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from rs2sam2.engine.registered import near
from rs2sam2.engine.train_loop import ResumableTrainLoop
from rs2sam2.engine.work_dir import ANY_NAME, latest_checkpoint, name_latest, named_inside
from rs2sam2.errors import ConfigError
from rs2sam2.signals import Stopped

WITHIN_EPOCH = 'resume_iter_{}.pth'


class DurableCheckpointHook(CheckpointHook):
    """mmengine's `CheckpointHook`, which removes an old checkpoint only when its successor is on disk.

    Between the checkpoints of epochs it can write `resume_iter_<n>.pth`, of which there is never more than one: the
    next checkpoint, of either kind, takes its place. Like every checkpoint it is written between two windows of
    accumulated gradients. It is written too where a signal asks the training to stop (`rs2sam2.engine.stopping`), which
    then ends with the signal's exit status.

    Args:
        every_iters: iterations between checkpoints within an epoch; None for none. Needs `by_epoch=True`.
        **kwargs: those of `CheckpointHook`; `max_keep_ckpts` counts checkpoints of epochs.

    Raises:
        ConfigError: `every_iters` without `by_epoch`, or an argument for another place than the work dir.
    """

    def __init__(self, every_iters: int | None = None, **kwargs) -> None:
        if every_iters is not None and (every_iters < 1 or not kwargs.get('by_epoch', True)):
            raise ConfigError(
                f'DurableCheckpointHook: every_iters={every_iters} must be positive and needs by_epoch=True; '
                'by iterations set interval'
            )
        if kwargs.get('file_client_args') or kwargs.get('backend_args') or kwargs.get('out_dir'):
            raise ConfigError(
                'DurableCheckpointHook writes to the work dir: leave out out_dir, file_client_args and backend_args, '
                'and name the folder with --work-dir'
            )
        super().__init__(**kwargs)
        self.every_iters = every_iters
        # Iterations since a checkpoint, and the iteration of the last one.
        self._iters = 0
        self._written_at: int | None = None

    def before_train(self, runner: Runner) -> None:
        """Find out what there is, and remove what a killed run had no time to remove."""
        self._trust_own_names(runner)
        super().before_train(runner)
        self.file_backend = _RemovesLater()
        if request := getattr(runner, 'stop_request', None):
            request.is_noted = True
        # Else a best checkpoint of the validation that a resumed run begins with would not be noted in the last one.
        self.last_ckpt = runner.message_hub.runtime_info.get('last_ckpt')

    def _trust_own_names(self, runner: Runner) -> None:
        """Keep of what the resumed checkpoint says of files only those that lie in this work dir.

        It says where the best and the last checkpoints were, and this hook removes what is replaced. Of a run that was
        resumed from another folder, or from a copy, those are another run's; of a made-up checkpoint, anybody's.
        """
        info, folder = runner.message_hub.runtime_info, Path(runner.work_dir)
        resumed = getattr(runner, 'resumed_from', None)
        is_own = resumed is None or resumed.resolve().parent == folder.resolve()
        for key in [key for key in info if key.startswith('best_ckpt')]:
            score = key.replace('best_ckpt', 'best_score', 1)
            best = named_inside(folder, info[key], self._best_name(key)) if is_own else None
            if best is not None and _is_number(info.get(score)):
                info[key] = str(best)
                continue
            runner.logger.warning(
                f'the best checkpoint so far, {info[key]}, is none of this work dir: it is left alone, and the next '
                'validation is the first to be compared with'
            )
            for forgotten in (key, score):
                info.pop(forgotten, None)
        last = named_inside(folder, info.pop('last_ckpt', None), ANY_NAME) if is_own else None
        if last is not None:
            info['last_ckpt'] = str(last)
        steps = info.pop('keep_ckpt_ids', None)
        if is_own and isinstance(steps, (list, tuple)) and all(type(step) is int for step in steps):
            info['keep_ckpt_ids'] = list(steps)

    def _best_name(self, key: str) -> re.Pattern:
        """What a best checkpoint noted under a key of the message hub is called."""
        metric = key.removeprefix('best_ckpt').removeprefix('_') or (self.save_best or ['auto'])[0]
        metric = '.+' if metric == 'auto' else re.escape(metric.replace('/', '_'))
        before, _, after = self.filename_tmpl.partition('{}')
        return re.compile(rf'best_{metric}_{re.escape(before)}\d+{re.escape(after)}')

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        """Write a checkpoint within the epoch where it is due or training shall stop; mmengine's by iterations."""
        super().after_train_iter(runner, batch_idx, data_batch, outputs)
        if not runner.optim_wrapper.should_update():
            self._iters += 1
            return
        number = self._asked_to_stop(runner)
        self._iters += 1
        if self.by_epoch and batch_idx + 1 == len(runner.train_dataloader):
            # The end of the epoch comes next.
            return
        # Only this loop goes on within an epoch.
        can_go_on = not self.by_epoch or isinstance(runner.train_loop, ResumableTrainLoop)
        is_due = self.every_iters is not None and self._iters >= self.every_iters
        if is_due or (number and can_go_on):
            self._write_between(runner, runner.epoch, runner.iter + 1)
        if number:
            self._stop(runner, number)

    def after_train_epoch(self, runner: Runner) -> None:
        """Write a checkpoint where it is due or training shall stop."""
        super().after_train_epoch(runner)
        if number := self._asked_to_stop(runner):
            self._write_between(runner, runner.epoch + 1, runner.iter)
            self._stop(runner, number)

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: list | None = None
    ) -> None:
        """Stop where that is asked for; the validation is made up for when training goes on."""
        if number := self._asked_to_stop(runner):
            runner.message_hub.update_info('epoch_validated', None)
            self._write_between(runner, runner.epoch, runner.iter)
            self._stop(runner, number)

    def _asked_to_stop(self, runner: Runner) -> int | None:
        request = getattr(runner, 'stop_request', None)
        return None if request is None else request.agreed()

    def _write_between(self, runner: Runner, epoch: int, iteration: int) -> None:
        """Write `resume_iter_<n>.pth`, where there is no checkpoint of this iteration yet."""
        if self._written_at == iteration:
            return
        runner.logger.info(f'Saving checkpoint at {iteration} iterations')
        self._write(runner, WITHIN_EPOCH.format(iteration), dict(epoch=epoch, iter=iteration))

    def _stop(self, runner: Runner, number: int) -> None:
        # A launcher ends all processes when the first one is gone: not before the file has its name.
        barrier()
        last = latest_checkpoint(Path(runner.work_dir)) if is_main_process() else None
        text = ' before the first checkpoint' if last is None else f'; --resume goes on from {last}'
        raise Stopped(number, text)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        # Called again when validation finds a new best, which is on disk by then: the old one may go.
        self._remove_old_best()
        name = self.filename_tmpl.format(step)
        old = []
        if self.max_keep_ckpts > 0:
            steps = list(self.keep_ckpt_ids)
            steps += [] if step in steps else [step]
            # Written with those that are about to go, so that a run killed before they went removes them when it
            # is resumed.
            runner.message_hub.update_info('keep_ckpt_ids', steps)
            old = [self.filename_tmpl.format(one) for one in steps[: -self.max_keep_ckpts]]
            self.keep_ckpt_ids.clear()
            self.keep_ckpt_ids.extend(steps[-self.max_keep_ckpts :])
        self.last_ckpt = str(Path(self.out_dir) / name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        self._write(runner, name, meta, old)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        for metric in self.save_best or ():
            if metrics and metric != 'auto' and metric not in metrics:
                raise ConfigError(
                    f'default_hooks.checkpoint.save_best={metric!r}{near(metric, set(metrics))}: there are '
                    f'{", ".join(map(str, metrics))}; set one of these and --resume'
                )
        super()._save_best_checkpoint(runner, metrics)
        self._remove_old_best()

    def _remove_old_best(self) -> None:
        best = getattr(self, 'best_ckpt_path_dict', None) or {None: getattr(self, 'best_ckpt_path', None)}
        for path in self.file_backend.due:
            if path not in best.values():
                Path(path).unlink(missing_ok=True)
        self.file_backend.due.clear()

    def _write(self, runner: Runner, name: str, meta: dict, old: Sequence[str] = ()) -> None:
        """Write a checkpoint, name it as the latest, then remove the old ones."""
        runner.save_checkpoint(
            self.out_dir,
            name,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            **self.args,
        )
        self._iters, self._written_at = 0, meta['iter']
        if not is_main_process():
            return
        folder = Path(self.out_dir)
        name_latest(Path(runner.work_dir), str(folder / name))
        passed = re.compile(WITHIN_EPOCH.replace('.', r'\.').format(r'\d+'))
        replaced = [path for path in folder.glob('*.pth') if passed.fullmatch(path.name)]
        for path in [*replaced, *(folder / one for one in old)]:
            if path.name != name:
                path.unlink(missing_ok=True)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


class _RemovesLater(LocalBackend):
    """Notes the files that mmengine's hook would remove."""

    def __init__(self) -> None:
        super().__init__()
        self.due: list[str] = []

    def remove(self, filepath: str) -> None:
        self.due.append(filepath)
