"""transformers' Adafactor under mmengine's name for it, imported when a training asks for it."""

from collections.abc import Iterable
from typing import Any

from torch.optim import Optimizer

from rs2sam2.errors import ConfigError


def adafactor(params: Iterable, **settings: Any) -> Optimizer:
    """Make the optimizer `Adafactor` of a config; the arguments are those of `transformers.Adafactor`.

    mmengine imports transformers to register it, a second of every start; `rs2sam2/__init__.py` keeps it from that.

    Raises:
        ConfigError: transformers is not installed.
    """
    try:
        from transformers import Adafactor
    except ImportError as error:
        raise ConfigError('Adafactor is an optimizer of transformers: pip install transformers') from error
    return Adafactor(params, **settings)
