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
# The frame shows two thirds of the width that is laid out, so that its edges cut roads, shores and some objects.
ZOOM = 1.5
# Smallest share of an object that may be in the frame.
MIN_SHOWN = 0.7


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
        size: side of the picture in pixels; objects are about 24 to 160 px long at 256.
    """
    whole = round(size * ZOOM)
    while True:
        canvas = Canvas(rng, whole)
        LAYOUTS[rng.integers(len(LAYOUTS))](canvas)
        top, left = rng.integers(0, whole - size, 2, endpoint=True)
        image, masks = canvas.finish()
        areas = masks.sum((1, 2))
        image, masks = (
            pixels[..., top : top + size, left : left + size] for pixels in (image.transpose(2, 0, 1), masks)
        )
        shown = masks.sum((1, 2)) / areas
        seen = [placed for placed, share in zip(canvas.placed, shown, strict=True) if share > 0]
        kin = Counter(sprite.category for sprite, _, _ in seen)
        # An object that the frame cuts to a scrap cannot be told from its like.
        whole_enough = not ((shown > 0) & (shown < MIN_SHOWN)).any()
        if whole_enough and MIN_OBJECTS <= kin.total() <= MAX_OBJECTS and max(kin.values()) > 1:
            break
    image, masks = np.ascontiguousarray(image.transpose(1, 2, 0)), np.ascontiguousarray(masks[shown > 0])
    objects = []
    for index, ((sprite, _, _), mask) in enumerate(zip(seen, masks, strict=True)):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        bbox = (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
        colour = sprite.colour if measure_colour(image[mask]) == sprite.colour else None
        objects.append(ReferredObject(index, sprite.category, bbox, float(mask.sum()), colour))
    return Scene(image, masks, tuple(objects))
