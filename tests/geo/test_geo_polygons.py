"""Objects over tiles against the same mask traced in one piece."""

import numpy as np
import pytest

pytest.importorskip('rasterio')

import shapely
from rasterio.features import rasterize, shapes
from scipy import ndimage

from rs2sam2.geo.polygons import PolygonTracer


def _trace(mask, probability, tile):
    tracer = PolygonTracer(mask.shape[1])
    found = []
    for y in range(0, mask.shape[0], tile):
        for x in range(0, mask.shape[1], tile):
            window = (slice(y, y + tile), slice(x, x + tile))
            tracer.add(y, x, mask[window], probability[window])
        found += tracer.end_row()
    return [*found, *tracer.end()]


def _spiral(size):
    """One object that crosses every tile many times and closes late."""
    mask = np.zeros((size, size), bool)
    y, x, dy, dx = 0, 0, 0, 1
    mask[0, 0] = True
    turns = 0
    while turns < 2:
        ahead, beyond = (y + dy, x + dx), (y + 2 * dy, x + 2 * dx)
        inside = 0 <= ahead[0] < size and 0 <= ahead[1] < size
        free = not (0 <= beyond[0] < size and 0 <= beyond[1] < size and mask[beyond])
        if inside and free and not mask[ahead]:
            y, x = ahead
            mask[y, x] = True
            turns = 0
        else:
            dy, dx = dx, -dy
            turns += 1
    return mask


def _masks():
    rng = np.random.default_rng(0)
    yield 'noise', rng.random((61, 83)) < 0.55
    yield 'smooth', ndimage.gaussian_filter(rng.standard_normal((90, 70)), 4) > 0
    yield 'spiral', _spiral(53)
    yield 'full', np.ones((40, 33), bool)
    yield 'empty', np.zeros((40, 33), bool)
    ring = np.zeros((64, 64), bool)
    ring[5:60, 5:60], ring[20:40, 20:40], ring[28:32, 28:32] = True, False, True
    yield 'ring around an island', ring
    yield 'checkerboard', np.indices((20, 20)).sum(0) % 2 == 0


@pytest.mark.parametrize('tile', [7, 16, 1000])
@pytest.mark.parametrize(('name', 'mask'), list(_masks()), ids=lambda value: value if isinstance(value, str) else '')
def test_tiles_leave_no_trace(name, mask, tile):
    probability = np.random.default_rng(1).random(mask.shape)
    found = _trace(mask, probability, tile)
    labels, count = ndimage.label(mask)
    assert len(found) == count
    expected = {}
    for outline, label in shapes(labels.astype(np.int32), mask, 4):
        expected[shapely.Polygon(outline['coordinates'][0], outline['coordinates'][1:]).normalize()] = int(label)
    for traced in found:
        assert traced.polygon.geom_type == 'Polygon'
        assert traced.polygon.is_valid
        assert traced.polygon.area == traced.pixels
        match = [label for polygon, label in expected.items() if polygon.equals(traced.polygon)]
        assert len(match) == 1
        inside = labels == match[0]
        assert traced.pixels == inside.sum()
        assert traced.score == pytest.approx(probability[inside].mean())
    if found:
        burned = rasterize([traced.polygon for traced in found], mask.shape)
        np.testing.assert_array_equal(burned.astype(bool), mask)


def test_no_vertex_where_only_a_tile_ends():
    mask = np.zeros((64, 64), bool)
    mask[3:60, 3:60] = True
    (traced,) = _trace(mask, mask.astype(float), 16)
    assert len(traced.polygon.exterior.coords) <= 6  # four corners, the closing one, at most one more at the start


def test_memory_of_closed_objects_is_given_back():
    tracer = PolygonTracer(64)
    mask = np.random.default_rng(0).random((64, 64)) < 0.4
    mask[-1] = False
    for row in range(20):
        tracer.add(64 * row, 0, mask, mask.astype(float))
        assert len(list(tracer.end_row())) == ndimage.label(mask)[1]
        assert not tracer._parts
        assert len(tracer._parent) == 1
