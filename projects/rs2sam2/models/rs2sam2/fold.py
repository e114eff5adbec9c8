"""Fold what training keeps apart: an inference model computes the same with fewer and larger products."""

from collections.abc import Iterator
from math import prod

import torch
from torch import Tensor, nn

from rs2sam2.models.common.lora import merge_lora
from rs2sam2.models.rs2sam2.hiera import MLP


def fold_for_inference(model: nn.Module) -> nn.Module:
    """Fold adapters and LoRA into the weights beside them and keep SAM2's position encoding, in place; set eval mode.

    A parallel adapter reads what the MLP reads, and its output is added to the MLP's: both are one MLP of width 4.25 d,
    exactly. Where `lay_out` came before, nothing is copied; else one block at a time, so that there are never two
    models in memory. A folded model is for inference only: its state dict no longer fits the architecture, and asking
    for it is refused.

    Args:
        model: an `RS2SAM2` with its final weights; `slots` of another neck are folded likewise.

    Returns:
        The same model, folded; what is not there, or was folded before, is left alone.
    """
    model.eval().requires_grad_(False)
    merge_lora(model.union_encoder)
    head = model.decode_head
    head.fixed_position = head.position(head.prompt_encoder.image_embedding_size).detach()
    for mlp, slot in _pairs(model):
        _fold(mlp, slot.adapter)
        slot.adapter = None
    if hasattr(model.neck, 'slots'):
        model.register_state_dict_pre_hook(_refuse_state_dict)
    return model


def lay_out(model: nn.Module) -> None:
    """Put beside each other in memory what `fold_for_inference` joins.

    Args:
        model: an `RS2SAM2` whose weights are about to be filled; their numbers are lost.
    """
    for mlp, slot in _pairs(model):
        (first, second), (down, up) = mlp.layers, (slot.adapter.down, slot.adapter.up)
        for one, two, name, dim in ((first, down, 'weight', 0), (first, down, 'bias', 0), (second, up, 'weight', 1)):
            sizes = [getattr(layer, name).shape[dim] for layer in (one, two)]
            whole = getattr(one, name).new_empty(_joined_shape(getattr(one, name), getattr(two, name), dim))
            for layer, part in zip((one, two), whole.split(sizes, dim), strict=True):
                setattr(layer, name, nn.Parameter(part, requires_grad=False))


def _pairs(model: nn.Module) -> Iterator[tuple[MLP, nn.Module]]:
    """Every block's MLP with the slot whose adapter can be folded into it."""
    slots = getattr(model.neck, 'slots', ())
    for block, slot in zip(model.backbone.trunk.blocks if slots else (), slots, strict=True):
        if slot.adapter is not None:
            yield block.mlp, slot


@torch.no_grad()
def _fold(mlp: MLP, adapter: nn.Module) -> None:
    """Widen an MLP by an adapter's hidden units."""
    (first, second), (down, up) = mlp.layers, (adapter.down, adapter.up)
    for parameter in up.parameters():
        parameter.mul_(adapter.rate)
    first.weight = nn.Parameter(_join(first.weight, down.weight, 0), requires_grad=False)
    first.bias = nn.Parameter(_join(first.bias, down.bias, 0), requires_grad=False)
    second.weight = nn.Parameter(_join(second.weight, up.weight, 1), requires_grad=False)
    second.bias = nn.Parameter(second.bias + up.bias, requires_grad=False)
    first.out_features = second.in_features = len(first.weight)


def _join(one: Tensor, two: Tensor, dim: int) -> Tensor:
    """Both in one tensor: the memory that they share where they were laid out in it, else a copy."""
    storage, shape = one.untyped_storage(), _joined_shape(one, two, dim)
    if storage.data_ptr() == two.untyped_storage().data_ptr() and storage.nbytes() == prod(shape) * one.itemsize:
        return one.new_empty(0).set_(storage, 0, shape)
    return torch.cat((one, two), dim)


def _joined_shape(one: Tensor, two: Tensor, dim: int) -> list[int]:
    shape = list(one.shape)
    shape[dim] += two.shape[dim]
    return shape


def _refuse_state_dict(*_: object) -> None:
    raise RuntimeError('this model is folded for inference and cannot be saved: save it before fold_for_inference')
