"""What the user is told of a raster's place, pages and bands is true."""

import numpy as np
import pyogrio
import pytest

pytest.importorskip('rasterio')

import rasterio
from PIL import Image
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.transform import from_origin

from helpers.geo_scenes import UTM, BrightThings, blobs, write_scene
from rs2sam2.errors import ConfigError
from rs2sam2.geo.reader import SceneReader
from rs2sam2.geo.scene import segment_scene

NOWHERE = dict(crs=None, transform=None)
# Found by trying: a site's own plane has units and no place on the earth.
LOCAL = 'LOCAL_CS["site grid",UNIT["{name}",{metres}]]'


def _run(scene, folder, **options):
    return segment_scene(
        scene, 'x', BrightThings(), mask=folder / 'm.tif', polygons=folder / 'o.gpkg', progress=False, **options
    )


def _objects(result):
    meta, _, _, columns = pyogrio.raw.read(result.polygons)
    columns = dict(zip(meta['fields'], columns, strict=True))
    return meta['crs'], set(columns['area_unit']), columns['area'].sum() / columns['pixels'].sum()


def test_a_world_file_is_a_place_without_a_crs(tmp_path):
    scene = write_scene(tmp_path / 'a.tif', blobs(80, 90), **NOWHERE)
    (tmp_path / 'a.tfw').write_text('0.5\n0\n0\n-0.5\n400000.25\n5299999.75\n')
    result = _run(scene, tmp_path)
    assert result.notes == (
        f'{scene} has coordinates, as of a world file, but no CRS: outputs keep the coordinates, areas are in pixels',
    )
    with rasterio.open(result.mask) as mask:
        assert (mask.crs, mask.transform) == (None, UTM['transform'])
    crs, units, area = _objects(result)
    assert (crs, units, area) == (None, {'px'}, 1)
    x, y, _, _ = pyogrio.read_info(result.polygons, force_total_bounds=True)['total_bounds']
    assert 4e5 <= x < 4e5 + 45
    assert 5.3e6 - 40 <= y < 5.3e6
    with pytest.raises(ConfigError, match='no known ground resolution, so gsd cannot apply'):
        _run(scene, tmp_path, gsd=1)


def test_a_crs_without_coordinates_is_no_place(tmp_path):
    scene = write_scene(tmp_path / 'a.tif', blobs(80, 90), transform=None)
    result = _run(scene, tmp_path)
    assert result.notes == (
        f'{scene} has a CRS but no coordinates (no geotransform): outputs are plain pixels and areas are in pixels',
    )
    with rasterio.open(result.mask) as mask:
        assert mask.crs is None
    assert _objects(result) == (None, {'px'}, 1)
    with pytest.raises(ConfigError, match='no known ground resolution'):
        _run(scene, tmp_path, gsd=1)


def test_control_points_rpcs_and_nothing_at_all(tmp_path):
    scene = write_scene(tmp_path / 'a.tif', blobs(80, 90), **NOWHERE)
    assert _run(scene, tmp_path).notes == (f'{scene} has no CRS: outputs are plain pixels and areas are in pixels',)
    points = [GroundControlPoint(row, column, column, -row) for row, column in ((0, 0), (0, 80), (80, 0), (80, 80))]
    scene = write_scene(tmp_path / 'b.tif', blobs(80, 90), crs='EPSG:4326', transform=None, gcps=points)
    assert 'warp it by them first' in _run(scene, tmp_path).notes[0]


def test_a_degenerate_place_is_none(tmp_path):
    scene = write_scene(tmp_path / 'a.tif', blobs(80, 90), transform=rasterio.Affine(1, 0, 5, 2, 0, 7))
    assert 'no coordinates' in _run(scene, tmp_path).notes[0]


def test_pages(tmp_path):
    pages = [Image.fromarray(np.full((40, 50, 3), 40 * number, np.uint8)) for number in (1, 2, 3)]
    pages[0].save(tmp_path / 'a.tif', save_all=True, append_images=pages[1:])
    reader = SceneReader(tmp_path / 'a.tif')
    assert reader.notes[0] == (
        f'{tmp_path}/a.tif has 3 pages and the first is read; GTIFF_DIR:2:{tmp_path}/a.tif names the second'
    )
    assert reader.read(0, 0, 40, 50)[0].max() == 40
    second = SceneReader(f'GTIFF_DIR:2:{tmp_path}/a.tif')
    assert not any(' pages and ' in note for note in second.notes)
    assert second.read(0, 0, 40, 50)[0].max() == 80
    # Overviews and masks are no pages.
    scene = write_scene(tmp_path / 'b.tif', blobs(600, 600))
    with rasterio.open(scene, 'r+') as raster:
        raster.write_mask(np.ones((600, 600), bool))
        raster.build_overviews([2, 4])
    assert SceneReader(scene).notes == []


