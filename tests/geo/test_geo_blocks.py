"""Blocks of a scene: what they are cut from, what they leave, and that it is the same however they come about."""

import itertools

import numpy as np
import pytest

pytest.importorskip('rasterio')

import pyogrio
import rasterio

from helpers.geo_scenes import BrightThings, blobs, write_scene
from rs2sam2.geo.blocks import cut_blocks
from rs2sam2.geo.board import Board
from rs2sam2.geo.job import make_job, slugs
from rs2sam2.geo.options import SceneOptions
from rs2sam2.geo.scene import run_one, segment_scene
from rs2sam2.geo.units import SceneWorker
from rs2sam2.geo.windows import WindowGrid, tile_axis
from rs2sam2.workers.local import LocalWorker


class Known(BrightThings):
    """A predictor that says what it is, and stops after some windows."""

    def __init__(self, windows: float = float('inf'), threshold: float = 120) -> None:
        super().__init__(threshold)
        self.identity = {'threshold': threshold}
        self.windows = windows

    def predict(self, images, expression):
        if len(self.shapes) >= self.windows:
            raise KeyboardInterrupt
        return super().predict(images, expression)


def _run(scene, folder, predictor, **options):
    return segment_scene(
        scene,
        'x',
        predictor,
        mask=folder / 'mask.tif',
        probability=folder / 'probability.tif',
        polygons=folder / 'objects.gpkg',
        progress=False,
        **(dict(window=128, block=200) | options),
    )


def _bytes(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize('side', [1, 100, 4096])
def test_every_window_is_in_one_block(side):
    grid = WindowGrid(tile_axis(1000, 128, 0.25), tile_axis(90, 128, 0.25))
    blocks = cut_blocks(grid, side, (1000, 90))
    places = list(itertools.chain.from_iterable(block.places for block in blocks))
    assert sorted(places) == grid.places()
    assert [block.number for block in blocks] == list(range(len(blocks)))
    for block in blocks:
        for y, x in map(grid.start, block.places):
            assert block.y <= y < block.y + block.height
            assert block.x <= x < block.x + block.width
    assert max(block.y + block.height for block in blocks) == 1000


def test_blocks_cost_no_window_and_are_read_as_one_piece(tmp_path):
    scene = write_scene(tmp_path / 'scene.tif', blobs(500, 600))
    runs = []
    for block in (200, 4096):
        folder = tmp_path / str(block)
        folder.mkdir()
        predictor = BrightThings()
        runs.append((_run(scene, folder, predictor, block=block), _bytes(folder), len(predictor.shapes)))
    (first, cut, seen), (second, whole, seen_whole) = runs
    assert seen == seen_whole == first.windows_run == second.windows_run
    assert cut['mask.tif'] == whole['mask.tif']
    with rasterio.open(first.probability) as one, rasterio.open(second.probability) as other:
        assert np.abs(one.read(1).astype(int) - other.read(1)).max() <= 1
    assert first.objects == second.objects > 3


@pytest.mark.parametrize('scope', ['window', 'scene'])
def test_a_stopped_scene_goes_on_with_the_missing_blocks(tmp_path, scope):
    scene = write_scene(tmp_path / 'scene.tif', blobs(500, 600))
    (whole := tmp_path / 'whole').mkdir()
    expected = _run(scene, whole, Known(), scope=scope)
    (folder := tmp_path / 'stopped').mkdir()
    with pytest.raises(KeyboardInterrupt):
        _run(scene, folder, Known(15), scope=scope)
    assert [one.name for one in folder.iterdir()] == ['.rs2sam2-mask.tif.blocks']
    predictor = Known()
    result = _run(scene, folder, predictor, scope=scope)
    assert 0 < len(predictor.shapes) < expected.windows_run
    assert (result.windows_run, result.score) == (expected.windows_run, expected.score)
    assert _bytes(folder) == _bytes(whole)
    # What another model left is not gone on with.
    with pytest.raises(KeyboardInterrupt):
        _run(scene, folder, Known(15), scope=scope)
    assert _run(scene, folder, other := Known(threshold=140), scope=scope).windows_run <= len(other.shapes)


def test_a_stopped_predictor_that_says_nothing_leaves_nothing(tmp_path):
    scene = write_scene(tmp_path / 'scene.tif', blobs(500, 600))
    (folder := tmp_path / 'out').mkdir()
    predictor = Known(15)
    predictor.identity = None
    with pytest.raises(KeyboardInterrupt):
        _run(scene, folder, predictor)
    assert not list(folder.iterdir())


def test_several_expressions_are_one_pass_with_each_ones_own_results(tmp_path):
    scene = write_scene(tmp_path / 'scene.tif', blobs(300, 400))
    options = SceneOptions(window=128, block=200)

    class ByWord(BrightThings):
        def predict(self, images, expression):
            return super().predict(images, expression) - (3 if 'brightest' in expression else 0)

    def run(folder, *expressions):
        outputs = [tmp_path / folder / name for name in ('mask.tif', 'probability.tif', 'objects.gpkg')]
        worker = LocalWorker()
        worker.start(lambda: SceneWorker(ByWord()))
        return run_one(make_job(scene, expressions, options, *outputs), worker, Board(False))

    texts = ['the bright things', 'the brightest, on the left']
    both = run('both', *texts)
    alone = [run(f'alone{number}', text)[0] for number, text in enumerate(texts)]
    assert [result.mask.name for result in both] == [f'mask.{slug}.tif' for slug in slugs(texts)]
    for one, other in zip(both, alone, strict=True):
        assert one.mask.read_bytes() == other.mask.read_bytes()
        assert one.probability.read_bytes() == other.probability.read_bytes()
        assert (one.objects, one.score, one.windows_run) == (other.objects, other.score, other.windows_run)
    _, _, _, columns = pyogrio.raw.read(both[0].polygons, columns=['id', 'expression'], read_geometry=False)
    assert list(columns[0]) == list(range(1, both[0].objects + both[1].objects + 1))
    assert list(columns[1]) == [text for text, result in zip(texts, both, strict=True) for _ in range(result.objects)]


def test_names_of_expressions_differ():
    names = slugs(['the large tank', 'The large tank!', '大', '...', 'x' * 99])
    assert len(set(names)) == 5
    assert all(name and '/' not in name and len(name) < 50 for name in names)
    assert names[0] == 'the-large-tank'
