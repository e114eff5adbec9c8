"""Whole scenes: what comes out lies on what went in, to the pixel."""

import warnings

import numpy as np
import pytest

pytest.importorskip('rasterio')

import pyogrio
import rasterio
import shapely
from pyproj import Geod
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning
from rasterio.features import rasterize
from rasterio.transform import from_origin

from helpers.geo_scenes import UTM, BrightThings, blobs, rotated, write_scene
from rs2sam2.errors import ConfigError, DataError
from rs2sam2.geo.rasters import NODATA, write_cog
from rs2sam2.geo.scene import segment_scene
from rs2sam2.geo.storage import DiskRaster

RASTERS = ['5b90f92da0d7280005fab355_4310', 'OSBS_029', 'RGB.byte', 'cogeo', 'naip_rgbn', 'test_tiled']


def _run(scene, folder, predictor=None, suffix='.gpkg', expression='the bright thing', **options):
    return segment_scene(
        scene,
        expression,
        predictor or BrightThings(),
        mask=folder / 'mask.tif',
        probability=folder / 'probability.tif',
        polygons=folder / f'objects{suffix}',
        progress=False,
        **options,
    )


def _read(path):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', NotGeoreferencedWarning)
        with rasterio.open(path) as raster:
            return raster.read(1), raster.profile, raster.bounds, raster.tags(), raster.scales


def _objects(path):
    meta, _, geometry, columns = pyogrio.raw.read(path)
    return meta, shapely.from_wkb(geometry), dict(zip(meta['fields'], columns, strict=True))


