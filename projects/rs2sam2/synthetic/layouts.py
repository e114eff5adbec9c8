"""Six kinds of places, each with its ground and with objects where they belong."""

import math
from collections.abc import Callable

import numpy as np

from rs2sam2.synthetic import craft, facilities, ground
from rs2sam2.synthetic.canvas import Canvas
from rs2sam2.synthetic.contents import TRIES, Road, Variety, houses, outside, scatter, ships, tanks, trees, vehicles
from rs2sam2.synthetic.drawing import Sprite, box, rotate


def airport(canvas: Canvas) -> None:
    """Airplanes on an apron, a runway or meadow beside it, service vehicles."""
    rng, size = canvas.rng, canvas.size
    angle = rng.uniform(0, 180)
    canvas.rgb[:] = ground.grass(rng, size)
    off = rng.uniform(-26, 26)
    x, y = 128 - off * math.sin(math.radians(angle)), 128 + off * math.cos(math.radians(angle))
    half = rng.uniform(66, 92)
    apron = rotate(box(0, 0, 420, 2 * half), angle, x, y)
    coverage = canvas.polygons([apron], ground.concrete(rng, size))
    pitch = rng.uniform(19, 27)
    joints = [rotate([(-210, v), (210, v)], angle, x, y) for v in np.arange(-half, half, pitch)]
    joints += [rotate([(u, -half), (u, half)], angle, x, y) for u in np.arange(-210, 210, pitch)]
    canvas.lines(joints, 0.6, (142, 140, 134))
    guide = rng.uniform(-0.3, 0.3) * half
    canvas.lines([rotate([(-210, guide), (210, guide)], angle, x, y)], 1.3, (206, 172, 70))
    canvas.lines([rotate(box(0, 0, 430, 2 * half + 5), angle, x, y)], 1.6, (148, 142, 126))
    runway_side = 1 if off < 0 else -1
    runway = runway_side * (half + 36)
    canvas.polygons([rotate(box(0, runway, 460, 36), angle, x, y)], ground.asphalt(rng, size))
    dashes = [rotate([(u, runway), (u + 16, runway)], angle, x, y) for u in range(-230, 230, 30)]
    edges = [rotate([(-230, runway + s * 16), (230, runway + s * 16)], angle, x, y) for s in (-1, 1)]
    canvas.lines(dashes + edges, 1.5, (222, 222, 214))
    canvas.zones = {'apron': coverage > 0.99}
    canvas.zones['meadow'] = outside(canvas, [apron, rotate(box(0, runway, 460, 44), angle, x, y)])
    variety = Variety(rng, (40, 82), craft.AIRPLANE_COLOURS)
    nose = angle + rng.choice((0, 90, 180, 270))

    def make() -> Sprite:
        length, colour = variety.draw()
        turn = nose + rng.normal(0, 10) if rng.random() < 0.65 else rng.uniform(0, 360)
        return craft.airplane(rng, canvas.unit, length, turn, colour)

    scatter(canvas, int(rng.integers(2, 5)), 'apron', make, gap=6)
    vehicle = vehicles(canvas)
    scatter(canvas, int(rng.integers(0, 3)), 'apron', lambda: vehicle(angle + 90 * rng.integers(4)))
    if rng.random() < 0.35:
        scatter(canvas, int(rng.integers(1, 3)), 'meadow', tanks(canvas, (20, 32)))
    trees(canvas, 8, 'meadow')


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
    variety = Variety(rng, (54, 90), facilities.HARBOR_COLOURS)
    for _ in range(int(rng.integers(0, 3))):
        pier, colour = variety.draw()
        for _ in range(TRIES):
            t = rng.uniform(-100, 100)
            ((x, y),) = rotate([(float(line(t)) + pier * 0.32, t)], angle, 128, 128)
            if canvas.place(facilities.harbor(rng, canvas.unit, pier, angle, colour), x, y, gap=7):
                break
    ships(canvas, int(rng.integers(2, 5)), (30, 76))
    if rng.random() < 0.55:
        scatter(canvas, int(rng.integers(1, 3)), 'land', tanks(canvas, (20, 36)))
    houses(canvas, 5, 'land', angle)
    trees(canvas, 12, 'land')


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
        ((x, y),) = rotate([(t, off + swing * math.sin(t / length + phase))], angle, 128, 128)
        spots.append((x, y, angle + slope * 0.6 + 90 + rng.uniform(-5, 5)))
    roads = [Road(canvas, x, y, turn, width=22) for x, y, turn in spots]
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
    ships(canvas, int(rng.integers(1, 3)), (26, min(62, half * 2)), angle)
    vehicle = vehicles(canvas)
    for _ in range(int(rng.integers(0, 3))):
        roads[rng.integers(len(roads))].drive(vehicle, 'road')
    houses(canvas, 3, 'land', angle)
    trees(canvas, 14, 'land')


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
        runs.append(rotate([(-400, off), (400, off)], turn, 128, 128))
    paths = canvas.lines(runs, 7, ground.concrete(rng, size))
    canvas.zones = {'park': paths == 0}
    courts = Variety(rng, (36, 62), facilities.COURT_COLOURS)

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
        scatter(canvas, number, 'park', make, gap=6)
    houses(canvas, 1, 'park', angle)
    trees(canvas, 14, 'park')


