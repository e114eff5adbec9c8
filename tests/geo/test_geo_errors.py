"""Bad input and a disk that fails: one clear line each, and no partial file."""

import os
import stat
import warnings

import numpy as np
import pytest

pytest.importorskip('rasterio')

import pyogrio
import rasterio
import rasterio.shutil
from rasterio.errors import NotGeoreferencedWarning

from helpers.geo_scenes import UTM, BrightThings, blobs, write_scene
from rs2sam2.errors import CheckpointError, ConfigError, DataError, RefSegError
from rs2sam2.geo.scene import segment_scene


def _run(scene, folder, predictor=None, expression='x', **options):
    options = {'mask': folder / 'mask.tif', 'polygons': folder / 'objects.gpkg'} | options
    return segment_scene(scene, expression, predictor or BrightThings(), progress=False, **options)


def _fails(kind, match, scene, folder, *args, **options):
    """The call fails with one line; nothing new lies in the folder."""
    before = sorted(folder.rglob('*'))
    with pytest.raises(kind, match=match) as caught:
        _run(scene, folder, *args, **options)
    assert isinstance(caught.value, RefSegError)
    assert '\n' not in str(caught.value)
    assert sorted(folder.rglob('*')) == before


@pytest.fixture
def scene(tmp_path):
    return write_scene(tmp_path / 'scene.tif', blobs(150, 150))


def test_not_a_raster(tmp_path):
    for name, content in (('text.tif', b'no raster at all\n' * 50), ('empty.tif', b''), ('page.pdf', b'%PDF-1.7\n')):
        path = tmp_path / name
        path.write_bytes(content)
        _fails(DataError, rf'{name} cannot be read as a raster', path, tmp_path)
    _fails(DataError, r'gone\.tif is missing', tmp_path / 'gone.tif', tmp_path)
    _fails(DataError, 'cannot be read as a raster', tmp_path, tmp_path)


def test_a_small_file_that_claims_to_be_a_huge_scene(tmp_path):
    profile = dict(driver='GTiff', count=1, height=400_000, width=500_000, dtype='uint8', SPARSE_OK=True)
    with rasterio.open(tmp_path / 'a.tif', 'w', tiled=True, blockxsize=65536, blockysize=65536, **UTM, **profile):
        pass
    _fails(DataError, r'a\.tif has 86,[\d,]+ windows of 64 pixels', tmp_path / 'a.tif', tmp_path, window=64)


@pytest.mark.parametrize('profile', [{}, {'tiled': True, 'blockxsize': 64, 'blockysize': 64}, {'compress': 'deflate'}])
@pytest.mark.parametrize('share', [0.02, 0.5, 0.97])
def test_truncated_tiff(tmp_path, profile, share):
    rng = np.random.default_rng(0)
    path = write_scene(tmp_path / 'cut.tif', rng.integers(0, 256, (3, 200, 200), dtype=np.uint8), **profile)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    _fails(DataError, r'cut\.tif cannot be read as a raster', path, tmp_path, window=64)


def test_old_outputs_survive_a_failure(tmp_path):
    rng = np.random.default_rng(0)
    path = write_scene(tmp_path / 'cut.tif', rng.integers(0, 256, (3, 200, 200), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:90_000])
    (tmp_path / 'mask.tif').write_text('an earlier run')
    _fails(DataError, 'cannot be read', path, tmp_path)
    assert (tmp_path / 'mask.tif').read_text() == 'an earlier run'


