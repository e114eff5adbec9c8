"""A large scene of many drawn places side by side, as a map shows them: for what is decided over the whole of it."""

import math
from dataclasses import dataclass

import numpy as np

from rs2sam2.synthetic import ground
from rs2sam2.synthetic.canvas import Canvas
from rs2sam2.synthetic.contents import trees
from rs2sam2.synthetic.layouts import LAYOUTS
from rs2sam2.synthetic.scene import ZOOM
from rs2sam2.text.grammar import ReferredObject, measure_colour


@dataclass(frozen=True)
class Mosaic:
    """A large picture and everything in it that a sentence can mean.

    Attributes:
        image: (S, S, 3) uint8 RGB.
        labels: (S, S) int32, 0 where no object is, else 1 + its id.
        objects: ids 0..N-1, as in `Scene`.
    """

    image: np.ndarray
    labels: np.ndarray
    objects: tuple[ReferredObject, ...]


def draw_mosaic(rng: np.random.Generator, size: int, most: int = 200, view: int = 160) -> Mosaic:
    """Draws a mosaic; equal generator states give equal mosaics.

    Args:
        rng: drives everything random.
        size: side of the picture in pixels.
        most: so many objects at most; where they are used up, places are open country.
        view: the side in pixels of a drawn scene in which objects would be as large as here.
    """
    count = max(1, round(size / (view * ZOOM)))
    edges = np.linspace(0, size, count + 1).round().astype(int)
    side = math.ceil(size / count)
    image, labels = np.zeros((size, size, 3), np.uint8), np.zeros((size, size), np.int32)
    objects: list[ReferredObject] = []
    for place in rng.permutation(count * count):
        row, column = divmod(int(place), count)
        canvas = Canvas(rng, side)
        LAYOUTS[rng.integers(len(LAYOUTS))](canvas)
        if len(objects) + len(canvas.placed) > most:
            canvas = _open_country(rng, side)
        picture, masks = canvas.finish()
        y, x = edges[row], edges[column]
        height, width = edges[row + 1] - y, edges[column + 1] - x
        # A canvas leaves its outermost pixels free of objects, so that at most ground is cut.
        image[y : y + height, x : x + width] = picture[:height, :width]
        for (sprite, _, _), mask in zip(canvas.placed, masks, strict=True):
            rows, columns = np.nonzero(mask)
            labels[y + rows, x + columns] = len(objects) + 1
            left, top, right, bottom = columns.min() + x, rows.min() + y, columns.max() + 1 + x, rows.max() + 1 + y
            bbox = float(left), float(top), float(right), float(bottom)
            colour = sprite.colour if measure_colour(picture[mask]) == sprite.colour else None
            objects.append(ReferredObject(len(objects), sprite.category, bbox, float(mask.sum()), colour))
    return Mosaic(image, labels, tuple(objects))


def _open_country(rng: np.random.Generator, side: int) -> Canvas:
    """Fields or a meadow with trees, without objects."""
    canvas = Canvas(rng, side)
    canvas.rgb[:] = ground.fields(rng, side, rng.uniform(0, 180)) if rng.random() < 0.5 else ground.grass(rng, side)
    canvas.zones = {'land': np.ones((side, side), bool)}
    trees(canvas, 10, 'land')
    return canvas
