"""Fold what training keeps apart: an inference model computes the same with fewer and larger products."""

import torch
from torch import nn

from rs2sam2.models.common.lora import merge_lora
from rs2sam2.models.rs2sam2.hiera import MLP


def fold_for_inference(model: nn.Module) -> nn.Module:
    """Fold adapters and LoRA into the weights beside them and keep SAM2's position encoding, in place; set eval mode.

    A parallel adapter reads what the MLP reads, and its output is added to the MLP's: both are one MLP of width 4.25 d,
    exactly. One block at a time is copied, so that there are never two models in memory. A folded model is for
    inference only: its state dict no longer fits the architecture, and asking for it is refused.

    Args:
        model: an `RS2SAM2` with its final weights; `slots` of another neck are folded likewise.

    Returns:
        The same model, folded; what is not there, or was folded before, is left alone.
    """
    model.eval().requires_grad_(False)
    merge_lora(model.union_encoder)
    head = model.decode_head
    head.fixed_position = head.position(head.prompt_encoder.image_embedding_size).detach()
    if hasattr(model.neck, 'slots'):
        for block, slot in zip(model.backbone.trunk.blocks, model.neck.slots, strict=True):
            if slot.adapter is not None:
                _fold(block.mlp, slot.adapter)
                slot.adapter = None
        model.register_state_dict_pre_hook(_refuse_state_dict)
    return model


@torch.no_grad()
def _fold(mlp: MLP, adapter: nn.Module) -> None:
    """Widen an MLP by an adapter's hidden units."""
    (first, second), (down, up) = mlp.layers, (adapter.down, adapter.up)
    first.weight = nn.Parameter(torch.cat((first.weight, down.weight)), requires_grad=False)
    first.bias = nn.Parameter(torch.cat((first.bias, down.bias)), requires_grad=False)
    second.weight = nn.Parameter(torch.cat((second.weight, adapter.rate * up.weight), dim=1), requires_grad=False)
    second.bias = nn.Parameter(second.bias + adapter.rate * up.bias, requires_grad=False)
    first.out_features = second.in_features = len(first.weight)


def _refuse_state_dict(*_: object) -> None:
    raise RuntimeError('this model is folded for inference and cannot be saved: save it before fold_for_inference')
