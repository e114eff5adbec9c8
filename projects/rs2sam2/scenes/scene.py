"""One aerial-looking scene: the picture, its objects and their exact masks."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from rs2sam2.scenes.canvas import Canvas
from rs2sam2.scenes.layouts import LAYOUTS
from rs2sam2.text.grammar import ReferredObject, measure_colour

CATEGORIES = ('airplane', 'baseball field', 'basketball court', 'bridge', 'ground track field', 'harbor', 'ship')
CATEGORIES += ('storage tank', 'tennis court', 'vehicle')
"""The classes that scenes show, as they are said."""

MIN_OBJECTS, MAX_OBJECTS = 2, 6


@dataclass(frozen=True)
class Scene:
    """A picture and everything in it that a sentence can mean.

    Attributes:
        image: (S, S, 3) uint8 RGB.
        masks: (N, S, S) bool, in the order of `objects`; no pixel belongs to two objects.
        objects: ids 0..N-1. `colour` is None where the finished pixels do not show the paint's own colour clearly.
    """

    image: np.ndarray
    masks: np.ndarray
    objects: tuple[ReferredObject, ...]


def draw_scene(rng: np.random.Generator, size: int = 256) -> Scene:
    """Draws one scene with at least two objects of one class; equal generator states give equal scenes.

    Args:
        rng: drives everything random.
        size: side of the picture in pixels; objects are about 16 to 110 px long at 256.
    """
    while True:
        canvas = Canvas(rng, size)
        LAYOUTS[rng.integers(len(LAYOUTS))](canvas)
        kin = Counter(sprite.category for sprite, _, _ in canvas.placed)
        if MIN_OBJECTS <= kin.total() <= MAX_OBJECTS and max(kin.values()) > 1:
            break
    image, masks = canvas.finish()
    objects = []
    for index, ((sprite, _, _), mask) in enumerate(zip(canvas.placed, masks, strict=True)):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        bbox = (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
        colour = sprite.colour if measure_colour(image[mask]) == sprite.colour else None
        objects.append(ReferredObject(index, sprite.category, bbox, float(mask.sum()), colour))
    return Scene(image, masks, tuple(objects))
