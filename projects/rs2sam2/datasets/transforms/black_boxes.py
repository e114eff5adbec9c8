"""Hides small parts of some training images."""

import numpy as np
from mmcv.transforms import BaseTransform

from rs2sam2.datasets.stable_hash import stable_fraction
from rs2sam2.errors import ConfigError


class RandomBlackBoxes(BaseTransform):
    """Draw black squares on the original image of a fixed share of the samples (released training recipe, RRSIS-D).

    Which samples is decided once, by a hash of `sample_id` and `seed`: they always get boxes, the others never. How
    many and where is drawn anew each time. The mask is left as it is.

    Changes `img`.

    Args:
        share: Share of the samples that get boxes, 0 ... 1.
        count: Least and greatest number of boxes.
        size: Side of a box, pixels of the original image.
        seed: Chooses another share of the samples.

    Raises:
        ConfigError: An argument is out of range.
    """

    def __init__(self, share: float = 0.2, count: tuple[int, int] = (20, 60), size: int = 32, seed: int = 0) -> None:
        if not 0 <= share <= 1 or not 0 <= count[0] <= count[1] or size < 1:
            raise ConfigError(f'RandomBlackBoxes: share={share}, count={tuple(count)}, size={size} are out of range')
        self.share = share
        self.count = tuple(count)
        self.size = size
        self.seed = seed

    def transform(self, results: dict) -> dict:
        """Draw the boxes; see the class."""
        if stable_fraction(self.seed, results['sample_id']) >= self.share:
            return results
        height, width = results['img'].shape[:2]
        # From numpy's global state, which `ResumableTrainLoop` seeds for every visit of a sample.
        number = np.random.randint(self.count[0], self.count[1] + 1)  # noqa: NPY002
        tops = np.random.randint(0, max(height - self.size, 0) + 1, number)  # noqa: NPY002
        lefts = np.random.randint(0, max(width - self.size, 0) + 1, number)  # noqa: NPY002
        for top, left in zip(tops, lefts, strict=True):
            results['img'][top : top + self.size, left : left + self.size] = 0
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(share={self.share}, count={self.count}, size={self.size}, seed={self.seed})'
