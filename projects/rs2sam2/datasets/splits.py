"""Which split an image belongs to."""

import math
from collections.abc import Iterable, Mapping
from numbers import Real

import numpy as np

from rs2sam2.datasets.base import SPLITS
from rs2sam2.errors import DataError

DEFAULT_SHARES = dict(zip(SPLITS, (0.7, 0.1, 0.2), strict=True))


def check_draw(shares: dict[str, float], seed: int) -> None:
    """Check the shares of the splits, and the seed of their draw.

    Raises:
        DataError: An unknown split, a share that is negative or no finite number, only zeros, or a negative seed.
    """
    if seed < 0:
        raise DataError(f'seed {seed}: give a whole number from 0 on')
    usable = shares and all(isinstance(share, Real) and 0 <= share < math.inf for share in shares.values())
    if not usable or set(shares) - set(SPLITS) or not 0 < sum(shares.values()) < math.inf:
        raise DataError(f'shares {shares} of the splits: give finite numbers, not below 0, for {", ".join(SPLITS)}')


def split_images(names: Iterable[str], shares: dict[str, float], seed: int) -> dict[str, str]:
    """The split of every image, drawn at random; the numbers are the shares, rounded.

    A split with a share gets at least one image, in the order of `shares`, as long as there are images.

    Args:
        names: File names; their order does not matter.
        shares: Of the splits; they count relative to their sum.
        seed: Of the draw.

    Returns:
        Split by file name.
    """
    order = np.random.default_rng(seed).permutation(sorted(names))
    ends = np.cumsum([shares[split] for split in shares])
    counts = np.diff(np.rint(ends / ends[-1] * len(order)).astype(int), prepend=0)
    for place, split in enumerate(shares):
        if shares[split] > 0 and not counts[place] and counts.max() > 1:
            counts[counts.argmax()] -= 1
            counts[place] = 1
    wanted = [split for split, count in zip(shares, counts, strict=True) for _ in range(count)]
    return {str(name): split for name, split in zip(order, wanted, strict=True)}


def empty_splits(counts: Mapping[str, int], shares: dict[str, float], what: str) -> list[str]:
    """What a user should know of splits that got nothing, one sentence each.

    Args:
        counts: Images or tiles by split.
        shares: That were asked for.
        what: They are called.
    """
    total = sum(counts.values())
    return [
        f'{split} is empty: {total:,} {what} are too few for all splits; give more, or leave {split} out of the config'
        for split in shares
        if shares[split] > 0 and not counts.get(split)
    ]