def town(canvas: Canvas) -> None:
    """Roads with traffic, a parking lot, houses, at times a court."""
    rng, size = canvas.rng, canvas.size
    angle = rng.uniform(0, 180)
    canvas.rgb[:] = ground.grass(rng, size) if rng.random() < 0.6 else ground.soil(rng, size)
    x, y = rng.uniform(60, 196, 2)
    roads = [Road(canvas, x, y, angle, width=28)]
    side = 1 if (128 - x) * -math.sin(math.radians(angle)) + (128 - y) * math.cos(math.radians(angle)) > 0 else -1
    lot_x, lot_y = rotate([(rng.uniform(-20, 20), side * rng.uniform(56, 66))], angle, x, y)[0]
    length, pitch, depth = rng.uniform(110, 160), 17.0, 38.0
    lot = rotate(box(0, 0, length, 2 * depth), angle, lot_x, lot_y)
    canvas.polygons([lot], ground.texture(rng, size, (118, 117, 116), 0.03, (8, 64)))
    canvas.polygons([rotate(box(length * 0.4, -side * depth, 20, 24), angle, lot_x, lot_y)], (112, 111, 112))
    marks = []
    starts = np.arange(-length / 2 + 6, length / 2 - 4, pitch)
    for s in (-1, 1):
        marks += [rotate([(u, s * depth * 0.95), (u, s * depth * 0.3)], angle, lot_x, lot_y) for u in starts]
        marks.append(rotate([(starts[0], s * depth * 0.95), (starts[-1], s * depth * 0.95)], angle, lot_x, lot_y))
    canvas.lines(marks, 0.9, (208, 208, 200))
    road_area = roads[0].coverage
    canvas.zones = {'land': outside(canvas, [lot]) & (road_area == 0)}
    canvas.zones['road'] = road_area > 0.9
    vehicle = vehicles(canvas)
    for _ in range(int(rng.integers(1, 4))):
        roads[0].drive(vehicle, 'road')
    stalls = [(u + pitch / 2, s) for u in starts[:-1] for s in (-1, 1)]
    for index in rng.permutation(len(stalls))[: int(rng.integers(1, 4))]:
        u, s = stalls[index]
        ((px, py),) = rotate([(u, s * depth * 0.62)], angle, lot_x, lot_y)
        colour = str(rng.choice(craft.VEHICLE_COLOURS))
        car = craft.vehicle(rng, canvas.unit, rng.uniform(17, 21), angle + 90 * s, colour)
        canvas.place(car, px, py, gap=3)
    if rng.random() < 0.5:
        courts = Variety(rng, (36, 54), facilities.COURT_COLOURS)
        make = facilities.tennis_court if rng.random() < 0.5 else facilities.basketball_court

        def court() -> Sprite:
            span, colour = courts.draw()
            return make(rng, canvas.unit, span, angle + 90 * rng.integers(2), colour)

        scatter(canvas, int(rng.integers(1, 3)), 'land', court)
    houses(canvas, 10, 'land', angle)
    trees(canvas, 14, 'land')


def depot(canvas: Canvas) -> None:
    """Storage tanks in a yard, a road with trucks beside it."""
    rng, size = canvas.rng, canvas.size
    angle = rng.uniform(0, 180)
    canvas.rgb[:] = ground.soil(rng, size) if rng.random() < 0.6 else ground.fields(rng, size, angle)
    edge = rng.choice((-1, 1)) * rng.uniform(74, 92)
    x, y = rotate([(0, edge)], angle, 128, 128)[0]
    road = Road(canvas, x, y, angle, width=27)
    middle = -math.copysign(30, edge)
    yard = rotate(box(0, middle, 420, 150), angle, 128, 128)
    coverage = canvas.polygons([yard], ground.concrete(rng, size))
    walls = [rotate([(u, middle - 75), (u, middle + 75)], angle, 128, 128) for u in range(-200, 201, 66)]
    walls += [rotate([(-210, v), (210, v)], angle, 128, 128) for v in (middle - 75, middle, middle + 75)]
    canvas.lines(walls, 2.2, (136, 132, 124))
    canvas.lines([[(px + 0.7, py + 0.7) for px, py in wall] for wall in walls], 0.8, (198, 194, 184))
    canvas.zones = {'yard': coverage > 0.99, 'road': road.coverage > 0.9}
    canvas.zones['land'] = (coverage == 0) & (road.coverage == 0)
    scatter(canvas, int(rng.integers(2, 5)), 'yard', tanks(canvas, (22, 50)), gap=7)
    vehicle = vehicles(canvas)
    for _ in range(int(rng.integers(0, 3))):
        road.drive(vehicle, 'road')
    houses(canvas, 2, 'land', angle)
    trees(canvas, 12, 'land')


LAYOUTS: tuple[Callable[[Canvas], None], ...] = (airport, coast, river, sports, town, depot)
