"""Windows, taper, blending: no seam, every pixel once."""

import numpy as np
import pytest

pytest.importorskip('rasterio')

from helpers.geo_scenes import BrightThings, blobs, write_scene
from rs2sam2.geo.blend import Blend, blend_windows
from rs2sam2.geo.clock import StageClock
from rs2sam2.geo.reader import SceneReader
from rs2sam2.geo.storage import DiskRaster
from rs2sam2.geo.windows import WindowGrid, tile_axis


@pytest.mark.parametrize('overlap', [0.0, 0.1, 0.25, 0.5])
@pytest.mark.parametrize('length', [1, 63, 64, 65, 100, 128, 1000, 4097])
def test_taper_is_a_partition_of_unity(length, overlap):
    axis = tile_axis(length, 64, overlap)
    total = np.zeros(max(length, 64))
    for start, weights in zip(axis.starts, axis.weights, strict=True):
        total[start : start + 64] += weights
    np.testing.assert_allclose(total[:length], 1, atol=1e-6)
    assert axis.starts[0] == 0
    assert axis.starts[-1] == max(0, length - 64)
    assert (np.diff(axis.starts) <= max(1, 64 - round(overlap * 64))).all()
    assert (axis.weights >= 0).all()


def test_a_windows_edge_weighs_next_to_nothing():
    weights = tile_axis(1000, 64, 0.25).weights[1]
    assert weights[0] < 0.02
    assert weights[-1] < 0.02
    assert weights[32] == 1


def test_disk_raster_against_memory(tmp_path):
    rng = np.random.default_rng(0)
    expected = np.zeros((40, 70), np.float32)
    with DiskRaster(tmp_path / 'a.bin', 40, 70, np.float32) as raster:
        for _ in range(30):
            y, x = rng.integers((0, 0), (40, 70))
            window = rng.random((rng.integers(1, 41 - y), rng.integers(1, 71 - x)), dtype=np.float32)
            expected[y : y + window.shape[0], x : x + window.shape[1]] += window
            raster.add(y, x, window)
        np.testing.assert_array_equal(raster.read(0, 0, 40, 70), expected)
        np.testing.assert_array_equal(raster.read(3, 5, 7, 11), expected[3:10, 5:16])


def _blended(scene, folder, grid, predictor, batch_size):
    reader = SceneReader(scene)
    with DiskRaster(folder / f'{batch_size}.bin', *reader.grid_shape, np.float32) as raster:
        blend = Blend('x', set(grid.places()), raster)
        seen = list(blend_windows(reader, grid, [blend], predictor, batch_size, StageClock()))
        reader.close()
        return raster.read(0, 0, *reader.grid_shape), sum(seen)


@pytest.mark.parametrize('batch_size', [1, 3, 100])
def test_windows_equal_the_whole_scene_without_a_seam(tmp_path, batch_size):
    data = blobs(300, 413)
    scene = write_scene(tmp_path / 'scene.tif', data, tiled=True, blockxsize=64, blockysize=64)
    grid = WindowGrid(tile_axis(300, 128, 0.25), tile_axis(413, 128, 0.25))
    blended, seen = _blended(scene, tmp_path, grid, BrightThings(reach=1), batch_size)
    whole = BrightThings(reach=1).predict([data.transpose(1, 2, 0)], 'x')[0]
    np.testing.assert_allclose(blended, whole, atol=1e-4)
    assert seen == len(grid.places()) == 12


def test_no_seam_with_a_filter_that_reaches_beyond_its_window(tmp_path):
    data = blobs(500, 500, seed=1)
    scene = write_scene(tmp_path / 'scene.tif', data)
    whole = BrightThings(reach=9).predict([data.transpose(1, 2, 0)], 'x')[0]
    # Two windows of 500 x 320 share 140 columns; within 4 pixels of a window's edge its filter lacks its neighbours.
    grid = WindowGrid(tile_axis(500, 500, 0.25), tile_axis(500, 320, 0.25))
    blended, _ = _blended(scene, tmp_path, grid, BrightThings(reach=9), 2)
    edges = np.zeros((500, 500), bool)
    for start in grid.columns.starts:
        edges[:, max(0, start - 4) : start + 4] = edges[:, start + 316 : start + 324] = True
    np.testing.assert_allclose(blended[~edges], whole[~edges], atol=1e-4)
    # Even there the taper hides it: weights near an edge are next to nothing.
    np.testing.assert_allclose(blended, whole, atol=0.02)


@pytest.mark.parametrize('gsd', [0.31, 0.8, 2.9])
def test_a_resampled_window_is_part_of_the_resampled_whole(tmp_path, gsd):
    data = np.random.default_rng(0).integers(0, 256, (3, 400, 430), dtype=np.uint8)
    reader = SceneReader(write_scene(tmp_path / 'scene.tif', data, tiled=True, blockxsize=64, blockysize=64), gsd=gsd)
    whole = reader.read(0, 0, *reader.grid_shape)[0].astype(int)
    height, width = (side // 2 for side in reader.grid_shape)
    for y, x in ((0, 0), (7, 13), (height // 2, width // 3), (height, width)):
        window = reader.read(y, x, height, width)[0]
        np.testing.assert_allclose(window, whole[y : y + height, x : x + width], atol=1)
    reader.close()
