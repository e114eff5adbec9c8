"""Where autocast must not lower the precision."""

import contextlib

import torch


def no_autocast(device: torch.device) -> contextlib.AbstractContextManager:
    """A context that computes in the tensors' own precision, also on devices that know no autocast (meta)."""
    known = torch.amp.is_autocast_available(device.type)
    return torch.autocast(device.type, enabled=False) if known else contextlib.nullcontext()