@pytest.mark.parametrize(('name', 'metres'), [('metre', 1.0), ('foot', 0.3048)])
def test_a_local_plane_has_metres_and_no_place(tmp_path, name, metres):
    crs = CRS.from_wkt(LOCAL.format(name=name, metres=metres))
    scene = write_scene(tmp_path / 'a.tif', blobs(80, 90), crs=crs, transform=from_origin(0, 0, 0.5, 0.5))
    result = _run(scene, tmp_path)
    found, units, area = _objects(result)
    assert 'site grid' in found
    assert units == {'m2'}
    assert area == pytest.approx((0.5 * metres) ** 2)
    result = _run(scene, tmp_path, gsd=metres)
    assert result.grid_shape == (40, 45)


def test_gsd_has_a_finest_value_and_one_that_shows_something(tmp_path):
    scene = write_scene(tmp_path / 'a.tif', blobs(80, 90))
    with pytest.raises(ConfigError, match=r'over 16 times finer than the pixels .* give 0.031\d or more, or enlarge'):
        _run(scene, tmp_path, gsd=1e-6)
    assert _run(scene, tmp_path, gsd=0.25, window=64).grid_shape == (160, 180)
    small = _run(scene, tmp_path, gsd=1e9)
    assert small.grid_shape == (1, 1)
    assert 'gsd 1e+09 makes 1 x 1 pixels of the whole scene: little is to be seen' in small.notes
    for gsd in (float('nan'), float('inf'), 0, -1, '1', 1e400):
        with pytest.raises(ConfigError, match='gsd is'):
            _run(scene, tmp_path, gsd=gsd)


def _mixed(folder):
    data = blobs(60, 70, bands=1)
    for name, kind in (('byte', np.uint8), ('word', np.uint16), ('real', np.float32)):
        write_scene(folder / f'{name}.tif', data.astype(kind) * (1 if name == 'byte' else 10))
    bands = ''.join(
        f'<VRTRasterBand dataType="{kind}" band="{band}"><SimpleSource><SourceFilename relativeToVRT="1">{name}.tif'
        '</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>'
        for band, (kind, name) in enumerate((('Byte', 'byte'), ('UInt16', 'word'), ('Float32', 'real')), 1)
    )
    (folder / 'mixed.vrt').write_text(f'<VRTDataset rasterXSize="70" rasterYSize="60">{bands}</VRTDataset>')
    return folder / 'mixed.vrt'


def test_bands_of_different_types_are_each_stretched(tmp_path):
    reader = SceneReader(_mixed(tmp_path))
    image, valid = reader.read(0, 0, 60, 70)
    assert valid is None
    # The same picture three times, whatever its numbers are.
    assert np.abs(image.astype(int) - image[..., :1]).max() <= 1
    assert image.max() == 255
    result = _run(tmp_path / 'mixed.vrt', tmp_path, window=32)
    assert result.objects > 0


@pytest.mark.parametrize(
    'bands', ['1,2,3', '123', (1.0, 2.0, 3.0), (1.5,), ('1',), (True,), (float('nan'),), (), (0,), (1, 2), 7, {1, 2, 3}]
)
def test_bands_are_whole_numbers(tmp_path, bands):
    scene = write_scene(tmp_path / 'a.tif', blobs(60, 70))
    with pytest.raises(ConfigError, match='give 1 or 3 whole numbers from 1 to 3'):
        SceneReader(scene, bands=bands)
    SceneReader(scene, bands=np.array([3, 2, 1])).close()