def _check_outputs(scene, result):
    """Everything that must hold of the outputs of any scene."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', NotGeoreferencedWarning)
        with rasterio.open(scene) as source:
            crs, transform, bounds, shape = source.crs, source.transform, source.bounds, source.shape
    mask, profile, mask_bounds, tags, _ = _read(result.mask)
    probability, probability_profile, *_, scales = _read(result.probability)
    for found in (profile, probability_profile):
        assert found['crs'] == crs
        assert found['transform'] == transform
        assert (found['height'], found['width'], found['nodata'], found['dtype']) == (*shape, NODATA, 'uint8')
    assert mask_bounds == bounds
    assert tags['expression'] == result.expression
    assert scales == (pytest.approx(1 / 254),)
    assert set(np.unique(mask)) <= {0, 1, NODATA}
    np.testing.assert_array_equal(mask == NODATA, probability == NODATA)
    valid = mask != NODATA
    assert (probability[valid & (mask == 1)] >= 127).all()
    assert (probability[valid & (mask == 0)] <= 127).all()
    assert result.foreground_pixels == (mask == 1).sum()
    assert result.valid_pixels == valid.sum()
    meta, polygons, columns = _objects(result.polygons)
    assert meta['crs'] is None if crs is None else rasterio.crs.CRS.from_user_input(meta['crs']) == crs
    assert result.objects == len(polygons) > 0
    assert columns['pixels'].sum() == result.foreground_pixels
    assert list(columns['id']) == list(range(1, len(polygons) + 1))
    assert set(columns['expression']) == {result.expression}
    # In the scene's own coordinates: the polygons cover the mask's pixels and nothing else.
    np.testing.assert_array_equal(rasterize(list(polygons), shape, transform=transform), mask == 1)
    pixel = abs(transform.determinant)
    np.testing.assert_allclose(shapely.area(polygons), columns['pixels'] * pixel, rtol=1e-6)
    return mask, polygons, columns


@pytest.mark.shared
@pytest.mark.parametrize('name', RASTERS)
@pytest.mark.parametrize('suffix', ['.gpkg', '.geojson'])
def test_real_rasters(shared, tmp_path, name, suffix):
    scene = shared / 'data/rasters' / f'{name}.tif'
    result = _run(scene, tmp_path, suffix=suffix, window=384, scope='window')
    mask, _, columns = _check_outputs(scene, result)
    assert result.windows_run + result.windows_skipped > 3
    assert not list(tmp_path.glob('.*'))
    with rasterio.open(scene) as source:
        factor = source.crs.linear_units_factor[1] ** 2 * abs(source.transform.determinant)
        np.testing.assert_allclose(columns['area'], columns['pixels'] * factor)
        np.testing.assert_array_equal(mask == NODATA, source.dataset_mask() == 0)


@pytest.mark.shared
def test_resampled_raster_comes_back_on_its_own_grid(shared, tmp_path):
    scene = shared / 'data/rasters/5b90f92da0d7280005fab355_4310.tif'
    result = _run(scene, tmp_path, window=256, gsd=0.25)
    _check_outputs(scene, result)
    # 0.1 m Mercator pixels at 14.6 degrees north are 0.0969 m on the ground.
    assert result.grid_shape == (pytest.approx(2048 * 0.0968 / 0.25, rel=0.01),) * 2
    full = tmp_path / 'full'
    full.mkdir()
    expected = _read(_run(scene, full, BrightThings(reach=23), window=1024).mask)[0]
    assert (_read(result.mask)[0] == expected).mean() > 0.97


def test_output_raster_is_a_cog(tmp_path):
    scene = write_scene(tmp_path / 'scene.tif', blobs(1100, 900))
    result = _run(scene, tmp_path, window=512)
    for path in (result.mask, result.probability):
        with rasterio.open(path) as raster:
            assert raster.tags(ns='IMAGE_STRUCTURE')['LAYOUT'] == 'COG'
            assert raster.overviews(1)


@pytest.mark.parametrize('gsd', [None, 0.8, 0.31])
@pytest.mark.parametrize('grid', ['projected', 'rotated', 'geographic', 'none', 'feet', 'south-up'])
def test_any_grid(tmp_path, grid, gsd):
    place = {
        'projected': {},
        'rotated': dict(transform=rotated()),
        'geographic': dict(crs='EPSG:4326', transform=from_origin(11.5, 48.1, 6e-6, 4e-6)),
        'none': dict(crs=None, transform=None),
        'feet': dict(crs='EPSG:2263', transform=from_origin(9e5, 2e5, 1.5, 1.5)),
        'south-up': dict(transform=rasterio.Affine(0.5, 0, 4e5, 0, 0.5, 5.3e6)),
    }[grid]
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', NotGeoreferencedWarning)
        scene = write_scene(tmp_path / 'scene.tif', blobs(200, 230), **place)
    if grid == 'none' and gsd is not None:
        with pytest.raises(ConfigError, match=r'scene\.tif has no known ground resolution'):
            _run(scene, tmp_path, gsd=gsd)
        return
    result = _run(scene, tmp_path, window=128, gsd=gsd)
    _, _, columns = _check_outputs(scene, result)
    assert (result.grid_shape == result.shape) is (gsd is None)
    assert set(columns['area_unit']) == ({'px'} if grid == 'none' else {'m2'})
    if grid == 'none':
        assert any('no CRS' in note for note in result.notes)
        np.testing.assert_array_equal(columns['area'], columns['pixels'])
    elif grid == 'geographic':
        step = 4e-6  # corners of one pixel at the scene's latitude; all pixels are alike to 1e-5
        one = Geod(ellps='WGS84').polygon_area_perimeter([0, 6e-6, 6e-6, 0], [48.1, 48.1, 48.1 - step, 48.1 - step])[0]
        np.testing.assert_allclose(columns['area'], columns['pixels'] * abs(one), rtol=1e-3)
    else:
        metres = {'feet': (1.5 * 0.3048006096) ** 2}.get(grid, 0.25)
        np.testing.assert_allclose(columns['area'], columns['pixels'] * metres, rtol=1e-9)


def test_geojson_equals_geopackage(tmp_path):
    scene = write_scene(tmp_path / 'scene.tif', blobs(200, 230))
    first = _objects(_run(scene, tmp_path, suffix='.gpkg').polygons)
    second = _objects(_run(scene, tmp_path, suffix='.geojson').polygons)
    assert first[0]['crs'] == second[0]['crs']
    assert all(a.equals(b) for a, b in zip(first[1], second[1], strict=True))
    for name, column in first[2].items():
        np.testing.assert_array_equal(column, second[2][name])


def test_an_object_across_windows_is_one_polygon_with_its_hole(tmp_path):
    data = np.full((3, 700, 700), 50, np.uint8)
    data[:, 40:660, 40:660] = 200
    data[:, 250:450, 250:450] = 50
    scene = write_scene(tmp_path / 'scene.tif', data)
    result = _run(scene, tmp_path, BrightThings(reach=1), window=128)
    _, (polygon,), columns = _check_outputs(scene, result)
    assert result.windows_run == 49
    assert len(polygon.interiors) == 1
    assert columns['area'].tolist() == [(620**2 - 200**2) * 0.25]
    assert columns['score'].tolist() == [pytest.approx(1 / (1 + np.exp(-8)), abs=1e-4)]


def test_nothing_found_leaves_whole_files_without_objects(tmp_path):
    scene = write_scene(tmp_path / 'scene.tif', blobs(200, 200))
    for suffix in ('.gpkg', '.geojson'):
        result = _run(scene, tmp_path, BrightThings(threshold=300), suffix=suffix)
        assert (result.objects, result.foreground_pixels, result.score) == (0, 0, None)
        assert not _read(result.mask)[0].any()
        assert pyogrio.read_info(result.polygons)['features'] == 0


class _OneSize(BrightThings):
    scores = None

    def predict(self, images, expression):
        self.scores = [0.3] * len(images)
        return super().predict(images, expression)


def test_min_score_empties_the_mask_and_says_so(tmp_path):
    scene = write_scene(tmp_path / 'scene.tif', blobs(200, 200))
    result = _run(scene, tmp_path, _OneSize(), window=128, min_score=0.4)
    assert (result.rejected, result.foreground_pixels, result.objects) == (True, 0, 0)
    assert (result.score, result.score_kind) == (0.3, 'presence')
    assert any('below 0.4' in note for note in result.notes)
    assert _read(result.probability)[0].any()
    result = _run(scene, tmp_path, _OneSize(), window=128, min_score=0.2)
    assert result.foreground_pixels > 0
    result = _run(scene, tmp_path, window=128, min_score=0.2)
    assert result.score_kind == 'mean foreground probability'
    assert 0.5 < result.score < 1


def _nodata_scene(folder, kind):
    data = blobs(200, 240)
    hole = np.zeros((200, 240), bool)
    hole[:90, :130] = hole[150:, 100:110] = True
    profile, options = {}, {}
    if kind == 'nodata':
        data = np.where(hole, 0, np.maximum(data, 1))
        profile['nodata'] = 0
    elif kind == 'override':
        data = np.where(hole, 7, np.where(data == 7, 8, data))
        options['nodata'] = 7
    elif kind == 'alpha':
        data = np.concatenate([data, np.where(hole, 0, 255).astype(np.uint8)[None]])
        profile |= dict(photometric='RGB', alpha='yes')
    elif kind == 'nan':
        data = np.where(hole, np.nan, data.astype(np.float32))
    elif kind == 'uint16':
        data = np.where(hole, 65535, data.astype(np.uint16) * 16)
        profile['nodata'] = 65535
    scene = write_scene(folder / 'scene.tif', data, **profile)
    if kind == 'mask band':
        with rasterio.open(scene, 'r+') as raster:
            raster.write_mask(~hole)
    return scene, hole, options


@pytest.mark.parametrize('gsd', [None, 0.7])
@pytest.mark.parametrize('kind', ['nodata', 'override', 'alpha', 'mask band', 'nan', 'uint16'])
def test_nodata_is_never_predicted(tmp_path, kind, gsd):
    scene, hole, options = _nodata_scene(tmp_path, kind)
    predictor = BrightThings(threshold=-50)  # everything is foreground
    result = _run(scene, tmp_path, predictor, window=64, gsd=gsd, **options)
    mask, *_ = _check_outputs(scene, result)
    np.testing.assert_array_equal(mask == NODATA, hole)
    assert (mask[~hole] == 1).all()
    assert result.windows_skipped > 0
    assert len(predictor.shapes) == result.windows_run


class _Recorder(BrightThings):
    def predict(self, images, expression):
        self.images = images
        return super().predict(images, expression)


def _fed(scene, folder, **options):
    recorder = _Recorder()
    result = _run(scene, folder, recorder, **options)
    return recorder.images[0], result


def test_three_bands_of_8_bits_are_passed_unchanged(tmp_path):
    data = np.random.default_rng(0).integers(0, 256, (3, 70, 90), dtype=np.uint8)
    image, _ = _fed(write_scene(tmp_path / 'scene.tif', data), tmp_path)
    np.testing.assert_array_equal(image, data.transpose(1, 2, 0))


def test_bands_are_chosen(tmp_path):
    data = np.random.default_rng(0).integers(0, 256, (5, 70, 90), dtype=np.uint8)
    scene = write_scene(tmp_path / 'scene.tif', data)
    for bands, expected in (((4, 3, 1), [3, 2, 0]), ((5,), [4, 4, 4])):
        image, _ = _fed(scene, tmp_path, bands=bands)
        np.testing.assert_array_equal(image, data[expected].transpose(1, 2, 0))
    image, _ = _fed(write_scene(tmp_path / 'grey.tif', data[:1]), tmp_path)
    np.testing.assert_array_equal(image, data[[0, 0, 0]].transpose(1, 2, 0))


def test_bands_of_other_colours_are_not_taken_for_red_green_and_blue(tmp_path):
    scene = write_scene(tmp_path / 'scene.tif', np.full((4, 70, 90), 50, np.uint8))
    # Of a TIFF that is CMYK as a whole GDAL makes RGB by itself.
    with rasterio.open(scene, 'r+') as dataset:
        dataset.colorinterp = [ColorInterp[name] for name in ('cyan', 'magenta', 'yellow', 'black')]
    with pytest.raises(DataError, match='cyan, magenta, yellow, black, not red, green and blue'):
        _fed(scene, tmp_path)
    image, _ = _fed(scene, tmp_path, bands=(4,))
    assert (image == 50).all()


@pytest.mark.parametrize('dtype', [np.uint16, np.int16, np.float32, np.float64])
def test_other_depths_are_stretched_by_percentiles(tmp_path, dtype):
    offsets = np.array([50, 90, 10])[:, None, None]
    data = (np.random.default_rng(0).gamma(2, 300, (3, 200, 220)) + offsets).astype(dtype)
    image, result = _fed(write_scene(tmp_path / 'scene.tif', data), tmp_path)
    low, high = np.percentile(data, (2, 98), axis=(1, 2), keepdims=True)
    expected = ((data - low) / (high - low) * 255).clip(0, 255).transpose(1, 2, 0)
    np.testing.assert_allclose(image, expected, atol=0.51)
    assert any('percentiles 2 and 98' in note for note in result.notes)


def test_constant_16_bit_band_is_black(tmp_path):
    data = np.full((1, 50, 50), 900, np.uint16)
    assert not _fed(write_scene(tmp_path / 'scene.tif', data), tmp_path)[0].any()


def test_palette_and_one_bit(tmp_path):
    data = np.random.default_rng(0).integers(0, 2, (1, 60, 60), dtype=np.uint8)
    scene = write_scene(tmp_path / 'palette.tif', data)
    with rasterio.open(scene, 'r+') as raster:
        raster.write_colormap(1, {0: (10, 20, 30, 255), 1: (200, 100, 50, 255)})
    np.testing.assert_array_equal(_fed(scene, tmp_path)[0], np.array([(10, 20, 30), (200, 100, 50)])[data[0]])
    image, _ = _fed(write_scene(tmp_path / 'bit.tif', data, nbits=1), tmp_path)
    np.testing.assert_array_equal(image, np.repeat(data.transpose(1, 2, 0) * 255, 3, axis=2))


def test_a_small_scene_is_one_window_of_its_own_size(tmp_path):
    scene = write_scene(tmp_path / 'scene.tif', blobs(80, 120))
    predictor = BrightThings()
    result = _run(scene, tmp_path, predictor)
    assert predictor.shapes == [(80, 120)]
    assert (result.windows_run, result.scope) == (1, 'scene')
    predictor = BrightThings()
    result = _run(scene, tmp_path, predictor, gsd=0.5, window=256)
    assert predictor.shapes == [(256, 256)]
    _check_outputs(scene, result)


def test_a_long_scene_has_square_windows(tmp_path):
    scene = write_scene(tmp_path / 'scene.tif', blobs(40, 6000))
    predictor = BrightThings()
    _check_outputs(scene, _run(scene, tmp_path, predictor, window=256))
    assert set(predictor.shapes) == {(256, 256)}


class _LeftSide(BrightThings):
    """In an image it sees whole: the brightest of the left half only; in a window: all that is bright."""

    def __init__(self, whole):
        super().__init__(reach=1)
        self.whole = whole

    def predict(self, images, expression):
        log_odds = super().predict(images, expression)
        if images[0].shape[:2] == self.whole:
            log_odds[..., images[0].shape[1] // 2 :] = -5
        return log_odds


def _two_things(folder):
    data = np.full((3, 600, 660), 40, np.uint8)
    data[:, 100:180, 60:140] = data[:, 400:480, 430:510] = 220
    return write_scene(folder / 'scene.tif', data)


@pytest.mark.parametrize(
    ('expression', 'scope', 'used', 'objects'),
    [
        ('the bright thing on the left', 'auto', 'meaning', 1),
        ('the bright thing on the left', 'scene', 'scene', 1),
        ('the bright thing', 'auto', 'window', 2),
        ('the bright thing', 'scene', 'scene', 1),
        ('the bright thing on the left', 'window', 'window', 2),
    ],
)
def test_scope(tmp_path, expression, scope, used, objects):
    scene = _two_things(tmp_path)
    predictor = _LeftSide((182, 200))
    result = _run(scene, tmp_path, predictor, expression=expression, scope=scope, window=200)
    mask, *_ = _check_outputs(scene, result)
    assert (result.scope, result.objects) == (used, objects)
    assert mask[100:180, 60:140].all()
    if used == 'scene':
        assert result.foreground_pixels == 80 * 80
        assert 0 < result.windows_run < 5
        assert result.windows_skipped > 10


def test_whole_scene_finds_nothing_so_no_window_runs(tmp_path):
    scene = _two_things(tmp_path)
    predictor = BrightThings(threshold=300)
    result = _run(scene, tmp_path, predictor, scope='scene', window=200)
    assert (result.windows_run, result.objects, len(predictor.shapes)) == (0, 0, 1)
    assert not _read(result.mask)[0].any()
    assert (_read(result.probability)[0] < 127).all()


def test_outputs_are_replaced_as_a_whole(tmp_path):
    scene = write_scene(tmp_path / 'scene.tif', blobs(200, 200))
    first = _read(_run(scene, tmp_path).mask)[0]
    second = _read(_run(scene, tmp_path, BrightThings(threshold=100)).mask)[0]
    assert (second == 1).sum() > (first == 1).sum()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        'mask.tif',
        'objects.gpkg',
        'probability.tif',
        'scene.tif',
    ]


def test_only_what_is_named_is_written(tmp_path):
    scene = write_scene(tmp_path / 'scene.tif', blobs(200, 200))
    result = segment_scene(scene, 'x', BrightThings(), mask=tmp_path / 'a/b/mask.tif', progress=False)
    assert result.polygons is result.objects is None
    assert [path.name for path in (tmp_path / 'a/b').iterdir()] == ['mask.tif']
    assert UTM['crs'] == _read(result.mask)[1]['crs'].to_string()


class _Given:
    """Says what it is told to: a mask as log-odds."""

    def __init__(self, mask):
        self.mask = mask

    def predict(self, images, expression):
        return np.where(self.mask, 4, -4).astype(np.float32)[None]


@pytest.mark.parametrize('suffix', ['.gpkg', '.geojson'])
@pytest.mark.parametrize(
    'grid',
    [
        UTM,
        UTM | dict(transform=rotated()),
        dict(crs='EPSG:4326', transform=from_origin(11.123456789, 48.1, 1e-7, 1e-7)),
    ],
    ids=['projected', 'turned', 'degrees'],
)
def test_polygons_are_valid_for_every_mask(tmp_path, grid, suffix):
    """Objects that touch at a corner, rings that touch themselves, holes that touch the outline."""
    rng = np.random.default_rng(0)
    masks = [np.indices((24, 30)).sum(0) % 2 == 0, *(rng.random((24, 30)) < share for share in (0.3, 0.55, 0.7, 0.85))]
    ring = np.zeros((24, 30), bool)
    ring[3:20, 3:20] = True
    ring[3, 3] = ring[5:8, 5:8] = ring[8:11, 8:11] = ring[11, 11] = False
    scene = write_scene(tmp_path / 'scene.tif', blobs(24, 30), **grid)
    for mask in [*masks, ring]:
        result = _run(scene, tmp_path, _Given(mask), suffix=suffix)
        _, polygons, columns = _objects(result.polygons)
        assert shapely.is_valid(polygons).all()
        assert columns['pixels'].sum() == mask.sum()
        np.testing.assert_array_equal(rasterize(list(polygons), mask.shape, transform=grid['transform']), mask)


@pytest.mark.parametrize('averaged', [False, True])
def test_the_bytes_of_a_cog_do_not_depend_on_the_threads(tmp_path, averaged):
    values = np.random.default_rng(0).integers(0, 255, (1400, 1700), dtype=np.uint8)
    written = []
    for threads in (1, 2, 5):
        folder = tmp_path / str(threads)
        folder.mkdir()
        pixels = DiskRaster(folder / 'pixels.bin', *values.shape, np.uint8)
        pixels.write(0, 0, values)
        place = CRS.from_epsg(32632), UTM['transform']
        write_cog(pixels, folder / 'a.tif', *place, {'a': 'b'}, averaged=averaged, threads=threads)
        written.append((folder / 'a.tif').read_bytes())
    assert written[0] == written[1] == written[2]
