"""A part at a time where nothing needs all of it at once: the same numbers with less memory."""

from collections.abc import Callable

import torch
from torch import Tensor

# Positions that are computed together: more of them gain no speed, and a layer's intermediate results need the room.
POSITIONS = 8192


def in_parts(function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """Call a function that treats each entry of a batch by itself; in inference on a CPU with a part of them at a time.

    Args:
        function: maps tensors (n, ..., d) to one (n, ..., d').
        inputs: its tensors, of one shape but for d.

    Returns:
        What it makes of all entries.
    """
    first = inputs[0]
    # First: a graph of any batch may not ask how large this one is.
    if torch.compiler.is_compiling() or first.device.type != 'cpu' or torch.is_grad_enabled():
        return function(*inputs)
    size = max(1, POSITIONS * first.shape[0] * first.shape[-1] // max(1, first.numel()))
    if first.shape[0] <= size:
        return function(*inputs)
    parts = zip(*(one.split(size) for one in inputs), strict=True)
    whole, begin = None, 0
    for part in parts:
        out = function(*part)
        if whole is None:
            whole = out.new_empty(first.shape[0], *out.shape[1:])
        whole[begin : begin + len(out)] = out
        begin += len(out)
    return whole
