"""One aerial-looking scene: the picture, its objects and their exact masks."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from rs2sam2.synthetic.canvas import Canvas
from rs2sam2.synthetic.layouts import LAYOUTS
from rs2sam2.text.grammar import ReferredObject, measure_colour

CATEGORIES: tuple[str, ...] = ('airplane', 'baseball field', 'basketball court', 'bridge', 'ground track field')
CATEGORIES += ('harbor', 'ship', 'storage tank', 'tennis court', 'vehicle')
"""The classes that scenes show, as they are said."""

MIN_OBJECTS, MAX_OBJECTS = 2, 6
# A scene shows a part of what is laid out, so that its edges cut roads, shores and some objects, and objects are large.
ZOOM = 1.9
TRIES = 40
# Smallest share of an object that may be in the frame, and of the frame that an object may fill.
MIN_SHOWN, MIN_AREA = 0.7, 0.008


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


def frame(
    rng: np.random.Generator, masks: np.ndarray, categories: list[str], size: int
) -> tuple[tuple[slice, slice], np.ndarray] | None:
    """Looks for a part of a layout to show: several objects, two of one class, none of them small or a scrap.

    Args:
        rng: drives the choice.
        masks: (N, H, W) bool, the objects of the whole layout.
        categories: their N classes.
        size: side of the frame in pixels.

    Returns:
        The frame as slices of rows and columns, and which objects it shows, (N,) bool; None where no try succeeds.
    """
    areas = masks.sum((1, 2))
    for top, left in rng.integers(0, masks.shape[1] - size, (TRIES, 2), endpoint=True):
        window = slice(top, top + size), slice(left, left + size)
        visible = masks[(slice(None), *window)].sum((1, 2))
        shown = visible > 0
        kin = Counter(category for category, is_shown in zip(categories, shown, strict=True) if is_shown)
        clear = visible[shown] >= np.maximum(MIN_SHOWN * areas[shown], MIN_AREA * size * size)
        if clear.all() and MIN_OBJECTS <= kin.total() <= MAX_OBJECTS and max(kin.values()) > 1:
            return window, shown
    return None


def draw_scene(rng: np.random.Generator, size: int = 256) -> Scene:
    """Draws one scene with at least two objects of one class; equal generator states give equal scenes.

    Args:
        rng: drives everything random.
        size: side of the picture in pixels; objects are about 35 to 200 px long at 256.
    """
    whole = round(size * ZOOM)
    framed = None
    while framed is None:
        canvas = Canvas(rng, whole)
        LAYOUTS[rng.integers(len(LAYOUTS))](canvas)
        image, masks = canvas.finish()
        framed = frame(rng, masks, [sprite.category for sprite, _, _ in canvas.placed], size)
    window, shown = framed
    image, masks = image[window], masks[(slice(None), *window)]
    seen = [placed for placed, visible in zip(canvas.placed, shown, strict=True) if visible]
    image, masks = np.ascontiguousarray(image), np.ascontiguousarray(masks[shown])
    objects = []
    for index, ((sprite, _, _), mask) in enumerate(zip(seen, masks, strict=True)):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        bbox = (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
        colour = sprite.colour if measure_colour(image[mask]) == sprite.colour else None
        objects.append(ReferredObject(index, sprite.category, bbox, float(mask.sum()), colour))
    return Scene(image, masks, tuple(objects))