def test_arguments(tmp_path, scene):
    _fails(ConfigError, 'expression is empty', scene, tmp_path, expression=' \n')
    _fails(ConfigError, 'no output is named', scene, tmp_path, mask=None, polygons=None)
    _fails(ConfigError, 'is a file of the scene, which would be lost', scene, tmp_path, mask=scene)
    _fails(ConfigError, 'same file', scene, tmp_path, probability=tmp_path / 'mask.tif')
    _fails(ConfigError, r'mask\.png: masks and probabilities are written as GeoTIFF', scene, tmp_path, mask='mask.png')
    _fails(ConfigError, 'are written as GeoTIFF', scene, tmp_path, mask='')
    _fails(DataError, 'the name of the scene is empty', '', tmp_path)
    _fails(ConfigError, r'objects\.kml: polygons are written as', scene, tmp_path, polygons=tmp_path / 'objects.kml')
    _fails(ConfigError, 'window is 8', scene, tmp_path, window=8)
    _fails(ConfigError, 'overlap is 0.9', scene, tmp_path, overlap=0.9)
    _fails(ConfigError, "scope is 'all'", scene, tmp_path, scope='all')
    _fails(ConfigError, 'batch_size is 0', scene, tmp_path, batch_size=0)
    _fails(ConfigError, r'bands \[1, 2\] do not fit', scene, tmp_path, bands=[1, 2])
    _fails(ConfigError, r'bands \[4\] do not fit', scene, tmp_path, bands=[4])
    _fails(ConfigError, 'nodata -9999 is no value', scene, tmp_path, nodata=-9999)
    _fails(ConfigError, 'gsd is -1', scene, tmp_path, gsd=-1)
    _fails(ConfigError, 'two percentiles', scene, tmp_path, stretch=(98, 2))


def test_names_that_are_no_utf8(tmp_path, scene):
    name = os.fsdecode(b'caf\xe9.tif')
    scene.rename(tmp_path / name)
    _fails(DataError, 'this name is no UTF-8', tmp_path / name, tmp_path)
    (tmp_path / name).rename(scene)
    _fails(ConfigError, 'this name is no UTF-8', scene, tmp_path, mask=tmp_path / name)
    _fails(DataError, 'this name is no UTF-8', scene, tmp_path, aoi=tmp_path / name)


def test_a_link_to_nothing_says_where_it_leads(tmp_path):
    (tmp_path / 'scene.tif').symlink_to('disk/gone.tif')
    _fails(DataError, 'is a link to disk/gone.tif, which is missing', tmp_path / 'scene.tif', tmp_path)


def test_complex_numbers(tmp_path):
    path = write_scene(tmp_path / 'sar.tif', np.ones((1, 20, 20), np.complex64))
    _fails(DataError, 'complex numbers', path, tmp_path)


class _Broken(BrightThings):
    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def predict(self, images, expression):
        return self.answer(super().predict(images, expression))


def test_model_returns_nan(tmp_path, scene):
    _fails(CheckpointError, 'NaN or infinite', scene, tmp_path, _Broken(lambda x: x * np.nan))


def test_model_fails_or_is_stopped(tmp_path, scene):
    def stop(log_odds):
        raise KeyboardInterrupt

    before = sorted(tmp_path.iterdir())
    with pytest.raises(KeyboardInterrupt):
        _run(scene, tmp_path, _Broken(stop))
    with pytest.raises(ValueError, match='returned shape'):
        _run(scene, tmp_path, _Broken(lambda x: x[:, ::2]))
    assert sorted(tmp_path.iterdir()) == before


def test_unwritable_output_folder(tmp_path, scene):
    (tmp_path / 'file').write_text('x')
    _fails(ConfigError, 'cannot be written to', scene, tmp_path, mask=tmp_path / 'file/mask.tif')
    _fails(ConfigError, 'cannot be written to', scene, tmp_path, mask='/proc/1/mask.tif')
    (tmp_path / 'folder.tif').mkdir()
    _fails(ConfigError, 'is a folder', scene, tmp_path, mask=tmp_path / 'folder.tif')
    if os.geteuid():  # root may write everywhere
        locked = tmp_path / 'locked'
        locked.mkdir(mode=0o500)
        _fails(ConfigError, 'cannot be written to', scene, tmp_path, mask=locked / 'mask.tif')


def test_an_output_takes_the_place_of_regular_files_only(tmp_path, scene):
    """As root, /dev/null itself would be replaced by the mask."""
    device = tmp_path / 'null.tif'
    try:
        os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        os.mkfifo(device)
    (tmp_path / 'link.tif').symlink_to(device)
    os.mkfifo(tmp_path / 'pipe.gpkg')
    for output in (dict(mask=device), dict(mask=tmp_path / 'link.tif'), dict(polygons=tmp_path / 'pipe.gpkg')):
        _fails(ConfigError, 'is a (named pipe|device); name a file to write', scene, tmp_path, **output)
    assert not stat.S_ISREG(device.stat().st_mode)


