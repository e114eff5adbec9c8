"""Objects of a whole scene, found by what they are, and those of them that an expression means."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import shapely
from affine import Affine
from rasterio.features import rasterize
from scipy.special import expit

from rs2sam2.geo.polygons import PolygonTracer, TracedObject
from rs2sam2.text.choosing import Decision, choose
from rs2sam2.text.colours import measure_colour
from rs2sam2.text.reading import Reading, Thing
from rs2sam2.text.semantics import ReferredObject

_TILE = 1024
_SPECK = 8  # times smaller than the usual object: a speck, which is meant by no word for one thing
_RIGHT = 8  # an object with the score s is of the kind that was asked for about s**8 times: measured, docs/scenes.md
_COLOUR_SIDE = 256  # of the part of a large object whose colour is measured


class LogOdds(Protocol):
    """Log-odds of a whole scene on the model's grid."""

    def read(self, y: int, x: int, height: int, width: int) -> np.ndarray:
        """A part of them, (height, width) float32."""
        ...


class Pictures(Protocol):
    """Pixels of a scene on the model's grid, as `SceneReader` has them."""

    grid_shape: tuple[int, int]

    def read(self, y: int, x: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Image (height, width, 3) uint8, and which pixels hold data."""
        ...


@dataclass(frozen=True)
class Candidate:
    """An object that was found for what an expression's thing is.

    Attributes:
        polygon: its outline in (column, row) of the model's grid.
        pixels: of that grid.
        score: mean probability of its pixels.
        taken: whether the expression means it.
        why: what spoke for or against it.
    """

    polygon: shapely.Polygon
    pixels: int
    score: float
    taken: bool
    why: str


@dataclass(frozen=True)
class Choice:
    """What was chosen.

    Attributes:
        candidates: all objects that were found for what the thing is.
        landmarks: all that were found for what it is related to.
        how: it was decided, in one sentence.
        notes: what the user should know.
    """

    candidates: tuple[Candidate, ...]
    landmarks: tuple[Candidate, ...]
    how: str
    notes: tuple[str, ...]


class ChosenObjects:
    """The objects that are meant, and what is left of the log-odds where others are.

    Args:
        polygons: of the objects that are meant, in pixels of the model's grid.
        grid_shape: (rows, columns) of that grid.
    """

    def __init__(self, polygons: Sequence[shapely.Polygon], grid_shape: tuple[int, int]) -> None:
        self._polygons, self._grid_shape = list(polygons), grid_shape
        self._tree = shapely.STRtree(self._polygons)

    def gate(self, log_odds: np.ndarray, y: int, x: int, shape: tuple[int, int]) -> np.ndarray:
        """Log-odds inside the objects; outside, an object that is not meant is as unlikely as it was likely.

        Args:
            log_odds: (h, w) of a tile of the scene.
            y: the tile's first row.
            x: the tile's first column.
            shape: (rows, columns) of the scene.
        """
        down, right = (full / side for full, side in zip(shape, self._grid_shape, strict=True))
        height, width = log_odds.shape
        # Where the grids differ the outline lies up to one pixel of the coarser grid beside that of the interpolation.
        reach = 0 if shape == self._grid_shape else max(1.0, down, right)
        box = shapely.box(
            (x - reach) / right, (y - reach) / down, (x + width + reach) / right, (y + height + reach) / down
        )
        near = [self._polygons[index] for index in self._tree.query(box)]
        if reach:
            near = [shapely.buffer(one, reach / min(down, right), join_style='mitre') for one in near]
        place = Affine.translation(-x, -y) @ Affine.scale(right, down)
        inside = _covered(near, (height, width), place)
        return np.where(inside, log_odds, -np.abs(log_odds))


def find_objects(
    log_odds: LogOdds,
    shape: tuple[int, int],
    valid: Callable[[int, int, int, int], np.ndarray | None] = lambda y, x, height, width: None,
) -> list[TracedObject]:
    """The parts of a scene where log-odds are above 0.

    Args:
        log_odds: of the whole scene.
        shape: (rows, columns) of the model's grid.
        valid: which pixels of a window (y, x, height, width) hold data; None where all do.
    """
    height, width = shape
    tracer = PolygonTracer(width)
    found: list[TracedObject] = []
    for y in range(0, height, _TILE):
        for x in range(0, width, _TILE):
            place = (y, x, min(_TILE, height - y), min(_TILE, width - x))
            tile, data = log_odds.read(*place), valid(*place)
            tracer.add(y, x, tile > 0 if data is None else (tile > 0) & data, expit(tile))
        found += tracer.end_row()
    found += tracer.end()
    return found


def specks(found: Sequence[TracedObject]) -> list[bool]:
    """Which objects are so much smaller than the usual one that they are none."""
    areas = np.array([one.pixels for one in found], float)
    # The size of the object that a foreground pixel usually belongs to: specks weigh nothing in it.
    usual = (areas**2).sum() / max(1.0, areas.sum())
    return (areas * _SPECK < usual).tolist()


def choose_objects(
    reading: Reading,
    targets: Sequence[TracedObject],
    landmarks: Sequence[TracedObject],
    same: bool,
    pictures: Pictures,
) -> Choice:
    """The candidates for what an expression's thing is, and which of them are meant.

    Args:
        reading: of the expression.
        targets: objects found for what the thing is.
        landmarks: objects found for what it is related to.
        same: both were found by one question.
        pictures: of the scene, for the objects' colours.
    """
    objects = marks = _referred(targets, reading.target, 0, pictures)
    chances = {one.object_id: traced.score**_RIGHT for one, traced in zip(objects, targets, strict=True)}
    left = marks_left = _worth(objects, targets, reading.target)
    if reading.landmark is not None and not same:
        marks = _referred(landmarks, reading.landmark, len(targets), pictures)
        chances |= {one.object_id: traced.score**_RIGHT for one, traced in zip(marks, landmarks, strict=True)}
        marks_left = _worth(marks, landmarks, reading.landmark)
    decision = choose(reading, left, marks_left, pictures.grid_shape, chances)
    candidates = _candidates(targets, objects, decision)
    beside = () if decision.landmark is None else _candidates(targets if same else landmarks, marks, decision.landmark)
    return Choice(candidates, beside, decision.how, (f'by meaning: {decision.how}',))


def _candidates(
    found: Sequence[TracedObject], objects: Sequence[ReferredObject], decision: Decision
) -> tuple[Candidate, ...]:
    return tuple(
        Candidate(
            traced.polygon, traced.pixels, traced.score, one.object_id in decision.taken,
            decision.why.get(one.object_id, 'a speck'),
        )
        for traced, one in zip(found, objects, strict=True)
    )  # fmt: skip


def _worth(objects: list[ReferredObject], found: Sequence[TracedObject], thing: Thing) -> list[ReferredObject]:
    """The objects without specks, unless all of a kind are meant."""
    if thing.several:
        return objects
    return [one for one, speck in zip(objects, specks(found), strict=True) if not speck]


def _referred(found: Sequence[TracedObject], thing: Thing, first: int, pictures: Pictures) -> list[ReferredObject]:
    """Objects as the grammar knows them; colours are measured where they are said."""
    return [
        ReferredObject(
            first + number,
            thing.asked,
            one.polygon.bounds,
            float(one.pixels),
            _colour(one.polygon, pictures) if thing.colour is not None else None,
        )
        for number, one in enumerate(found)
    ]


def _colour(polygon: shapely.Polygon, pictures: Pictures) -> str | None:
    left, top, right, bottom = map(int, polygon.bounds)
    if max(right - left, bottom - top) > _COLOUR_SIDE:
        point, half = polygon.representative_point(), _COLOUR_SIDE // 2
        left, right = max(left, int(point.x) - half), min(right, int(point.x) + half)
        top, bottom = max(top, int(point.y) - half), min(bottom, int(point.y) + half)
    image, _ = pictures.read(top, left, bottom - top, right - left)
    return measure_colour(image[_covered([polygon], image.shape[:2], Affine.translation(-left, -top))])


def _covered(polygons: Sequence[shapely.Polygon], shape: tuple[int, int], place: Affine) -> np.ndarray:
    """Which pixels polygons cover, (h, w) bool; `place` takes their coordinates to (column, row)."""
    if not polygons:
        return np.zeros(shape, bool)
    matrix = (place.a, place.b, place.d, place.e, place.c, place.f)
    moved = [shapely.affinity.affine_transform(one, matrix) for one in polygons]
    return rasterize(moved, shape, fill=0, default_value=1, dtype=np.uint8).astype(bool)
