"""In which precision a model computes, and where autocast must not lower it."""

import contextlib

import torch

from rs2sam2.errors import ConfigError

PRECISIONS = ('auto', 'fp32', 'bf16', 'fp16')
DTYPES = {'bf16': torch.bfloat16, 'fp16': torch.float16}


def choose_precision(asked: str, device: torch.device) -> str:
    """What `auto` means on a device: bf16 on a GPU that computes in it, fp32 elsewhere; other answers stay.

    Args:
        asked: one of `PRECISIONS`.
        device: where the model is.

    Raises:
        ConfigError: no such precision.
    """
    if asked not in PRECISIONS:
        raise ConfigError(f'precision={asked!r}: one of {", ".join(PRECISIONS)}')
    if asked != 'auto':
        return asked
    has_bf16 = device.type == 'cuda' and torch.cuda.is_bf16_supported(including_emulation=False)
    return 'bf16' if has_bf16 else 'fp32'


def autocast(precision: str, device: torch.device) -> contextlib.AbstractContextManager:
    """A context that computes in a precision that `choose_precision` gave; fp32 leaves everything as it is."""
    return torch.autocast(device.type, DTYPES[precision]) if precision in DTYPES else contextlib.nullcontext()


def no_autocast(device: torch.device) -> contextlib.AbstractContextManager:
    """A context that computes in the tensors' own precision, also on devices that know no autocast (meta)."""
    known = torch.amp.is_autocast_available(device.type)
    return torch.autocast(device.type, enabled=False) if known else contextlib.nullcontext()