def test_a_link_is_followed(tmp_path, scene):
    (tmp_path / 'disk').mkdir()
    (tmp_path / 'mask.tif').symlink_to('disk/run7.tif')
    for _ in range(2):
        _run(scene, tmp_path)
        assert (tmp_path / 'mask.tif').is_symlink()
        with rasterio.open(tmp_path / 'disk/run7.tif') as mask:
            assert mask.shape == (150, 150)


def test_a_file_of_a_virtual_raster_is_no_output(tmp_path, scene):
    rasterio.shutil.copy(scene, tmp_path / 'mosaic.vrt', driver='VRT')
    _fails(ConfigError, 'is a file of the scene', tmp_path / 'mosaic.vrt', tmp_path, mask=scene)


def test_geojson_without_a_code_for_its_crs(tmp_path):
    crs = '+proj=tmerc +lat_0=48.123 +lon_0=11.456 +k=0.99991 +x_0=1234 +y_0=5678 +datum=WGS84 +units=m'
    path = write_scene(tmp_path / 'own.tif', blobs(60, 60), crs=crs)
    _fails(ConfigError, 'GeoJSON cannot hold this CRS', path, tmp_path, polygons=tmp_path / 'objects.geojson')
    assert _run(path, tmp_path).objects is not None


def test_60000_pixels_wide(tmp_path):
    data = np.tile(blobs(70, 600), (1, 1, 100))
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', NotGeoreferencedWarning)
        path = write_scene(tmp_path / 'wide.png', data, driver='PNG', crs=None, transform=None)
        result = _run(path, tmp_path, BrightThings(reach=1), window=512, overlap=0.1)
        with rasterio.open(result.mask) as mask:
            assert mask.shape == (70, 60000)
            assert mask.read(1).any()
    assert any('no CRS' in note for note in result.notes)


def _in(folder, names):
    return {name: folder / file for name, file in names.items()}


def test_full_disk_wherever_it_fills_up(tmp_path, small_disk, monkeypatch):
    data = np.random.default_rng(0).integers(0, 256, (3, 400, 400), dtype=np.uint8)
    path = write_scene(tmp_path / 'scene.tif', data)
    predictor = BrightThings(threshold=127, reach=3)
    _fails(DataError, r'has \S+ .B left and this scene needs about 960 KB', path, small_disk(500), predictor)
    monkeypatch.setattr('rs2sam2.geo.run.require_space', lambda folder, size: None)
    all_names = names = dict(mask='mask.tif', probability='probability.tif', polygons='objects.gpkg')
    (tmp_path / 'whole').mkdir()
    objects = _run(path, tmp_path, predictor, window=256, **_in(tmp_path / 'whole', names)).objects
    expected = {}
    for name in ('mask.tif', 'probability.tif'):
        with rasterio.open(tmp_path / 'whole' / name) as raster:
            expected[name] = raster.checksum(1)

    def is_whole(kilobytes):
        """Whether the run on a disk of this size ended with whole files; else it must end in one line."""
        folder = small_disk(kilobytes)
        outputs = _in(folder, names)
        message = ''
        try:
            _run(path, folder, predictor, window=256, **dict(mask=None, polygons=None) | outputs)
        except DataError as error:
            message = str(error)
        if message:
            assert 'disk' in message
            assert '\n' not in message
            assert not list(folder.iterdir())
            return False
        assert sorted(file.name for file in folder.iterdir()) == sorted(names.values())
        for name, file in outputs.items():
            if name == 'polygons':
                known = pyogrio.read_info(file)
                assert known['features'] == objects
                assert known['capabilities']['fast_spatial_filter']
                continue
            with rasterio.open(file) as raster:
                assert raster.checksum(1) == expected[file.name]
        return True

    for kept in (('mask', 'probability'), ('polygons',)):
        names = {name: all_names[name] for name in kept}
        small, large = 100, 3_300
        assert is_whole(large)
        while large - small > 30:
            middle = (small + large) // 2
            small, large = (small, middle) if is_whole(middle) else (middle, large)
        # Just before the end, where the last file is closed.
        for kilobytes in range(large - 130, large - 20, 18):
            is_whole(kilobytes)
