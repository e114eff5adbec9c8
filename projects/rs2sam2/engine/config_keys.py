"""The keys that a config may say: what no part of it takes is refused before anything is built."""

import inspect
from collections.abc import Iterator
from typing import Any

from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.runner import LogProcessor, Runner, set_random_seed
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.utils.data import DataLoader

from rs2sam2.engine.registered import Arguments, arguments, near
from rs2sam2.errors import ConfigError

_SLIP = 0.85  # a variable may be called anything, `optim_wrapper_cfg` too; so much alike it is a section with a slip
# What a config may say beside the arguments of a runner.
SECTIONS = {name for name in inspect.signature(Runner.__init__).parameters if name not in ('self', 'cfg')} | {
    'activation_checkpointing', 'compile', 'custom_imports', 'efficient_conv_bn_eval', 'find_unused_parameters',
    'model_wrapper_cfg', 'runner_type', 'scene', 'sync_bn',
}  # fmt: skip
LOADER = Arguments(arguments(DataLoader).names | {'dataset', 'num_batch_per_epoch', 'sampler'}, True)
# What the parts that have no `type` take.
UNTYPED = {
    '': Arguments(SECTIONS, True),
    'auto_scale_lr': Arguments({'enable', 'base_batch_size'}, True),
    'custom_imports': Arguments({'imports', 'allow_failed_imports'}, True),
    'env_cfg': Arguments({'cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit'}, True),
    'log_processor': arguments(LogProcessor),
    'optim_wrapper': arguments(OptimWrapper),
    'optim_wrapper.clip_grad': Arguments(
        (arguments(clip_grad_norm_).names | arguments(clip_grad_value_).names | {'type'}) - {'parameters'}, True
    ),
    'randomness': arguments(set_random_seed),
    'scene': Arguments({'window', 'gsd', 'trained_gsd', 'several'}, True),
    'test_dataloader': LOADER,
    'train_dataloader': LOADER,
    'val_dataloader': LOADER,
}
# What the builders take out before a part gets its arguments.
FOR_BUILDERS = {
    'type', '_scope_', '_delete_', 'by_epoch', 'constructor', 'convert_to_iter_based', 'optimizer', 'paramwise_cfg',
    'priority',
}  # fmt: skip


def refuse_unknown_keys(cfg: Config) -> None:
    """Refuse a config that says what nothing takes: a slip in a key would go unseen, or end a run late.

    Raises:
        ConfigError: a part that names all it takes is given something else, another one something almost like what it
            takes, or a variable is called almost like a section of the config.
    """
    for name in cfg:
        is_longer = any(name.startswith(f'{one}_') or name.endswith(f'_{one}') for one in SECTIONS)
        if name not in SECTIONS and not is_longer and (guess := near(name, SECTIONS, _SLIP)):
            raise ConfigError(f'{cfg.filename}: {name} is no section of a config{guess}')
    for where, node in _parts({name: cfg[name] for name in cfg if name in SECTIONS}):
        for key in node if where and where != 'default_hooks' else ():
            if (said := has_no({}, where, key, node.get('type'))) is not None:
                raise ConfigError(f'{cfg.filename}: {said}')


def has_no(node: dict, where: str, key: str, kind: str | type | None) -> str | None:
    """What to say where a part of a config does not take a key; None where it does, or may.

    Args:
        node: what the part says already.
        where: dotted path of the part.
        key: the key.
        kind: the part's `type`, if it has one.
    """
    takes = taken(where, kind)
    if key in takes.names or key in FOR_BUILDERS:
        return None
    has = takes.names | set(node)
    guess = near(key, has)
    if not takes.is_all and not guess and where != 'default_hooks':
        return None
    place = f'{where} ({kind})' if isinstance(kind, str) else where or 'the config'
    hint = guess or f'; it has {", ".join(sorted(map(str, has - FOR_BUILDERS)))}'
    return f'{place} has no {key}{hint}'


def taken(where: str, kind: str | type | None) -> Arguments:
    """What a part of the config takes."""
    if kind is None:
        return UNTYPED.get(where, Arguments(set(), False))
    # mmcv builds layers from `norm_cfg` and its like, and takes out what is its own.
    if '.' in where and where.endswith('_cfg'):
        return Arguments(set(), False)
    return arguments(kind)


def _parts(node: Any, where: str = '') -> Iterator[tuple[str, dict]]:
    """Every part of a config, with its dotted path."""
    if isinstance(node, dict):
        yield where, node
    for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield from _parts(value, f'{where}.{key}'.strip('.'))
