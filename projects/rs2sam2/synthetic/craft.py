"""Things that move: airplanes, ships, vehicles. Sizes in units, see `drawing.Tile`."""

import numpy as np

from rs2sam2.synthetic.drawing import RGB, Sprite, Tile, box, ellipse, mix, paint, rounded, shade

_GLASS: RGB = (44, 54, 66)
AIRPLANE_COLOURS = ('white', 'white', 'white', 'gray', 'red', 'blue', 'yellow', 'orange', 'black')
SHIP_COLOURS = ('white', 'white', 'gray', 'red', 'black', 'orange', 'yellow')
VEHICLE_COLOURS = ('white', 'white', 'red', 'red', 'blue', 'black', 'yellow', 'green', 'orange')


def airplane(rng: np.random.Generator, unit: float, size: float, angle: float, colour: str) -> Sprite:
    """An airliner from above, nose towards `angle`, `size` units long."""
    base = paint(colour, rng)
    dark, light = shade(base, 0.8), mix(base, (255, 255, 255), 0.3)
    tile = Tile(size, size, angle, unit, base)
    n = size / 2
    body, span, sweep = n * 0.105, n * rng.uniform(0.9, 0.98), n * rng.uniform(0.32, 0.5)
    for side in (-1, 1):
        wing = [(n * 0.3, side * body * 0.6), (n * 0.3 - sweep, side * span), (n * 0.16 - sweep, side * span)]
        tile.body([*wing, (-n * 0.18, side * body * 0.6)], shade(base, 0.93 if side < 0 else 0.87))
        tile.line([(n * 0.14 - sweep, side * span), (-n * 0.18, side * body)], dark, n * 0.03)
        tail = [(-n * 0.66, 0), (-n * 0.86, side * n * 0.38), (-n * 0.97, side * n * 0.38), (-n * 0.93, 0)]
        tile.body(tail, shade(base, 0.9))
        for reach in (0.36, 0.64) if size > 52 else (0.42,):
            y, x = side * span * reach, n * 0.3 - sweep * reach + n * 0.03
            tile.body(rounded(x, y, n * 0.22, n * 0.1, n * 0.045), shade(base, 0.72))
            tile.fill(ellipse(x + n * 0.1, y, n * 0.03, n * 0.045), (60, 62, 66))
    hull = ellipse(n * 0.6, 0, n * 0.39, body, -90, 90)
    hull += [(-n * 0.55, body), (-n * 0.98, body * 0.25), (-n * 0.98, -body * 0.25), (-n * 0.55, -body)]
    tile.body(hull, base)
    tile.line([(n * 0.8, -body * 0.25), (-n * 0.7, -body * 0.25)], light, body * 0.7)
    tile.fill(ellipse(n * 0.87, 0, n * 0.035, body * 0.55), _GLASS)
    stripe = dark if colour != 'white' else paint(str(rng.choice(('blue', 'red', 'gray', 'orange'))), rng)
    tile.fill([(-n * 0.68, 0), (-n * 0.98, body * 0.3), (-n * 0.98, -body * 0.3)], stripe)
    return tile.sprite('airplane', colour, height=size * 0.1)


def ship(rng: np.random.Generator, unit: float, size: float, angle: float, colour: str) -> Sprite:
    """A freighter (long) or a boat (short), bow towards `angle`."""
    base = paint(colour, rng)
    n, beam = size / 2, size * rng.uniform(0.2, 0.25) / 2
    tile = Tile(size, 2 * beam, angle, unit, base)
    bow = [(n * 0.55, -beam), (n * 0.82, -beam * 0.6), (n, 0), (n * 0.82, beam * 0.6), (n * 0.55, beam)]
    tile.body([*bow, (-n * 0.88, beam), (-n, beam * 0.75), (-n, -beam * 0.75), (-n * 0.88, -beam)], shade(base, 0.8))
    deck = [(x * 0.95, y * 0.8) for x, y in bow]
    tile.fill([*deck, (-n * 0.93, beam * 0.75), (-n * 0.93, -beam * 0.75)], base)
    light, dark = mix(base, (255, 255, 255), 0.22), shade(base, 0.86)
    if size > 40:
        holds = int(rng.integers(3, 5))
        for x in np.linspace(-n * 0.42, n * 0.48, holds):
            tile.fill(box(x, 0, n * 0.22, beam * 1.0), dark)
            tile.line([(x - n * 0.1, -beam * 0.45), (x + n * 0.1, -beam * 0.45)], light, beam * 0.16)
        cabin = shade((232, 232, 228), 1.0) if colour != 'white' else (206, 210, 214)
        tile.fill(box(-n * 0.73, 0, n * 0.2, beam * 1.35), cabin)
        tile.fill(box(-n * 0.64, 0, n * 0.045, beam * 1.1), _GLASS)
        tile.fill(ellipse(-n * 0.78, 0, n * 0.045, n * 0.045), (70, 66, 64))
    else:
        tile.fill(rounded(-n * 0.12, 0, n * 0.62, beam * 1.1, beam * 0.3), light)
        tile.fill(box(n * 0.14, 0, n * 0.1, beam * 0.9), _GLASS)
        tile.line([(-n * 0.9, 0), (-n * 0.5, 0)], dark, beam * 0.5)
    return tile.sprite('ship', colour, height=size * 0.05)


def vehicle(rng: np.random.Generator, unit: float, size: float, angle: float, colour: str) -> Sprite:
    """A car, or a truck from 25 units on, front towards `angle`."""
    base = paint(colour, rng)
    n, half = size / 2, size * (0.235 if size < 25 else 0.18)
    tile = Tile(size, 2 * half, angle, unit, base)
    if size < 25:
        tile.body(rounded(0, 0, size, 2 * half, half * 0.5), base)
        tile.fill(rounded(-n * 0.1, 0, n * 1.1, half * 1.6, half * 0.3), shade(base, 0.86))
        tile.fill(
            [(n * 0.44, -half * 0.72), (n * 0.44, half * 0.72), (n * 0.2, half * 0.6), (n * 0.2, -half * 0.6)], _GLASS
        )
        tile.fill(box(-n * 0.62, 0, n * 0.14, half * 1.25), _GLASS)
        tile.fill(rounded(-n * 0.2, 0, n * 0.66, half * 1.3, half * 0.25), mix(base, (255, 255, 255), 0.12))
    else:
        tile.body(rounded(-n * 0.22, 0, n * 1.56, 2 * half, half * 0.12), base)
        tile.body(box(n * 0.6, 0, n * 0.2, half * 0.8), (58, 58, 60))
        tile.body(rounded(n * 0.8, 0, n * 0.4, 1.8 * half, half * 0.3), shade(base, 0.92))
        tile.fill(box(n * 0.84, 0, n * 0.1, half * 1.4), _GLASS)
        for x in np.arange(-n * 0.85, n * 0.5, n * 0.24):
            tile.line([(x, -half), (x, half)], shade(base, 0.9), n * 0.035)
        tile.line([(-n, -half * 0.8), (n * 0.55, -half * 0.8)], mix(base, (255, 255, 255), 0.25), half * 0.25)
    return tile.sprite('vehicle', colour, height=2.2 if size < 25 else 4.0)
