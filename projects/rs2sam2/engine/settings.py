"""Settings of optimizer and schedules when a training is resumed: the config's count, and what differs is said."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.optim import OptimWrapper, _ParamScheduler

from rs2sam2.errors import CheckpointError

# What a schedule's state holds beside its settings.
PROGRESS = ('last_step', '_global_step', '_last_value', 'base_values', 'best', 'num_bad_epochs', 'cooldown_counter')
# A schedule's settings follow from these, which are settings of the optimizer.
INITIAL = 'initial_'
DERIVED = (INITIAL, 'max_', 'min_')


class TrainingSettings:
    """What a config says of optimizer and schedules, noted before a checkpoint is loaded.

    A checkpoint carries the settings that it was trained with (learning rates, weight decay, milestones) together with
    the progress that resuming needs. Where both say the same, the progress is taken as it was saved. Where they differ
    the user has changed the config on purpose: its settings are used, and its schedules are run forward to where
    training stands.

    Args:
        optim_wrapper: as built, no step made.
        schedules: as built.
    """

    def __init__(self, optim_wrapper: OptimWrapper, schedules: Sequence[_ParamScheduler]) -> None:
        self._optim_wrapper, self._schedules = optim_wrapper, schedules
        self._groups = [_without_params(group) for group in optim_wrapper.param_groups]
        self._described = [_describe(one.state_dict()) for one in schedules]

    def changes(self, saved: Sequence[Mapping[str, Any]], schedules: Sequence[Mapping[str, Any]] | None) -> list[str]:
        """What the config says otherwise than the checkpoint, one text each.

        Args:
            saved: the groups of the checkpoint's optimizer.
            schedules: the states of its schedules; None where it has none.
        """
        found = {}
        for own, other in zip(self._groups, saved, strict=False):
            mine, theirs = _base(own), _base(other)
            for key in mine:
                if key in theirs and mine[key] != theirs[key]:
                    group = f' of the group {own["name"]}' if len(saved) > 1 and 'name' in own else ''
                    found[f'{key}{group}'] = (mine[key], theirs[key])
        if schedules is None:
            schedules = []
        # A schedule's state does not tell its kind: it is told by its settings.
        others = [_describe(state) for state in schedules]
        for number, own in enumerate(self._described):
            kept = others[number] if number < len(others) else None
            kind = type(self._schedules[number]).__name__
            if kept is None or own.keys() != kept.keys():
                found[kind] = ('as in the config', 'none' if kept is None else 'another schedule')
                continue
            for key in own:
                if own[key] != kept[key]:
                    found[f'{kind}.{key}'] = (own[key], kept[key])
        if len(others) > len(self._described):
            found['schedules'] = (len(self._described), len(others))
        return [f'{what} {mine} (checkpoint: {theirs})' for what, (mine, theirs) in found.items()]

    def restore(self, epochs: int, iterations: int, epoch_length: int) -> None:
        """Put the config's settings back after the optimizer was loaded, and run its schedules forward.

        Args:
            epochs: epochs that are behind.
            iterations: iterations that are behind.
            epoch_length: iterations of an epoch.

        Raises:
            CheckpointError: a schedule follows past scores, which nobody kept.
        """
        for schedule in self._schedules:
            if getattr(schedule, 'need_val_args', False):
                raise CheckpointError(
                    f'{type(schedule).__name__} depends on past scores: it goes on only with the settings that the '
                    'checkpoint was trained with; start from its weights with load_from and without --resume'
                )
        for group, own in zip(self._optim_wrapper.param_groups, self._groups, strict=True):
            parameters = group['params']
            group.clear()
            group.update(copy.deepcopy(own), params=parameters)
        # Else a schedule warns that it steps before the optimizer did.
        self._optim_wrapper._global_step = 0
        done = 0
        if not any(not schedule.by_epoch for schedule in self._schedules):
            iterations = 0
        for iteration in range(1, iterations + 1):
            self._step(by_epoch=False)
            if iteration % epoch_length == 0 and done < epochs:
                self._step(by_epoch=True)
                done += 1
        for _ in range(done, epochs):
            self._step(by_epoch=True)

    def _step(self, by_epoch: bool) -> None:
        for schedule in self._schedules:
            if schedule.by_epoch == by_epoch:
                schedule.step()


def _without_params(group: Mapping[str, Any]) -> dict[str, Any]:
    return copy.deepcopy({key: value for key, value in group.items() if key != 'params'})


def _base(group: Mapping[str, Any]) -> dict[str, Any]:
    """A group's settings before any schedule changed them."""
    names = [key for key in group if key != 'params' and not key.startswith(DERIVED)]
    return {key: _plain(group.get(INITIAL + key, group[key])) for key in names}


def _describe(state: Mapping[str, Any]) -> dict[str, Any]:
    """A schedule's settings."""
    return {key: _plain(value) for key, value in state.items() if key not in PROGRESS and not callable(value)}


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
