"""Supersampled drawing of one rotated object: its colours and its exact coverage come from the same geometry."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

RGB = tuple[int, int, int]
Point = tuple[float, float]

OVERSAMPLE = 4

PAINTS: dict[str, tuple[RGB, ...]] = {
    'white': ((238, 239, 236), (228, 231, 233)),
    'gray': ((132, 135, 138), (118, 122, 124)),
    'black': ((38, 40, 44), (46, 45, 47)),
    'red': ((190, 44, 40), (172, 36, 44)),
    'orange': ((222, 126, 44), (214, 118, 52)),
    'yellow': ((226, 188, 52), (232, 198, 66)),
    'green': ((52, 128, 74), (62, 140, 66)),
    'cyan': ((70, 178, 184), (86, 186, 190)),
    'blue': ((44, 88, 172), (58, 104, 186)),
    'brown': ((124, 84, 56), (112, 76, 50)),
}
"""RGB values that `measure_colour` names by their key."""


def paint(colour: str, rng: np.random.Generator) -> RGB:
    """One of the paints of a colour, a little brighter or darker."""
    return shade(PAINTS[colour][rng.integers(len(PAINTS[colour]))], rng.uniform(0.95, 1.05))


def shade(rgb: Iterable[float], factor: float) -> RGB:
    """The colour times a brightness, at most 255."""
    red, green, blue = (min(255, round(channel * factor)) for channel in rgb)
    return red, green, blue


def mix(first: Sequence[float], second: Sequence[float], share: float) -> RGB:
    """`share` of the second colour in the first."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def rotate(points: Iterable[Point], angle: float, x: float, y: float) -> list[Point]:
    """The points turned by `angle` degrees about (0, 0), from +x to +y, then moved by (x, y)."""
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    return [(x + px * cos - py * sin, y + px * sin + py * cos) for px, py in points]


def box(x: float, y: float, length: float, width: float) -> list[Point]:
    """Corners of an upright box with the given centre."""
    return [(x + i * length / 2, y + j * width / 2) for i, j in ((-1, -1), (1, -1), (1, 1), (-1, 1))]


def ellipse(x: float, y: float, rx: float, ry: float, start: float = 0.0, end: float = 360.0) -> list[Point]:
    """Points on an ellipse's arc, angles in degrees, from +x to +y."""
    return [(x + rx * cos, y + ry * sin) for cos, sin in _arc(start, end)]


@lru_cache(maxsize=256)
def _arc(start: float, end: float) -> list[Point]:
    angles = np.radians(np.linspace(start, end, max(12, round(abs(end - start) / 8))))
    return list(zip(np.cos(angles).tolist(), np.sin(angles).tolist(), strict=True))


def capsule(x: float, y: float, length: float, width: float) -> list[Point]:
    """Outline of a box with two round ends: a running track."""
    straight = (length - width) / 2
    right = ellipse(x + straight, y, width / 2, width / 2, -90, 90)
    return right + ellipse(x - straight, y, width / 2, width / 2, 90, 270)


def rounded(x: float, y: float, length: float, width: float, radius: float) -> list[Point]:
    """Outline of a box with round corners."""
    dx, dy = length / 2 - radius, width / 2 - radius
    corners = ((dx, dy, 0), (-dx, dy, 90), (-dx, -dy, 180), (dx, -dy, 270))
    return [p for cx, cy, a in corners for p in ellipse(x + cx, y + cy, radius, radius, a, a + 90)]


@dataclass(frozen=True)
class Sprite:
    """One drawn object, ready to be placed.

    Attributes:
        category: class name as it is said.
        colour: the paint's name, None for an object of several colours.
        rgb: (h, w, 3) uint8.
        coverage: share of every pixel that the object covers, (h, w) float32 in 0..1.
        height: of the object, in pixels of its shadow's length.
    """

    category: str
    colour: str | None
    rgb: np.ndarray
    coverage: np.ndarray
    height: float

    @property
    def mask(self) -> np.ndarray:
        """The pixels that the object covers by half or more, (h, w) bool."""
        return self.coverage >= 0.5


class Tile:
    """A canvas for one object, drawn in its own frame: x along its length, the centre at (0, 0).

    Args:
        length: extent along x in units (256 units are the side of an image of any size).
        width: extent along y in units.
        angle: rotation in degrees, from +x to +y of the image.
        unit: pixels a unit.
        base: the colour where nothing else is painted.
    """

    def __init__(self, length: float, width: float, angle: float, unit: float, base: RGB) -> None:
        self.scale = unit * OVERSAMPLE
        self.cos, self.sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        half_x = (abs(length * self.cos) + abs(width * self.sin)) / 2
        half_y = (abs(length * self.sin) + abs(width * self.cos)) / 2
        self.half = math.ceil(half_x * unit + 1.5), math.ceil(half_y * unit + 1.5)
        size = 2 * self.half[0] * OVERSAMPLE, 2 * self.half[1] * OVERSAMPLE
        self._rgb = Image.new('RGB', size, base)
        self._coverage = Image.new('L', size, 0)
        self._paint = ImageDraw.Draw(self._rgb)
        self._cover = ImageDraw.Draw(self._coverage)

    def _pixels(self, points: Iterable[Point]) -> list[Point]:
        cx, cy = (half * OVERSAMPLE for half in self.half)
        cos, sin = self.scale * self.cos, self.scale * self.sin
        return [(cx + x * cos - y * sin, cy + x * sin + y * cos) for x, y in points]

    def body(self, points: Iterable[Point], rgb: RGB | None = None) -> None:
        """Adds a polygon to the object's outline, painted when a colour is given."""
        pixels = self._pixels(points)
        self._cover.polygon(pixels, 255)
        if rgb is not None:
            self._paint.polygon(pixels, rgb)

    def fill(self, points: Iterable[Point], rgb: RGB) -> None:
        """Paints a polygon on the object; what lies outside its outline does not show."""
        self._paint.polygon(self._pixels(points), rgb)

    def line(self, points: Iterable[Point], rgb: RGB, width: float) -> None:
        """Paints a line on the object, its width in units."""
        self._paint.line(self._pixels(points), rgb, max(1, round(width * self.scale)), 'curve')

    def sprite(self, category: str, colour: str | None, height: float = 0.0) -> Sprite:
        """What was drawn, at the image's resolution; `height` in units."""
        coverage = np.asarray(self._coverage.reduce(OVERSAMPLE), np.float32) / 255
        rgb = np.asarray(self._rgb.reduce(OVERSAMPLE))
        return Sprite(category, colour, rgb, coverage, height * self.scale / OVERSAMPLE)
