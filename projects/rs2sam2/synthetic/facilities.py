"""Things that stand: tanks, courts, fields, bridges, harbors. Sizes in units, see `drawing.Tile`."""

import math

import numpy as np

from rs2sam2.synthetic.drawing import RGB, Sprite, Tile, box, capsule, ellipse, mix, paint, shade

_LINE: RGB = (236, 236, 230)
TANK_COLOURS = ('white', 'white', 'gray', 'red', 'blue', 'green', 'yellow', 'brown')
COURT_COLOURS = ('green', 'blue', 'red', 'orange')
BRIDGE_COLOURS = ('gray', 'gray', 'white', 'red', 'brown')
HARBOR_COLOURS = ('gray', 'white', 'brown')


def storage_tank(rng: np.random.Generator, unit: float, size: float, sun: float, colour: str) -> Sprite:
    """A round tank, `size` its diameter, `sun` the direction in degrees that the light comes from."""
    base = paint(colour, rng)
    light = mix(base, (255, 255, 255), 0.25)
    tile = Tile(size, size, sun, unit, base)
    r = size / 2
    tile.body(ellipse(0, 0, r, r), shade(base, 0.84))
    tile.fill(ellipse(r * 0.05, 0, r * 0.9, r * 0.9), base)
    if rng.random() < 0.5:
        tile.fill([*ellipse(0, 0, r * 0.9, r * 0.9, 120, 240), (-r * 0.1, 0)], shade(base, 0.92))
        tile.fill([*ellipse(0, 0, r * 0.9, r * 0.9, -50, 50), (r * 0.1, 0)], light)
        for angle in range(0, 360, 30):
            x, y = math.cos(math.radians(angle)), math.sin(math.radians(angle))
            tile.line([(x * r * 0.15, y * r * 0.15), (x * r * 0.88, y * r * 0.88)], shade(base, 0.9), r * 0.03)
    else:
        tile.fill(ellipse(0, 0, r * 0.7, r * 0.7), shade(base, 0.95))
        tile.line(ellipse(0, 0, r * 0.7, r * 0.7), light, r * 0.06)
    tile.line(ellipse(0, 0, r * 0.93, r * 0.93, -70, 70), light, r * 0.08)
    tile.fill(ellipse(0, 0, r * 0.13, r * 0.13), shade(base, 0.75))
    tile.line([(0, r * 0.15), (0, r * 0.9)], shade(base, 0.76), r * 0.07)
    return tile.sprite('storage tank', colour, height=size * 0.22)


def _court(rng: np.random.Generator, unit: float, size: float, ratio: float, angle: float, colour: str) -> Tile:
    """The ground of a court with its run-off."""
    base = paint(colour, rng)
    tile = Tile(size, size * ratio, angle, unit, base)
    tile.body(box(0, 0, size, size * ratio), shade(base, 0.8))
    tile.fill(box(0, 0, size * 0.78, size * ratio * 0.74), base)
    return tile


def tennis_court(rng: np.random.Generator, unit: float, size: float, angle: float, colour: str) -> Sprite:
    """A tennis court, `size` its length with the run-off."""
    tile = _court(rng, unit, size, 0.54, angle, colour)
    a, b, w = size * 0.39, size * 0.2, size * 0.014
    tile.line([*box(0, 0, 2 * a, 2 * b), (-a, -b), (a, -b)], _LINE, w)
    for y in (-b * 0.75, b * 0.75):
        tile.line([(-a, y), (a, y)], _LINE, w)
    for x in (-a * 0.54, a * 0.54):
        tile.line([(x, -b * 0.75), (x, b * 0.75)], _LINE, w)
    tile.line([(-a * 0.54, 0), (a * 0.54, 0)], _LINE, w)
    tile.line([(0, -b * 1.15), (0, b * 1.15)], (44, 46, 48), w * 1.3)
    return tile.sprite('tennis court', colour)


def basketball_court(rng: np.random.Generator, unit: float, size: float, angle: float, colour: str) -> Sprite:
    """A basketball court, `size` its length with the run-off."""
    tile = _court(rng, unit, size, 0.6, angle, colour)
    a, b, w = size * 0.39, size * 0.222, size * 0.016
    key = paint('orange' if colour in ('green', 'blue') else 'blue', rng)
    tile.line([*box(0, 0, 2 * a, 2 * b), (-a, -b), (a, -b)], _LINE, w)
    tile.line([(0, -b), (0, b)], _LINE, w)
    tile.line(ellipse(0, 0, b * 0.36, b * 0.36), _LINE, w)
    for side in (-1, 1):
        tile.line(ellipse(side * a * 0.86, 0, a * 0.52, b * 0.86, 90 + 90 * side, 270 + 90 * side), _LINE, w)
        tile.fill(box(side * a * 0.79, 0, a * 0.42, b * 0.6), key)
        tile.line([*box(side * a * 0.79, 0, a * 0.42, b * 0.6), (side * a * 0.79 - a * 0.21, -b * 0.3)], _LINE, w)
        tile.line(ellipse(side * a * 0.58, 0, b * 0.3, b * 0.3), _LINE, w)
    return tile.sprite('basketball court', colour)


