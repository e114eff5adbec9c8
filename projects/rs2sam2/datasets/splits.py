"""Which split an image belongs to."""

from collections.abc import Iterable

import numpy as np

from rs2sam2.datasets.base import SPLITS
from rs2sam2.errors import DataError

DEFAULT_SHARES = dict(zip(SPLITS, (0.7, 0.1, 0.2), strict=True))


def check_shares(shares: dict[str, float]) -> None:
    """Check the shares of the splits.

    Raises:
        DataError: An unknown split, a negative share, or only zeros.
    """
    if set(shares) - set(SPLITS) or min(shares.values()) < 0 or sum(shares.values()) <= 0:
        raise DataError(f'shares {shares} of the splits: give non-negative numbers for {", ".join(SPLITS)}')


def split_images(names: Iterable[str], shares: dict[str, float], seed: int) -> dict[str, str]:
    """The split of every image, drawn at random; the numbers are the shares, rounded.

    Args:
        names: File names; their order does not matter.
        shares: Of the splits; they count relative to their sum.
        seed: Of the draw.

    Returns:
        Split by file name.
    """
    order = np.random.default_rng(seed).permutation(sorted(names))
    ends = np.cumsum([shares[split] for split in shares])
    ends = np.rint(ends / ends[-1] * len(order)).astype(int)
    places = np.searchsorted(ends, np.arange(len(order)), side='right')
    return {str(name): list(shares)[place] for name, place in zip(order, places, strict=True)}
