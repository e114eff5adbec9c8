"""Sharded training: weights, gradients and optimizer states divided among the processes (FSDP2's `fully_shard`).

Checkpoints know nothing of it: they hold whole tensors under the same names as without, so that weights and optimizer
states go from sharded to replicated training (DDP), to another number of processes, and back.
"""

import re
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.device import get_device
from mmengine.dist import broadcast, get_world_size, is_main_process
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from rs2sam2.errors import ConfigError


class FullyShardedModel(nn.Module):
    """Model wrapper that gives each process its part of every parameter; `model_wrapper_cfg=dict(type=...)`.

    A unit's parameters are gathered before it computes and let go afterwards, in the forward and the backward pass;
    its gradients are averaged over the processes in fp32 and divided. Autocast works as without, so a step is that of
    DDP up to rounding. What belongs to no unit (embeddings, decode head, projections) stays gathered during a step.

    The weights are initialised here, while they are whole, and are those of the first process.

    Args:
        module: the model, whole, on its device; changed in place.
        units: regular expressions of the modules' names that are gathered one by one, used, and let go again; each must
            be called as a module. None asks the model for its `shard_units`.

    Raises:
        ConfigError: no module has such a name.
    """

    def __init__(self, module: nn.Module, units: Sequence[str] | None = None) -> None:
        super().__init__()
        units = getattr(module, 'shard_units', ()) if units is None else units
        found = [child for name, child in module.named_modules() if any(re.fullmatch(unit, name) for unit in units)]
        if not found:
            raise ConfigError(
                f'model_wrapper_cfg.units: no part of {type(module).__name__} is named {" or ".join(units)}'
            )
        if hasattr(module, 'init_weights'):
            module.init_weights()
        for tensor in module.state_dict().values():
            broadcast(tensor)
        mesh = init_device_mesh(get_device(), (get_world_size(),))
        # Inner ones first, should some contain others.
        for child in reversed(found):
            fully_shard(child, mesh=mesh)
        self.module = fully_shard(module, mesh=mesh)
        parameters = list(module.parameters())
        own, total = sum(p.to_local().numel() for p in parameters), sum(p.numel() for p in parameters)
        print_log(
            f'sharded over {mesh.size()} processes, {len(found)} parts gathered one by one: {own:,} of {total:,} '
            'parameters here',
            'current',
        )

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The model's."""
        return self.module(*args, **kwargs)

    def train_step(self, data: dict | tuple | list, optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        """One step of training; mmengine's loops call it."""
        return self.module.train_step(data, optim_wrapper)

    def val_step(self, data: dict | tuple | list) -> list:
        """Predict a batch in validation."""
        return self.module.val_step(data)

    def test_step(self, data: dict | tuple | list) -> list:
        """Predict a batch in testing."""
        return self.module.test_step(data)


@torch.no_grad()
def fill(own: Tensor, whole: Tensor) -> None:
    """Copy a whole tensor into one of a model's; of a sharded one each process copies its part."""
    if isinstance(own, DTensor):
        own.to_local().copy_(_rows(whole, own))
    else:
        own.copy_(whole)


def whole_state_dict(module: nn.Module) -> dict[str, Tensor]:
    """State dict of a module on the CPU, whole; all processes must call it.

    Returns:
        The tensors by name on the first process, nothing on the others.
    """
    return _gather(module.state_dict())


def share_optimizer_state(optimizer: Optimizer) -> None:
    """Make the optimizer of a sharded model write and read whole states, as one of a model that is not sharded.

    From now on all processes must call `state_dict` together; its states are on the CPU of the first process, and the
    others have none.
    """
    optimizer.register_state_dict_post_hook(_gather_optimizer)
    optimizer.register_load_state_dict_pre_hook(_shard_optimizer)


def _rows(whole: Tensor, own: DTensor) -> Tensor:
    """This process's rows of a whole tensor; `fully_shard` divides rows as `Tensor.chunk` does."""
    parts, rank = whole.chunk(own.device_mesh.size()), own.device_mesh.get_local_rank()
    return parts[rank] if rank < len(parts) else whole[:0]


def _divide(whole: Tensor, like: DTensor) -> DTensor:
    rows = _rows(whole, like).to(like.device, copy=True)
    return DTensor.from_local(
        rows, like.device_mesh, like.placements, run_check=False, shape=like.shape, stride=like.stride()
    )


def _gather(tensors: dict[str, Any]) -> dict[str, Any]:
    """Gather tensor by tensor, so that a device never holds more than one whole one."""
    gathered = {}
    for name, tensor in tensors.items():
        whole = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        if is_main_process():
            gathered[name] = whole.cpu() if isinstance(whole, Tensor) else whole
    return gathered


def _gather_optimizer(optimizer: Optimizer, state_dict: dict) -> dict:
    states = {index: _gather(state) for index, state in state_dict['state'].items()}
    return {**state_dict, 'state': states if is_main_process() else {}}


def _shard_optimizer(optimizer: Optimizer, state_dict: dict) -> dict:
    own = (p for group in optimizer.param_groups for p in group['params'])
    saved = (index for group in state_dict['param_groups'] for index in group['params'])
    # A state of the parameter's shape is divided like it; a count of steps is not.
    states = {
        index: {
            key: _divide(value, parameter) if isinstance(value, Tensor) and value.dim() else value
            for key, value in state_dict['state'].get(index, {}).items()
        }
        for index, parameter in zip(saved, own, strict=True)
    }
    return {**state_dict, 'state': states}