def ground_track_field(rng: np.random.Generator, unit: float, size: float, angle: float, colour: str) -> Sprite:
    """A running track around a football field, `size` its length; `colour` is the track's."""
    base = paint(colour, rng)
    width = size * rng.uniform(0.5, 0.58)
    tile = Tile(size, width, angle, unit, base)
    tile.body(capsule(0, 0, size, width), base)
    for share in (0.05, 0.1):
        loop = capsule(0, 0, size - 2 * share * width, width * (1 - 2 * share))
        tile.line([*loop, loop[0]], mix(base, _LINE, 0.55), width * 0.012)
    inner = width * 0.68
    length = size - width + inner
    tile.fill(capsule(0, 0, length, inner), (84, 138, 66))
    a, b = (size - width) / 2 + inner * 0.16, inner * 0.42
    for index in range(8):
        if index % 2:
            tile.fill(box(-a + (index + 0.5) * a / 4, 0, a / 4, 2 * b), (98, 152, 74))
    w = width * 0.018
    tile.line([*box(0, 0, 2 * a, 2 * b), (-a, -b), (a, -b)], _LINE, w)
    tile.line([(0, -b), (0, b)], _LINE, w)
    tile.line(ellipse(0, 0, b * 0.32, b * 0.32), _LINE, w)
    for side in (-1, 1):
        x, d = side * a, side * a * 0.24
        tile.line([(x, -b * 0.5), (x - d, -b * 0.5), (x - d, b * 0.5), (x, b * 0.5)], _LINE, w)
    # Track and lawn share the object: neither colour alone names it.
    return tile.sprite('ground track field', None)


def baseball_field(rng: np.random.Generator, unit: float, size: float, angle: float) -> Sprite:
    """A baseball diamond, home plate at the back, the outfield towards `angle`; `size` its depth."""
    dirt, lawn = shade((204, 160, 108), rng.uniform(0.95, 1.05)), shade((92, 142, 70), rng.uniform(0.94, 1.06))
    tile = Tile(size, size * 1.3, angle, unit, lawn)
    home, reach = -size / 2 + size * 0.05, size * 0.94
    tile.body([(home - size * 0.04, 0), *ellipse(home, 0, reach, reach, -45, 45)], lawn)
    for share in np.arange(0.62, 0.96, 0.13):
        tile.line(ellipse(home, 0, reach * share, reach * share, -43, 43), shade(lawn, 1.07), size * 0.055)
    tile.fill([(home - size * 0.04, 0), *ellipse(home, 0, reach * 0.55, reach * 0.55, -45, 45)], dirt)
    base = reach * 0.3
    diamond = [(home + base * 0.22, 0), (home + base * 0.92, -base * 0.6), (home + base * 1.5, 0)]
    tile.fill([*diamond, (home + base * 0.92, base * 0.6)], lawn)
    tile.fill(ellipse(home + base * 0.88, 0, size * 0.032, size * 0.032), dirt)
    for side in (-1, 1):
        tile.line([(home, 0), (home + reach * 0.7, side * reach * 0.7)], _LINE, size * 0.013)
    arc = ellipse(home, 0, reach * 0.985, reach * 0.985, -45, 45)
    tile.line(arc, shade(dirt, 0.95), size * 0.035)
    return tile.sprite('baseball field', None)


def bridge(rng: np.random.Generator, unit: float, size: float, width: float, angle: float, colour: str) -> Sprite:
    """A road bridge, `size` long along `angle`."""
    base = paint(colour, rng)
    tile = Tile(size, width, angle, unit, base)
    n, half = size / 2, width / 2
    tile.body(box(0, 0, size, width), base)
    for side in (-1, 1):
        tile.line([(-n, side * half * 0.93), (n, side * half * 0.93)], mix(base, (255, 255, 255), 0.45), width * 0.07)
        tile.line([(-n, side * half * 0.76), (n, side * half * 0.76)], shade(base, 0.72), width * 0.05)
    for x in np.arange(-n + 4, n - 2, 8):
        tile.line([(x, 0), (x + 3.5, 0)], _LINE if colour != 'white' else (150, 150, 150), width * 0.06)
    for x in (-n * 0.5, 0, n * 0.5):
        tile.line([(x, -half), (x, half)], shade(base, 0.85), 0.7)
    return tile.sprite('bridge', colour, height=5.0)


def harbor(rng: np.random.Generator, unit: float, size: float, angle: float, colour: str) -> Sprite:
    """A pier with berths on both sides, the land behind, `size` long towards `angle`."""
    base = paint(colour, rng)
    spread, berths = size * 0.46, int(rng.integers(3, 5))
    tile = Tile(size, spread, angle, unit, base)
    n, stem = size / 2, size * 0.075
    tile.body(box(0, 0, size, 2 * stem), base)
    for x in np.linspace(-n * 0.3, n - size * 0.045, berths):
        tile.body(box(x, 0, size * 0.09, spread), base)
        tile.line([(x + size * 0.03, -spread / 2), (x + size * 0.03, spread / 2)], shade(base, 0.88), size * 0.018)
    tile.fill(box(-n * 0.82, 0, size * 0.16, spread), shade(base, 0.92))
    tile.body(box(-n * 0.84, 0, size * 0.16, spread), shade(base, 0.92))
    tile.line([(-n * 0.7, 0), (n, 0)], mix(base, (255, 255, 255), 0.3), stem * 0.25)
    for x in np.arange(-n * 0.6, n, size * 0.07):
        tile.line([(x, -stem), (x, stem)], shade(base, 0.9), 0.5)
    tile.fill(box(-n * 0.84, spread * 0.22, size * 0.1, spread * 0.3), mix(base, (255, 255, 255), 0.35))
    return tile.sprite('harbor', colour, height=2.0)
