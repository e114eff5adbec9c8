"""Turns image, mask and sentence together."""

from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform

from rs2sam2.errors import ConfigError, TurnError
from rs2sam2.symmetry import SYMMETRIES, find_symmetry, order_elements
from rs2sam2.text.directions import turn, turns

LOADERS = ('LoadRGBImage', 'LoadReferringMask')


class Turn(BaseTransform):
    """Turn image, mask and sentence by one symmetry of the square; no pixel is computed anew.

    A sentence that cannot be turned leaves the sample as it is, with `turn_refused`, for `TurnAveraging` to leave out.

    Changes `img`, `gt_seg_map` where there is one, `expression` and `ori_shape`, adds `turned_by`.

    Args:
        element: one of `rs2sam2.symmetry.SYMMETRIES`.
        top: how the data says where an object is, 'at the top' or 'on the top'.

    Raises:
        ConfigError: an argument has no such value.
    """

    def __init__(self, element: str, top: str = 'at the top') -> None:
        self.element = find_symmetry(element).name
        self.top = top
        turn('', self.element, top)

    def transform(self, results: dict) -> dict:
        """Turn; see the class."""
        try:
            expression = turn(results['expression'], self.element, self.top)
        except TurnError as error:
            results['turn_refused'] = error.reason
            return results
        return turn_sample(results, self.element, expression)

    def __repr__(self) -> str:
        return f'{type(self).__name__}(element={self.element!r}, top={self.top!r})'


class RandomTurn(BaseTransform):
    """Turn image, mask and sentence together by a symmetry of the square that is drawn at each visit.

    It is drawn among those that the sentence can be turned by, the identity among them, each as likely as the others.
    It stands before `ResizeTwoViews`.

    Changes `img`, `gt_seg_map` where there is one, `expression` and `ori_shape`, adds `turned_by`.

    Args:
        elements: names of `rs2sam2.symmetry.SYMMETRIES` to draw from.
        top: how the data says where an object is, 'at the top' or 'on the top'.

    Raises:
        ConfigError: an argument has no such value.
    """

    def __init__(self, elements: Sequence[str] = tuple(SYMMETRIES), top: str = 'at the top') -> None:
        if not elements:
            raise ConfigError('RandomTurn: elements names no symmetry')
        self.elements = tuple(find_symmetry(element).name for element in elements)
        self.top = top
        turns('', top)

    def transform(self, results: dict) -> dict:
        """Draw and turn; see the class."""
        said = turns(results['expression'], self.top)
        # The identity turns everything: where nothing of what is drawn from does, the sample stays as it is.
        possible = [element for element in self.elements if element in said] or ['identity']
        # From numpy's global state, which `ResumableTrainLoop` seeds for every visit of a sample.
        element = possible[np.random.randint(len(possible))]  # noqa: NPY002
        return turn_sample(results, element, said[element])

    def __repr__(self) -> str:
        return f'{type(self).__name__}(elements={self.elements}, top={self.top!r})'


def turned_pipeline(steps: Sequence[dict], elements: Sequence[str], top: str = 'at the top') -> list[dict]:
    """A pipeline for testing that gives every sample with turned copies, by mmcv's `TestTimeAug`.

    Args:
        steps: the plain pipeline; the copies are made after its first steps, which load image and mask.
        elements: see `order_elements`.
        top: see `Turn`.
    """
    start = next((i for i, step in enumerate(steps) if step['type'] not in LOADERS), len(steps))
    copies = [dict(type='Turn', element=element, top=top) for element in order_elements(elements)]
    return [*steps[:start], dict(type='TestTimeAug', transforms=[copies, *([step] for step in steps[start:])])]


def turn_sample(results: dict, element: str, expression: str) -> dict:
    """Turn a sample's image and mask, and give it the sentence that was turned with them."""
    symmetry = SYMMETRIES[element]
    for key in ('img', 'gt_seg_map'):
        if key in results:
            results[key] = np.ascontiguousarray(symmetry.apply(results[key], rows=0, columns=1))
    results['ori_shape'] = results['img'].shape[:2]
    results['expression'] = expression
    results['turned_by'] = element
    return results
