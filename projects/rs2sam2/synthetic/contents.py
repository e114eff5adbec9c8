"""What the layouts have in common: traffic, tanks, ships, trees, houses, and how they vary."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from rs2sam2.synthetic import craft, facilities, ground
from rs2sam2.synthetic.canvas import Canvas
from rs2sam2.synthetic.drawing import Point, Sprite, Tile, box, ellipse, rotate, shade

TRIES = 40
"""How often a place is looked for before an object is left out."""


class Variety:
    """Sizes and colours of the objects of one class: often alike in one way, so that the other must be said."""

    def __init__(self, rng: np.random.Generator, sizes: tuple[float, float], colours: Sequence[str]) -> None:
        self.rng = rng
        low, high = sizes
        middle = math.sqrt(low * high)
        same = rng.uniform(low, high)
        self._sizes = ((low, middle * 0.95), (middle * 1.1, high)) if rng.random() < 0.55 else ((same, same * 1.04),)
        several = rng.permutation(sorted(set(colours)))[:3]
        self._colours = tuple(several) if rng.random() < 0.75 else (colours[int(rng.integers(len(colours)))],)
        self._next = int(rng.integers(6))

    def draw(self) -> tuple[float, str]:
        """Size and colour of the next object."""
        self._next += 1
        size = self.rng.uniform(*self._sizes[self._next % len(self._sizes)])
        return float(size), str(self._colours[self.rng.integers(len(self._colours))])


def scatter(canvas: Canvas, number: int, zone: str, make: Callable[[], Sprite], gap: float = 5.0) -> None:
    """Places up to `number` objects at random in a zone."""
    for _ in range(number):
        sprite = make()
        for _ in range(TRIES):
            x, y = canvas.rng.uniform(12, 244, 2)
            if canvas.place(sprite, x, y, zone, gap):
                break


def _tree(canvas: Canvas) -> Sprite:
    rng = canvas.rng
    r = rng.uniform(3.2, 8)
    tone = shade((56, 84, 46), rng.uniform(0.8, 1.2))
    tile = Tile(2 * r, 2 * r, canvas.sun, canvas.unit, tone)
    for turn in rng.uniform(0, 360, 6):
        tile.body(ellipse(*rotate([(0.4 * r, 0)], turn, 0, 0)[0], 0.58 * r, 0.58 * r), tone)
        tile.fill(ellipse(*rotate([(0.32 * r, 0)], turn, r * 0.12, 0)[0], 0.26 * r, 0.26 * r), shade(tone, 1.16))
    tile.fill(ellipse(-r * 0.62, 0, r * 0.34, r * 0.7), shade(tone, 0.84))
    return tile.sprite('tree', None, height=r * 0.9)


def trees(canvas: Canvas, number: int, zone: str) -> None:
    """Groups of trees; they are no objects of the data set."""
    rng = canvas.rng
    kinds = [_tree(canvas) for _ in range(6)]
    for x, y in rng.uniform(4, 252, (number, 2)):
        for _ in range(rng.integers(1, 6)):
            kind, (near_x, near_y) = kinds[rng.integers(len(kinds))], rng.normal((x, y), 8)
            canvas.decorate(kind, near_x, near_y, zone)


def houses(canvas: Canvas, number: int, zone: str, angle: float) -> None:
    """Gabled houses; they are no objects of the data set."""
    rng = canvas.rng
    tones = ((142, 98, 82), (120, 112, 106), (156, 146, 134), (104, 96, 92))
    for _ in range(number):
        a, b = rng.uniform(17, 30), rng.uniform(13, 19)
        tone = tones[rng.integers(len(tones))]
        tile = Tile(a, b, angle + 90 * rng.integers(2), canvas.unit, tone)
        tile.body(box(0, 0, a, b), shade(tone, 1.1))
        tile.fill(box(0, b / 4, a, b / 2), shade(tone, 0.82))
        tile.line([(-a / 2, 0), (a / 2, 0)], shade(tone, 1.25), 0.8)
        tile.fill(box(a * 0.22, -b * 0.2, 2.2, 2.2), (92, 84, 80))
        x, y = rng.uniform(14, 242, 2)
        canvas.decorate(tile.sprite('house', None, height=6), x, y, zone)


class Road:
    """A straight two-lane road through (x, y)."""

    def __init__(self, canvas: Canvas, x: float, y: float, angle: float, width: float = 24.0) -> None:
        self.canvas, self.x, self.y, self.angle, self.width = canvas, x, y, angle, width
        canvas.lines([self.run(-400, 400)], width + 5, (150, 146, 136))
        self.coverage = canvas.lines([self.run(-400, 400)], width, ground.asphalt(canvas.rng, canvas.size))
        edges = [self.run(-400, 400, side * width * 0.44) for side in (-1, 1)]
        canvas.lines([self.run(t, t + 7) for t in range(-400, 400, 15)] + edges, 0.9, (206, 206, 198))

    def run(self, start: float, end: float, off: float = 0.0) -> list[Point]:
        """The stretch from `start` to `end` along the road, `off` beside its middle."""
        return rotate([(start, off), (end, off)], self.angle, self.x, self.y)

    def drive(self, make: Callable[[float], Sprite], zone: str | None = None) -> None:
        """Places one vehicle in a lane."""
        rng = self.canvas.rng
        for _ in range(TRIES):
            lane = 1 if rng.random() < 0.5 else -1
            ((x, y),) = rotate([(rng.uniform(-170, 170), lane * self.width * 0.23)], self.angle, self.x, self.y)
            sprite = make(self.angle + (0 if lane > 0 else 180))
            if self.canvas.place(sprite, x, y, zone):
                return


def vehicles(canvas: Canvas) -> Callable[[float], Sprite]:
    """A maker of cars and trucks of one variety, by their direction."""
    variety = Variety(canvas.rng, (18, 34), craft.VEHICLE_COLOURS)

    def make(angle: float) -> Sprite:
        size, colour = variety.draw()
        return craft.vehicle(canvas.rng, canvas.unit, size, angle, colour)

    return make


def tanks(canvas: Canvas, sizes: tuple[float, float] = (22, 46)) -> Callable[[], Sprite]:
    """A maker of storage tanks of one variety."""
    variety = Variety(canvas.rng, sizes, facilities.TANK_COLOURS)

    def make() -> Sprite:
        size, colour = variety.draw()
        return facilities.storage_tank(canvas.rng, canvas.unit, size, canvas.sun, colour)

    return make


def outside(canvas: Canvas, polygons: Sequence[Sequence[Point]]) -> np.ndarray:
    """The pixels outside all polygons."""

    def draw(image, scale: float) -> None:
        for polygon in polygons:
            image.polygon([(x * scale, y * scale) for x, y in polygon], 255)

    return ground.drawn(canvas.size, draw) == 0


def ships(canvas: Canvas, number: int, sizes: tuple[float, float], heading: float | None = None) -> None:
    """Places ships on the water, along `heading` (degrees, either way) when given, some under way with a wake."""
    rng = canvas.rng
    variety = Variety(rng, sizes, craft.SHIP_COLOURS)
    for _ in range(number):
        length, colour = variety.draw()
        for _ in range(TRIES):
            angle = rng.uniform(0, 360) if heading is None else heading + rng.choice((0, 180)) + rng.normal(0, 8)
            x, y = rng.uniform(12, 244, 2)
            sprite = craft.ship(rng, canvas.unit, length, angle, colour)
            if canvas.place(sprite, x, y, 'water', gap=6):
                if rng.random() < 0.6:
                    stern = rotate([(-length * 0.46, 0)], angle, x, y)[0]
                    canvas.wake(*stern, angle, length * rng.uniform(0.6, 1.1), length * 0.2)
                break
