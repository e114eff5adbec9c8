"""What callers hand over, from Python or a command line: checked before any work, refused in one line."""

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

from rs2sam2.errors import ConfigError

Box = Sequence[float]
Points = Sequence[float] | Sequence[Sequence[float]]


def check_batch_size(value: Any) -> int:
    """A whole number from 1 on.

    Raises:
        ConfigError: it is none.
    """
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise ConfigError(f'batch_size={value!r}: give a whole number from 1 on')
    return int(value)


def check_min_score(value: Any) -> float | None:
    """A score from 0 to 1, or None for no limit.

    Raises:
        ConfigError: it is neither.
    """
    if value is None:
        return None
    # Written so that NaN, which is neither below nor above, is refused.
    if not is_number(value) or not 0 <= value <= 1:
        raise ConfigError(f'min_score={value!r}: give a score from 0 to 1, or None')
    return float(value)


def is_number(value: Any) -> bool:
    """Whether a value is a finite real number, of Python or NumPy; True and False are none."""
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond all floats
        return False
