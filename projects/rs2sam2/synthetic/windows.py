"""Windows of drawn mosaics, as a large scene is cut into, and what they are asked: all objects of a kind, or none.

A scene (`synthetic.scene`) is framed so that its objects are whole and two are alike. A window is not: its edges cut
objects, it may show one or none, and most questions that it is asked have no answer in it.
"""

from dataclasses import dataclass

import numpy as np

from rs2sam2.synthetic.mosaic import Mosaic, draw_mosaic
from rs2sam2.synthetic.scene import CATEGORIES, ZOOM
from rs2sam2.text.colours import COLOURS
from rs2sam2.text.number import plural
from rs2sam2.text.semantics import SHAPES, ImageSemantics, Part, Phrase, ReferredObject

PLACES = 2  # a side of the mosaic has so many of them
ABSENT = 3  # questions about kinds of which there is none, beside those about colours that none of a kind has
# An object that shows less than both, of its own pixels and of the window, is a scrap: whether it is seen is doubtful.
SCRAP, SCRAP_OF_WINDOW = 0.25, 0.005
_COLOURED, _SHAPED = 0.4, 0.25  # shares of the sentences


@dataclass(frozen=True)
class Question:
    """One sentence about a window.

    Attributes:
        text: 'All gray ships'.
        category: that it names.
        mask: (V, V) bool, all that it means; empty where there is none.
    """

    text: str
    category: str
    mask: np.ndarray


def draw_windows(rng: np.random.Generator, view: int, number: int) -> list[tuple[np.ndarray, list[Question]]]:
    """Windows of one mosaic, and their questions; equal generator states give equal windows.

    Args:
        rng: drives everything random.
        view: side of the windows in pixels.
        number: of windows; they may overlap.

    Returns:
        For each window its picture (V, V, 3) uint8 and its questions.
    """
    size = round(PLACES * view * ZOOM)
    mosaic = draw_mosaic(rng, size, view=view)
    found = []
    for top, left in rng.integers(0, size - view, (number, 2), endpoint=True):
        window = slice(top, top + view), slice(left, left + view)
        found.append((np.ascontiguousarray(mosaic.image[window]), questions(mosaic, mosaic.labels[window], rng)))
    return found


def questions(mosaic: Mosaic, labels: np.ndarray, rng: np.random.Generator) -> list[Question]:
    """What a window is asked: one question about every kind that is clearly shown, some about kinds that are not.

    Args:
        mosaic: that it is a window of.
        labels: (V, V) int32, its part of the mosaic's labels.
        rng: drives everything random.
    """
    pixels = np.bincount(labels.ravel(), minlength=len(mosaic.objects) + 1)[1:]
    shown = [one for one in mosaic.objects if pixels[one.object_id]]
    limits = [min(SCRAP * (one.area or 0.0), SCRAP_OF_WINDOW * labels.size) for one in shown]
    scraps = {one.category for one, least in zip(shown, limits, strict=True) if pixels[one.object_id] < least}
    semantics = ImageSemantics(shown, labels.shape)
    kinds = {one.category for one in shown}
    absent = sorted(set(CATEGORIES) - kinds)
    asked = sorted(kinds - scraps) + [absent[index] for index in rng.permutation(len(absent))[:ABSENT]]
    return [_question(category, shown, semantics, labels, rng) for category in asked]


def _question(
    category: str, shown: list[ReferredObject], semantics: ImageSemantics, labels: np.ndarray, rng: np.random.Generator
) -> Question:
    """About one kind, at times of one colour or with the shape that all of it have."""
    kin = [one for one in shown if one.category == category]
    parts: list[Part] = []
    if category in SHAPES and rng.random() < _SHAPED:
        parts.append(Part('shape', SHAPES[category], lambda candidate: True, 'shape'))
    if rng.random() < _COLOURED:
        # Half of the time one that is there, if any is; never one that an object may have or not.
        there = sorted({one.colour for one in kin if one.colour is not None})
        words = there if there and rng.random() < 0.5 else COLOURS[:9]
        colour = semantics.coloured(str(words[int(rng.integers(len(words)))]))
        parts += [colour] if all(colour.holds(one) is not None for one in kin) else []
    phrase = Phrase(category, tuple(parts))
    meant = [one.object_id + 1 for one in kin if phrase.holds(one)]
    return Question(f'All {plural(phrase.words().removeprefix("the "))}', category, np.isin(labels, meant))
