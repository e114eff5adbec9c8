"""Six kinds of places, each with its ground and with objects where they belong."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from rs2sam2.scenes import craft, facilities, ground
from rs2sam2.scenes.canvas import Canvas
from rs2sam2.scenes.drawing import Point, Sprite, Tile, box, ellipse, shade

_TRIES = 40


class _Variety:
    """Sizes and colours of the objects of one class: often alike in one way, so that the other must be said."""

    def __init__(self, rng: np.random.Generator, sizes: tuple[float, float], colours: Sequence[str]) -> None:
        self.rng = rng
        low, high = sizes
        middle = math.sqrt(low * high)
        same = rng.uniform(low, high)
        self._sizes = ((low, middle * 0.95), (middle * 1.1, high)) if rng.random() < 0.55 else ((same, same * 1.04),)
        several = rng.permutation(sorted(set(colours)))[:3]
        self._colours = tuple(several) if rng.random() < 0.75 else (colours[rng.integers(len(colours))],)
        self._next = int(rng.integers(6))

    def draw(self) -> tuple[float, str]:
        """Size and colour of the next object."""
        self._next += 1
        size = self.rng.uniform(*self._sizes[self._next % len(self._sizes)])
        return float(size), str(self._colours[self.rng.integers(len(self._colours))])


def _scatter(canvas: Canvas, number: int, zone: str, make: Callable[[], Sprite], gap: float = 5.0) -> None:
    """Places up to `number` objects at random in a zone."""
    for _ in range(number):
        sprite = make()
        for _ in range(_TRIES):
            x, y = canvas.rng.uniform(12, 244, 2)
            if canvas.place(sprite, x, y, zone, gap):
                break


def _rotate(points: Sequence[Point], angle: float, x: float, y: float) -> list[Point]:
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    return [(x + px * cos - py * sin, y + px * sin + py * cos) for px, py in points]


def _tree(canvas: Canvas) -> Sprite:
    rng = canvas.rng
    r = rng.uniform(3.2, 8)
    tone = shade((56, 84, 46), rng.uniform(0.8, 1.2))
    tile = Tile(2 * r, 2 * r, canvas.sun, canvas.unit, tone)
    for turn in rng.uniform(0, 360, 6):
        tile.body(ellipse(*_rotate([(0.4 * r, 0)], turn, 0, 0)[0], 0.58 * r, 0.58 * r), tone)
        tile.fill(ellipse(*_rotate([(0.32 * r, 0)], turn, r * 0.12, 0)[0], 0.26 * r, 0.26 * r), shade(tone, 1.16))
    tile.fill(ellipse(-r * 0.62, 0, r * 0.34, r * 0.7), shade(tone, 0.84))
    return tile.sprite('tree', None, height=r * 0.9)


def _trees(canvas: Canvas, number: int, zone: str) -> None:
    """Groups of trees; they are no objects of the data set."""
    rng = canvas.rng
    kinds = [_tree(canvas) for _ in range(6)]
    for x, y in rng.uniform(4, 252, (number, 2)):
        for _ in range(rng.integers(1, 6)):
            canvas.decorate(kinds[rng.integers(len(kinds))], *rng.normal((x, y), 8), zone)


def _houses(canvas: Canvas, number: int, zone: str, angle: float) -> None:
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
        canvas.decorate(tile.sprite('house', None, height=6), *rng.uniform(14, 242, 2), zone)


class _Road:
    """A straight two-lane road through (x, y)."""

    def __init__(self, canvas: Canvas, x: float, y: float, angle: float, width: float = 24.0) -> None:
        self.canvas, self.x, self.y, self.angle, self.width = canvas, x, y, angle, width
        canvas.lines([self.run(-400, 400)], width + 5, (150, 146, 136))
        self.coverage = canvas.lines([self.run(-400, 400)], width, ground.asphalt(canvas.rng, canvas.size))
        edges = [self.run(-400, 400, side * width * 0.44) for side in (-1, 1)]
        canvas.lines([self.run(t, t + 7) for t in range(-400, 400, 15)] + edges, 0.9, (206, 206, 198))

    def run(self, start: float, end: float, off: float = 0.0) -> list[Point]:
        """The stretch from `start` to `end` along the road, `off` beside its middle."""
        return _rotate([(start, off), (end, off)], self.angle, self.x, self.y)

    def drive(self, make: Callable[[float], Sprite], zone: str | None = None) -> None:
        """Places one vehicle in a lane."""
        rng = self.canvas.rng
        for _ in range(_TRIES):
            lane = 1 if rng.random() < 0.5 else -1
            ((x, y),) = _rotate([(rng.uniform(-170, 170), lane * self.width * 0.23)], self.angle, self.x, self.y)
            sprite = make(self.angle + (0 if lane > 0 else 180))
            if self.canvas.place(sprite, x, y, zone):
                return


def _vehicles(canvas: Canvas) -> Callable[[float], Sprite]:
    variety = _Variety(canvas.rng, (18, 34), craft.VEHICLE_COLOURS)

    def make(angle: float) -> Sprite:
        size, colour = variety.draw()
        return craft.vehicle(canvas.rng, canvas.unit, size, angle, colour)

    return make


def _tanks(canvas: Canvas, sizes: tuple[float, float] = (22, 46)) -> Callable[[], Sprite]:
    variety = _Variety(canvas.rng, sizes, facilities.TANK_COLOURS)

    def make() -> Sprite:
        size, colour = variety.draw()
        return facilities.storage_tank(canvas.rng, canvas.unit, size, canvas.sun, colour)

    return make


def airport(canvas: Canvas) -> None:
    """Airplanes on an apron, a runway or meadow beside it, service vehicles."""
    rng, size = canvas.rng, canvas.size
    angle = rng.uniform(0, 180)
    canvas.rgb[:] = ground.grass(rng, size)
    off = rng.uniform(-26, 26)
    x, y = 128 - off * math.sin(math.radians(angle)), 128 + off * math.cos(math.radians(angle))
    half = rng.uniform(66, 92)
    apron = _rotate(box(0, 0, 420, 2 * half), angle, x, y)
    coverage = canvas.polygons([apron], ground.concrete(rng, size))
    pitch = rng.uniform(19, 27)
    joints = [_rotate([(-210, v), (210, v)], angle, x, y) for v in np.arange(-half, half, pitch)]
    joints += [_rotate([(u, -half), (u, half)], angle, x, y) for u in np.arange(-210, 210, pitch)]
    canvas.lines(joints, 0.6, (142, 140, 134))
    guide = rng.uniform(-0.3, 0.3) * half
    canvas.lines([_rotate([(-210, guide), (210, guide)], angle, x, y)], 1.3, (206, 172, 70))
    canvas.lines([_rotate(box(0, 0, 430, 2 * half + 5), angle, x, y)], 1.6, (148, 142, 126))
    runway_side = 1 if off < 0 else -1
    runway = runway_side * (half + 36)
    canvas.polygons([_rotate(box(0, runway, 460, 36), angle, x, y)], ground.asphalt(rng, size))
    dashes = [_rotate([(u, runway), (u + 16, runway)], angle, x, y) for u in range(-230, 230, 30)]
    edges = [_rotate([(-230, runway + s * 16), (230, runway + s * 16)], angle, x, y) for s in (-1, 1)]
    canvas.lines(dashes + edges, 1.5, (222, 222, 214))
    canvas.zones = {'apron': coverage > 0.99}
    canvas.zones['meadow'] = _free(canvas, [apron, _rotate(box(0, runway, 460, 44), angle, x, y)])
    variety = _Variety(rng, (40, 82), craft.AIRPLANE_COLOURS)
    nose = angle + rng.choice((0, 90, 180, 270))

    def make() -> Sprite:
        length, colour = variety.draw()
        turn = nose + rng.normal(0, 10) if rng.random() < 0.65 else rng.uniform(0, 360)
        return craft.airplane(rng, canvas.unit, length, turn, colour)

    _scatter(canvas, int(rng.integers(2, 5)), 'apron', make, gap=6)
    vehicle = _vehicles(canvas)
    _scatter(canvas, int(rng.integers(0, 3)), 'apron', lambda: vehicle(angle + 90 * rng.integers(4)))
    if rng.random() < 0.35:
        _scatter(canvas, int(rng.integers(1, 3)), 'meadow', _tanks(canvas, (20, 32)))
    _trees(canvas, 8, 'meadow')


def _free(canvas: Canvas, polygons: Sequence[Sequence[Point]]) -> np.ndarray:
    """The pixels outside all polygons."""

    def draw(image, scale: float) -> None:
        for polygon in polygons:
            image.polygon([(x * scale, y * scale) for x, y in polygon], 255)

    return ground.drawn(canvas.size, draw) == 0


def _ships(canvas: Canvas, number: int, sizes: tuple[float, float], heading: float | None = None) -> None:
    rng = canvas.rng
    variety = _Variety(rng, sizes, craft.SHIP_COLOURS)
    for _ in range(number):
        length, colour = variety.draw()
        for _ in range(_TRIES):
            angle = rng.uniform(0, 360) if heading is None else heading + rng.choice((0, 180)) + rng.normal(0, 8)
            x, y = rng.uniform(12, 244, 2)
            sprite = craft.ship(rng, canvas.unit, length, angle, colour)
            if canvas.place(sprite, x, y, 'water', gap=6):
                if rng.random() < 0.6:
                    stern = _rotate([(-length * 0.46, 0)], angle, x, y)[0]
                    canvas.wake(*stern, angle, length * rng.uniform(0.6, 1.1), length * 0.2)
                break


def coast(canvas: Canvas) -> None:
    """A shoreline with piers, ships on the water, tanks and houses on the land."""
    rng, size = canvas.rng, canvas.size
    angle = rng.uniform(0, 360)
    along, across = ground.coordinates(size, angle)
    shore = rng.uniform(-70, -30)
    swing, phase, length = rng.uniform(2, 8), rng.uniform(0, 6.3), rng.uniform(30, 50)

    def line(t: np.ndarray | float) -> np.ndarray | float:
        return shore + swing * np.sin(t / length + phase)

    depth = along - line(across) + 2.2 * ground.noise(rng, size, (12, 40))
    land = ground.grass(rng, size) if rng.random() < 0.5 else ground.fields(rng, size, angle)
    sea = ground.water(rng, size)
    sea += np.exp(-np.clip(depth, 0, None) / 16)[..., None] * np.array((44, 62, 48), np.float32)
    canvas.rgb[:] = land
    canvas.cover(np.clip((depth + 13) / 3, 0, 1), ground.texture(rng, size, (206, 188, 150), 0.05, (9, 60, 128)))
    canvas.cover(np.clip(depth / 2 + 0.5, 0, 1), sea)
    surf = np.exp(-(((depth - 2.5) / 2.0) ** 2)) * (0.5 + 0.5 * np.clip(ground.noise(rng, size, (30, 70)), -1, 1))
    canvas.cover(0.75 * surf, (232, 236, 232))
    canvas.zones = {'water': depth > 9, 'land': depth < -17}
    variety = _Variety(rng, (54, 90), facilities.HARBOR_COLOURS)
    for _ in range(int(rng.integers(0, 3))):
        pier, colour = variety.draw()
        for _ in range(_TRIES):
            t = rng.uniform(-100, 100)
            ((x, y),) = _rotate([(line(t) + pier * 0.32, t)], angle, 128, 128)
            if canvas.place(facilities.harbor(rng, canvas.unit, pier, angle, colour), x, y, gap=7):
                break
    _ships(canvas, int(rng.integers(2, 5)), (30, 76))
    if rng.random() < 0.55:
        _scatter(canvas, int(rng.integers(1, 3)), 'land', _tanks(canvas, (20, 36)))
    _houses(canvas, 5, 'land', angle)
    _trees(canvas, 12, 'land')


def river(canvas: Canvas) -> None:
    """A river through fields, with bridges, ships and traffic on the roads."""
    rng, size = canvas.rng, canvas.size
    angle = rng.uniform(0, 180)
    along, across = ground.coordinates(size, angle)
    half, swing, length, phase = rng.uniform(20, 36), rng.uniform(4, 14), rng.uniform(45, 70), rng.uniform(0, 6.3)
    off = rng.uniform(-35, 35)
    bank = 1.5 * ground.noise(rng, size, (14, 50))
    depth = half - np.abs(across - off - swing * np.sin(along / length + phase)) + bank
    canvas.rgb[:] = ground.fields(rng, size, angle + rng.uniform(-40, 40))
    crossings = rng.choice((-78.0, -26.0, 26.0, 78.0), int(rng.integers(1, 4)), replace=False) + rng.uniform(-8, 8)
    spots = []
    for t in sorted(crossings):
        slope = math.degrees(math.atan(swing / length * math.cos(t / length + phase)))
        ((x, y),) = _rotate([(t, off + swing * math.sin(t / length + phase))], angle, 128, 128)
        spots.append((x, y, angle + slope * 0.6 + 90 + rng.uniform(-5, 5)))
    roads = [_Road(canvas, x, y, turn, width=22) for x, y, turn in spots]
    canvas.cover(np.clip((depth + 6) / 3, 0, 1), ground.texture(rng, size, (136, 132, 96), 0.08, (20, 90)))
    canvas.cover(np.clip(depth / 2 + 0.5, 0, 1), ground.water(rng, size))
    for road, (x, y, turn) in zip(roads, spots, strict=True):
        canvas.lines([road.run(s * (half + 2), s * (half + 14)) for s in (-1, 1)], 22, (112, 112, 112))
        colour = facilities.BRIDGE_COLOURS[rng.integers(len(facilities.BRIDGE_COLOURS))]
        span = 2 * half + rng.uniform(12, 18)
        canvas.place(facilities.bridge(rng, canvas.unit, span, rng.uniform(19, 25), turn, colour), x, y)
    road_area = np.maximum.reduce([road.coverage for road in roads])
    canvas.zones = {
        'water': depth > 3,
        'land': (depth < -9) & (road_area == 0),
        'road': (depth < -8) & (road_area > 0.9),
    }
    _ships(canvas, int(rng.integers(1, 3)), (26, min(62, half * 2)), angle)
    vehicle = _vehicles(canvas)
    for _ in range(int(rng.integers(0, 3))):
        roads[rng.integers(len(roads))].drive(vehicle, 'road')
    _houses(canvas, 3, 'land', angle)
    _trees(canvas, 14, 'land')


def sports(canvas: Canvas) -> None:
    """A park with courts, running tracks and baseball fields."""
    rng, size = canvas.rng, canvas.size
    angle = rng.uniform(0, 180) if rng.random() < 0.5 else float(rng.choice((0, 90)))
    canvas.rgb[:] = ground.grass(rng, size)
    _, across = ground.coordinates(size, angle + 30)
    canvas.rgb *= 1 + 0.025 * np.sign(np.sin(across / 4))[..., None]
    path = angle + rng.uniform(-25, 25)
    runs = []
    for turn in (path, path + 90)[: int(rng.integers(1, 3))]:
        off = float(rng.choice((-1, 1)) * rng.uniform(50, 105))
        runs.append(_rotate([(-400, off), (400, off)], turn, 128, 128))
    paths = canvas.lines(runs, 7, ground.concrete(rng, size))
    canvas.zones = {'park': paths == 0}
    courts = _Variety(rng, (36, 62), facilities.COURT_COLOURS)

    def turned() -> float:
        return angle + 90 * rng.integers(2) + rng.normal(0, 3)

    def court(make: Callable[..., Sprite]) -> Callable[[], Sprite]:
        def one() -> Sprite:
            length, colour = courts.draw()
            return make(rng, canvas.unit, length, turned(), colour)

        return one

    def track() -> Sprite:
        return facilities.ground_track_field(rng, canvas.unit, rng.uniform(70, 110), turned(), 'red')

    def diamond() -> Sprite:
        return facilities.baseball_field(rng, canvas.unit, rng.uniform(46, 76), angle + 90 * rng.integers(4) + 45)

    kinds = [track, diamond, court(facilities.tennis_court), court(facilities.basketball_court)]
    main = int(rng.choice(4, p=(0.18, 0.22, 0.32, 0.28)))
    plan = [(kind, 1) for index, kind in enumerate(kinds) if index != main and rng.random() < 0.4]
    plan.insert(int(main >= 2) * len(plan), (kinds[main], int(rng.integers(2, 4 if main < 2 else 5))))
    for make, number in plan:
        _scatter(canvas, number, 'park', make, gap=6)
    _houses(canvas, 1, 'park', angle)
    _trees(canvas, 14, 'park')


def town(canvas: Canvas) -> None:
    """Roads with traffic, a parking lot, houses, at times a court."""
    rng, size = canvas.rng, canvas.size
    angle = rng.uniform(0, 180)
    canvas.rgb[:] = ground.grass(rng, size) if rng.random() < 0.6 else ground.soil(rng, size)
    x, y = rng.uniform(60, 196, 2)
    roads = [_Road(canvas, x, y, angle, width=28)]
    side = 1 if (128 - x) * -math.sin(math.radians(angle)) + (128 - y) * math.cos(math.radians(angle)) > 0 else -1
    lot_x, lot_y = _rotate([(rng.uniform(-20, 20), side * rng.uniform(56, 66))], angle, x, y)[0]
    length, pitch, depth = rng.uniform(110, 160), 17.0, 38.0
    lot = _rotate(box(0, 0, length, 2 * depth), angle, lot_x, lot_y)
    canvas.polygons([lot], ground.texture(rng, size, (118, 117, 116), 0.03, (8, 64)))
    canvas.polygons([_rotate(box(length * 0.4, -side * depth, 20, 24), angle, lot_x, lot_y)], (112, 111, 112))
    marks = []
    starts = np.arange(-length / 2 + 6, length / 2 - 4, pitch)
    for s in (-1, 1):
        marks += [_rotate([(u, s * depth * 0.95), (u, s * depth * 0.3)], angle, lot_x, lot_y) for u in starts]
        marks.append(_rotate([(starts[0], s * depth * 0.95), (starts[-1], s * depth * 0.95)], angle, lot_x, lot_y))
    canvas.lines(marks, 0.9, (208, 208, 200))
    road_area = roads[0].coverage
    canvas.zones = {'land': _free(canvas, [lot]) & (road_area == 0)}
    canvas.zones['road'] = road_area > 0.9
    vehicle = _vehicles(canvas)
    for _ in range(int(rng.integers(1, 4))):
        roads[0].drive(vehicle, 'road')
    stalls = [(u + pitch / 2, s) for u in starts[:-1] for s in (-1, 1)]
    for index in rng.permutation(len(stalls))[: int(rng.integers(1, 4))]:
        u, s = stalls[index]
        ((px, py),) = _rotate([(u, s * depth * 0.62)], angle, lot_x, lot_y)
        colour = str(rng.choice(craft.VEHICLE_COLOURS))
        car = craft.vehicle(rng, canvas.unit, rng.uniform(17, 21), angle + 90 * s, colour)
        canvas.place(car, px, py, gap=3)
    if rng.random() < 0.5:
        courts = _Variety(rng, (36, 54), facilities.COURT_COLOURS)
        make = facilities.tennis_court if rng.random() < 0.5 else facilities.basketball_court

        def court() -> Sprite:
            span, colour = courts.draw()
            return make(rng, canvas.unit, span, angle + 90 * rng.integers(2), colour)

        _scatter(canvas, int(rng.integers(1, 3)), 'land', court)
    _houses(canvas, 10, 'land', angle)
    _trees(canvas, 14, 'land')


def depot(canvas: Canvas) -> None:
    """Storage tanks in a yard, a road with trucks beside it."""
    rng, size = canvas.rng, canvas.size
    angle = rng.uniform(0, 180)
    canvas.rgb[:] = ground.soil(rng, size) if rng.random() < 0.6 else ground.fields(rng, size, angle)
    edge = rng.choice((-1, 1)) * rng.uniform(74, 92)
    x, y = _rotate([(0, edge)], angle, 128, 128)[0]
    road = _Road(canvas, x, y, angle, width=27)
    middle = -math.copysign(30, edge)
    yard = _rotate(box(0, middle, 420, 150), angle, 128, 128)
    coverage = canvas.polygons([yard], ground.concrete(rng, size))
    walls = [_rotate([(u, middle - 75), (u, middle + 75)], angle, 128, 128) for u in range(-200, 201, 66)]
    walls += [_rotate([(-210, v), (210, v)], angle, 128, 128) for v in (middle - 75, middle, middle + 75)]
    canvas.lines(walls, 2.2, (136, 132, 124))
    canvas.lines([[(px + 0.7, py + 0.7) for px, py in wall] for wall in walls], 0.8, (198, 194, 184))
    canvas.zones = {'yard': coverage > 0.99, 'road': road.coverage > 0.9}
    canvas.zones['land'] = (coverage == 0) & (road.coverage == 0)
    _scatter(canvas, int(rng.integers(2, 5)), 'yard', _tanks(canvas, (22, 50)), gap=7)
    vehicle = _vehicles(canvas)
    for _ in range(int(rng.integers(0, 3))):
        road.drive(vehicle, 'road')
    _houses(canvas, 2, 'land', angle)
    _trees(canvas, 12, 'land')


LAYOUTS: tuple[Callable[[Canvas], None], ...] = (airport, coast, river, sports, town, depot)
