"""Optimizer groups: base, no decay, fusion learning rate, frozen; every parameter in exactly one."""

import math
from fnmatch import fnmatchcase
from numbers import Real
from typing import ClassVar

from mmengine.dist import is_main_process
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper
from mmseg.registry import OPTIM_WRAPPERS, OPTIMIZERS
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.optim import Optimizer

from rs2sam2.errors import CheckpointError, ConfigError
from rs2sam2.weights.adapters.adapter import is_finite

# Settings that one kind of optimizer has and another lacks; and those that need a state of their own.
CHARACTERISTIC = ('betas', 'momentum', 'alpha', 'rho', 'lr_decay', 'momentum_decay')
NEED_STATE = ('amsgrad', 'centered')


class RefSegOptimWrapperConstructor:
    """Build an optimizer of up to three groups and print who is in which.

    Args:
        optim_wrapper_cfg: config of the wrapper, with `optimizer`.
        paramwise_cfg: `fusion_lr_mult`, the learning rate of the fusion group as a multiple of the base one, and
            optionally `fusion`, the prefixes of that group's parameters (default: fusion neck, mask prompt generator
            and text gate, as in the paper); and `no_decay`, patterns (`*`, `?`) of names whose parameters are not
            decayed (default: none, as in the paper).
    """

    FUSION: ClassVar[tuple[str, ...]] = ('neck.', 'mask_prompt_generator.', 'decode_head.text_gate.')

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        paramwise_cfg = dict(paramwise_cfg or {})
        self.optim_wrapper_cfg = dict(optim_wrapper_cfg)
        self.fusion_lr_mult = paramwise_cfg.pop('fusion_lr_mult', 1.0)
        self.is_chosen = 'fusion' in paramwise_cfg
        self.fusion = tuple(paramwise_cfg.pop('fusion', self.FUSION))
        self.no_decay = tuple(paramwise_cfg.pop('no_decay', ()))
        if paramwise_cfg:
            raise ConfigError(f'paramwise_cfg has {sorted(paramwise_cfg)}; it knows fusion_lr_mult, fusion, no_decay')

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Build the optimizer of a model and its wrapper.

        Raises:
            ConfigError: nothing trains, or a prefix that the config gives the fusion group fits no parameter.
        """
        model = model.module if is_model_wrapper(model) else model
        groups = self.split(model)
        for prefix in self.fusion if self.is_chosen else ():
            if not any(name.startswith(prefix) for name, _ in model.named_parameters()):
                raise ConfigError(
                    f'paramwise_cfg.fusion: no parameter begins with {prefix!r}; leave it out, or take one of '
                    f'{", ".join(sorted({name.split(".")[0] + "." for name, _ in model.named_parameters()}))}'
                )
        if not any(groups[name] for name in ('base', 'no_decay', 'fusion')):
            raise ConfigError('the model has no parameter that trains; unfreeze a part of it in the config')
        wrapper_cfg = dict(self.optim_wrapper_cfg)
        optimizer_cfg = dict(wrapper_cfg.pop('optimizer'))
        lr = optimizer_cfg.get('lr')
        if not isinstance(lr, Real):
            raise ConfigError(f'optim_wrapper.optimizer.lr={lr!r}: a number above 0')
        rates = dict(base=lr, no_decay=lr, fusion=lr * self.fusion_lr_mult)
        optimizer_cfg['params'] = [
            dict(params=[p for _, p in groups[name]], lr=rate, name=name)
            | (dict(weight_decay=0.0) if name == 'no_decay' else {})
            for name, rate in rates.items()
            if groups[name]
        ]
        if is_main_process():
            print_log(f'optimizer groups\n{describe(groups, rates)}', 'current')
        return OPTIM_WRAPPERS.build(
            dict(type=wrapper_cfg.pop('type', 'OptimWrapper'), optimizer=OPTIMIZERS.build(optimizer_cfg), **wrapper_cfg)
        )

    def split(self, model: nn.Module) -> dict[str, list[tuple[str, nn.Parameter]]]:
        """Named parameters of each group: base, no_decay, fusion, frozen."""
        groups: dict[str, list[tuple[str, nn.Parameter]]] = dict(base=[], no_decay=[], fusion=[], frozen=[])
        for name, parameter in model.named_parameters():
            if not parameter.requires_grad:
                group = 'frozen'
            elif any(fnmatchcase(name, pattern) for pattern in self.no_decay):
                group = 'no_decay'
            else:
                group = 'fusion' if name.startswith(self.fusion) else 'base'
            groups[group].append((name, parameter))
        return groups


def refuse_other_state(optimizer: Optimizer, state_dict: dict, kind: str | None = None) -> None:
    """Check that an optimizer's state dict belongs to it and to the parameters that it has.

    Args:
        optimizer: the optimizer.
        state_dict: what a checkpoint holds.
        kind: class of the optimizer that it comes from, where the checkpoint says so.

    Raises:
        CheckpointError: it is that of another kind of optimizer, has other groups, states of other shapes, or NaN.
    """
    own = optimizer.param_groups
    try:
        saved, states = list(state_dict['param_groups']), dict(state_dict['state'])
        problem = _other_kind(optimizer, saved, kind) or _misfit(own, saved, states)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        problem = f'it is damaged ({type(error).__name__}: {error})'
    if problem:
        raise CheckpointError(
            f'the optimizer state in the checkpoint does not fit this training: {problem}; resume with the config that '
            'it was trained with, or start from its weights with load_from and without --resume'
        )


def _other_kind(optimizer: Optimizer, saved: list[dict], kind: str | None) -> str | None:
    own = type(optimizer).__name__
    if kind is not None and kind != own:
        return f'it is of {kind}, the config has {own}'
    # Checkpoints that do not say their kind show it by their settings.
    settings, others = ({key for group in groups for key in group} for groups in (optimizer.param_groups, saved))
    if lacking := [key for key in CHARACTERISTIC if (key in settings) != (key in others)]:
        return f'it is of another kind of optimizer than {own} ({", ".join(lacking)})'
    for key in NEED_STATE:
        if any(group.get(key) for group in optimizer.param_groups) and not any(group.get(key) for group in saved):
            return f'it was trained without {key}'
    return None


def _misfit(own: list[dict], saved: list[dict], states: dict) -> str | None:
    counts, saved_counts = ([len(group['params']) for group in groups] for groups in (own, saved))
    if counts != saved_counts:
        return f'groups of {saved_counts} tensors, {counts} train here'
    parameters, indices = ([one for group in groups for one in group['params']] for groups in (own, saved))
    for parameter, index in zip(parameters, indices, strict=True):
        for key, value in states.get(index, {}).items():
            if not isinstance(value, Tensor):
                continue
            # Counts of steps have no dimension.
            if value.dim() and value.shape != parameter.shape:
                return f'{key} of {tuple(value.shape)} for a parameter of {tuple(parameter.shape)}'
            if not is_finite(value, parameter.dtype):
                return f'{key} of parameter {index} holds NaN or infinity'
    return None


def describe(groups: dict[str, list[tuple[str, nn.Parameter]]], rates: dict[str, float]) -> str:
    """Table of the groups by component, and a list of what is frozen outside the backbone.

    That is what this configuration never reads and keeps only so that published weights convert without loss, and a
    union encoder that is not trained.
    """
    table = Table('group', 'learning rate', 'part', 'tensors', 'parameters')
    for group, members in groups.items():
        parts: dict[str, list[nn.Parameter]] = {}
        for name, parameter in members:
            depth = 2 if name.startswith('decode_head.') else 1
            parts.setdefault('.'.join(name.split('.')[:depth]), []).append(parameter)
        for part, parameters in parts.items():
            count = sum(math.prod(p.shape) for p in parameters)
            rate = f'{rates[group]:.1e}' if group in rates else '-'
            table.add_row(group, rate, part, f'{len(parameters):,}', f'{count:,}')
        table.add_section()
    console = Console(width=100, no_color=True)
    with console.capture() as capture:
        console.print(table)
    names = [name for name, _ in groups['frozen'] if not name.startswith('backbone.')]
    kept = sorted({'.'.join(name.split('.')[:5]) for name in names})
    return capture.get() + (f'frozen outside the backbone: {", ".join(kept)}\n' if kept else '')
