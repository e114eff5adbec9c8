"""Load published, converted and own weights into a model, strictly."""

from dataclasses import replace
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.model.weight_init import update_init_info
from torch import nn

from rs2sam2.errors import CheckpointError, ConfigError
from rs2sam2.weights.adapters import ADAPTERS
from rs2sam2.weights.adapters.adapter import OWN, Adapter, Conversion, detect, to_ours
from rs2sam2.weights.files import StateDictFile, open_state_dict
from rs2sam2.weights.targets import loaded_specs
from rs2sam2.weights.zoo import locate


def find_adapter(source: str) -> Adapter:
    """The adapter of a source; raises `ConfigError` for an unknown one."""
    if source not in ADAPTERS:
        raise ConfigError(f'unknown source of weights {source!r}: one of {", ".join(ADAPTERS)}')
    return ADAPTERS[source]


def adapter_of(file: StateDictFile, module: nn.Module) -> Adapter:
    """Find out whose weights a file holds: converted ones say so, else the names tell.

    Raises:
        CheckpointError: the names are neither the module's nor those of a source.
    """
    meta = file.content.get('meta')
    if isinstance(meta, dict) and meta.get('source') in ADAPTERS:
        return ADAPTERS[meta['source']].converted()
    own = module.state_dict()
    if 2 * sum(OWN.strip(name) in own for name in file) > len(file):
        return OWN
    if (adapter := detect(ADAPTERS, file)) is None:
        raise CheckpointError(
            f'{file.path} holds neither weights of this model nor of {", ".join(a.title for a in ADAPTERS.values())}: '
            f'its first entry is {next(iter(file))}'
        )
    return adapter


def plan_loading(module: nn.Module, adapter: Adapter, file: StateDictFile) -> tuple[Conversion, str]:
    """Plan how a file fills a segmentor or one component.

    Returns:
        The plan, and the prefix that the module's own names lack.

    Raises:
        CheckpointError: the file does not fit the module.
    """
    target, prefix = loaded_specs(adapter, module)
    plan = to_ours(adapter, file, target, part=prefix)
    for name in list(plan.mapped):
        if reason := adapter.why_computed(name):
            plan.dropped[plan.mapped.pop(name)] = reason
    resized = ''.join(f', {name} resized to {shape[0]} rows' for name, shape in plan.resized.items())
    print_log(
        f'load {adapter.title} weights from {file.path}: {len(plan.mapped)} entries, {len(plan.dropped)} dropped, '
        f'{len(plan.new)} of the model are not in the file{resized}',
        'current',
    )
    return plan, prefix


def load_into(module: nn.Module, adapter: Adapter, file: StateDictFile) -> Conversion:
    """Fill a segmentor or one component from a file; names that the source calls new keep their value.

    Raises:
        CheckpointError: the file does not fit the module, or holds numbers that it cannot hold; the module is then
            untouched.
    """
    plan, prefix = plan_loading(module, adapter, file)
    for _ in plan.tensors():
        pass  # All of them are looked at before the first is copied: the last one may be bad.
    copy_into(module, plan, prefix)
    return plan


@torch.no_grad()
def copy_into(module: nn.Module, plan: Conversion, prefix: str) -> None:
    """Copy what a plan maps, one mapped tensor at a time.

    Raises:
        CheckpointError: an entry holds numbers that the module cannot hold; what came before it is copied.
    """
    own = module.state_dict()
    for name, tensor in plan.tensors():
        own[name.removeprefix(prefix)].copy_(tensor)


class OfficialWeights:
    """Initialise a segmentor or one component from published weights: `init_cfg=dict(type='OfficialWeights', ...)`.

    Args:
        source: a key of `ADAPTERS`, such as 'rs2sam2', 'sam2' or 'swin' (docs/weights.md lists them).
        checkpoint: the published file or folder, or what `tools/model_converters/convert.py` made of it; a name that
            `rs2sam2 models` lists, or `hf:user/repo[@revision][/folder]`, which is fetched.
        resize_positions: whether the union encoder of a whole model may be trained at another resolution: its vision
            positions are resized bicubically, as BEiT-3's own are in any case.

    Raises:
        ConfigError: the source is unknown.
    """

    def __init__(self, source: str, checkpoint: str, resize_positions: bool = False) -> None:
        self.adapter = find_adapter(source)
        if resize_positions:
            self.adapter = replace(self.adapter, resized=ADAPTERS['beit3'].resized)
        self.checkpoint = checkpoint

    def __call__(self, module: nn.Module) -> None:
        """Fill the module; raises `CheckpointError` where the file is missing or does not fit it."""
        what = f'{self.adapter.title} weights, published at {self.adapter.published}'
        file = open_state_dict(locate(self.checkpoint, what).weights)
        meta: Any = file.content.get('meta')
        is_converted = isinstance(meta, dict) and meta.get('source') == self.adapter.source
        load_into(module, self.adapter.converted() if is_converted else self.adapter, file)
        if hasattr(module, '_params_init_info'):
            update_init_info(module, init_info=f'{self.adapter.title} weights from {self.checkpoint}')
