"""Build a model that a file is about to fill: no number is drawn that would be overwritten at once."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from rs2sam2.errors import CheckpointError
from rs2sam2.weights.adapters import Conversion
from rs2sam2.weights.files import StateDictFile
from rs2sam2.weights.loading import adapter_of, copy_into, plan_loading

# Methods by which `nn.init` fills a tensor.
DRAWN = ('normal_', 'uniform_', 'zero_', 'fill_', 'erfinv_', 'mul_', 'add_', 'clamp_')


class _NoNumbers(TorchFunctionMode):
    """Leaves tensors without numbers as they are where starting values would be drawn.

    torch would compute the shape of what it draws, and import its compiler to do so.
    """

    def __torch_function__(
        self, func: Callable, types: Iterable[type], args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """Called in place of any function of torch's."""
        kwargs = kwargs or {}
        if getattr(func, '__module__', None) == nn.init.__name__ or getattr(func, '__name__', None) in DRAWN:
            tensor = args[0] if args else kwargs.get('tensor')
            if isinstance(tensor, Tensor) and tensor.is_meta:
                return tensor
        return func(*args, **kwargs)


@contextlib.contextmanager
def without_starting_values() -> Iterator[None]:
    """Modules built within have parameters with a shape and no numbers, on the device `meta`; buffers are real."""
    register = nn.Module.register_parameter

    def register_empty(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        register(module, name, parameter)
        if parameter is not None:
            module._parameters[name] = nn.Parameter(parameter.to('meta'), parameter.requires_grad)

    nn.Module.register_parameter = register_empty
    try:
        with _NoNumbers():
            yield
    finally:
        nn.Module.register_parameter = register


def give_memory(model: nn.Module, device: str | torch.device) -> nn.Module:
    """Give the empty parameters of a model memory on a device, not yet any numbers, and bring its buffers there."""
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None and parameter.is_meta:
                empty = torch.empty(parameter.shape, dtype=parameter.dtype, device=device)
                module._parameters[name] = nn.Parameter(empty, parameter.requires_grad)
    return model.to(device)


@torch.no_grad()
def zero_new(model: nn.Module, plan: Conversion) -> None:
    """Set the parameters to 0 that a file lacks by right, in a model that was built without starting values.

    No mask depends on them: low-rank updates begin at 0, and EVF-SAM2's text projection is read by no part of it.
    """
    parameters = dict(model.named_parameters())
    for name in plan.new:
        if name in parameters:
            parameters[name].zero_()


def build_filled(
    config: dict, file: StateDictFile, device: str | torch.device = 'cpu', fold: bool = False
) -> nn.Module:
    """Build a whole model and fill it from a checkpoint of ours or a published file, strictly.

    The numbers go from the mapped file straight to the device, each once.

    Args:
        config: config of the model.
        file: the open file or folder.
        device: where the model shall be.
        fold: whether it is for inference only; see `ReferringSegmentor.fold`.

    Returns:
        The model in eval mode.

    Raises:
        CheckpointError: the file does not fit the model, or holds a part of it only.
    """
    with without_starting_values():
        model = MODELS.build(config)
    adapter = adapter_of(file, model)
    if not adapter.whole:
        raise CheckpointError(
            f'{file.path} holds {adapter.title} weights, a part of the model: name a whole checkpoint'
        )
    # A model that turns out to be bad is dropped: no entry needs to be looked at before the first is copied.
    plan, prefix = plan_loading(model, adapter, file)
    give_memory(model, device)
    if fold:
        model.lay_out()
    copy_into(model, plan, prefix)
    zero_new(model, plan)
    return model.fold() if fold else model.eval()