@pytest.mark.parametrize(
    'options',
    [
        dict(window=float('nan')),
        dict(window='64'),
        dict(window=None),
        dict(window=64.5),
        dict(overlap=float('nan')),
        dict(overlap='0.1'),
        dict(overlap=None),
        dict(batch_size='4'),
        dict(batch_size=2.5),
        dict(batch_size=None),
        dict(min_score=float('nan')),
        dict(min_score='0.5'),
        dict(min_score=float('inf')),
        dict(min_score=1.5),
        dict(stretch=(float('nan'), 98)),
        dict(stretch='2,98'),
        dict(stretch=None),
        dict(stretch=(2, 50, 98)),
        dict(stretch=('2', '98')),
        dict(scope=None),
        dict(nodata='0'),
        dict(expression=None),
        dict(expression=7),
    ],
    ids=str,
)
def test_arguments_of_other_kinds_are_one_line(tmp_path, options):
    scene = write_scene(tmp_path / 'a.tif', blobs(60, 70).astype(np.uint16))
    before = sorted(tmp_path.iterdir())
    expression = options.pop('expression', 'x')
    with pytest.raises(ConfigError) as caught:
        segment_scene(scene, expression, BrightThings(), mask=tmp_path / 'm.tif', progress=False, **options)
    assert '\n' not in str(caught.value)
    assert next(iter(options), 'expression') in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before


def test_complex_integers_are_told(tmp_path):
    write_scene(tmp_path / 'a.tif', np.ones((1, 20, 20), np.complex64))
    band = (
        '<VRTRasterBand dataType="CInt16" band="1"><SimpleSource><SourceFilename relativeToVRT="1">a.tif'
        '</SourceFilename></SimpleSource></VRTRasterBand>'
    )
    (tmp_path / 'a.vrt').write_text(f'<VRTDataset rasterXSize="20" rasterYSize="20">{band}</VRTDataset>')
    with pytest.raises(Exception, match='complex numbers') as caught:
        SceneReader(tmp_path / 'a.vrt')
    assert type(caught.value).__name__ == 'DataError'


@pytest.mark.parametrize(
    ('trained', 'gsd', 'words'),
    [
        ((0.5, 30.0), None, None),
        ((1.0, 30.0), None, 'a pixel is 0.5 m here, and the model was trained at 1 to 30 m'),
        ((1.0, 30.0), 1.0, None),
        ((0.05, 0.1), None, '--gsd 0.1 brings the scene nearer'),
        (None, None, None),
    ],
)
def test_a_scene_far_from_what_the_model_was_trained_on_is_noted(tmp_path, trained, gsd, words):
    scene = write_scene(tmp_path / 'scene.tif', blobs(96, 96))
    predictor = BrightThings()
    predictor.trained_gsd = trained
    result = segment_scene(scene, 'x', predictor, mask=tmp_path / 'm.tif', window=64, gsd=gsd, progress=False)
    assert any('was trained at' in note for note in result.notes) == (words is not None)
    assert words is None or any(words in note for note in result.notes)


@pytest.mark.parametrize('suffix', ['jpg', 'png', 'webp', 'tif'])
def test_a_photo_that_is_stored_turned_is_taken_as_stored_and_that_is_said(tmp_path, suffix):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / f'photo.{suffix}'
    Image.fromarray(blobs(60, 80).transpose(1, 2, 0)).save(path, exif=exif)
    result = _run(path, tmp_path)
    assert result.shape == (60, 80)
    assert 'stored turned (EXIF orientation 6) and is taken as it is stored' in result.notes[-1]
    if suffix == 'webp':  # GDAL reads no world file beside it
        return
    # Where a world file gives the stored pixels their place, nobody expects them to be turned.
    path.with_suffix('.wld').write_text('0.5\n0\n0\n-0.5\n400000.25\n5299999.75\n')
    assert not any('EXIF' in note for note in _run(path, tmp_path).notes)


@pytest.mark.filterwarnings('error')
def test_numbers_beyond_single_precision_are_stretched_and_noted(tmp_path):
    data = blobs(80, 90).astype(np.float64)
    plain = SceneReader(write_scene(tmp_path / 'plain.tif', data))
    huge = SceneReader(write_scene(tmp_path / 'huge.tif', data * 1e300))
    far = SceneReader(write_scene(tmp_path / 'far.tif', data + 1e9))  # float32 would tell 64 apart there
    for reader in (huge, far):
        difference = reader.read(0, 0, 80, 90)[0].astype(int) - plain.read(0, 0, 80, 90)[0]
        assert abs(difference).max() <= 1
    assert any('no measurements; if its pixels without data have them' in note for note in huge.notes)
    assert not any('no measurements' in note for note in (*plain.notes, *far.notes))


def test_a_scene_without_any_data_is_noted(tmp_path):
    scene = write_scene(tmp_path / 'a.tif', np.full((3, 40, 40), np.nan, np.float32))
    result = _run(scene, tmp_path)
    assert result.notes == (
        f'{scene}: no pixel of the decimated scene holds data, so nothing is stretched',
        f'{scene} holds no data: nothing was looked at',
    )
