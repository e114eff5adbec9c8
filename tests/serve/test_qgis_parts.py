"""What the QGIS plugin does by itself, without a QGIS: how it finds and starts its service, and what it cuts out."""

import importlib
import json
import os
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from affine import Affine

from helpers.http_answers import answering
from helpers.paths import ROOT
from rs2sam2.client import API

HEALTH = json.dumps({'status': 'ok', 'version': '0', 'api': API}).encode()


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Loads modules of the plugin, with what they take of QGIS and GDAL; `plugin.kept` is what QGIS's settings hold."""
    kept, cut = {}, []

    class Settings:
        def value(self, name, default):
            return kept.get(name, default)

        def setValue(self, name, value):
            kept[name] = value

    def translate(path, dataset, **options):
        cut.append(options)
        return SimpleNamespace(FlushCache=lambda: None)

    gdal = SimpleNamespace(
        InvGeoTransform=lambda numbers: (~Affine.from_gdal(*numbers)).to_gdal(),
        ApplyGeoTransform=lambda numbers, x, y: Affine.from_gdal(*numbers) @ (x, y),
        Translate=translate,
        GetLastErrorMsg=lambda: 'no such thing',
    )
    core = SimpleNamespace(
        QgsSettings=Settings, QgsApplication=SimpleNamespace(qgisSettingsDirPath=lambda: f'{tmp_path}/profile')
    )
    for name, content in {'qgis': {}, 'qgis.core': vars(core), 'osgeo': {'gdal': gdal}}.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.syspath_prepend(str(ROOT / 'projects'))
    for name in list(os.environ):
        if name.startswith('RS2SAM2_'):
            monkeypatch.delenv(name)
    loaded = {name: importlib.import_module(f'qgis_rs2sam2.{name}') for name in ('settings', 'service', 'raster')}
    yield SimpleNamespace(**loaded, kept=kept, gdal=gdal, cut=cut, folder=tmp_path / 'profile/rs2sam2')
    loaded['service'].end_own()
    for name in [name for name in sys.modules if name.partition('.')[0] == 'qgis_rs2sam2']:
        del sys.modules[name]


@pytest.fixture
def python(plugin, tmp_path):
    """Names a stand-in for the user's Python: a shell script that is given lines to do."""

    def name(*lines):
        path = tmp_path / 'python'
        path.write_text('\n'.join(['#!/bin/sh', *lines]))
        path.chmod(0o755)
        plugin.kept['rs2sam2/python'] = str(path)

    return name


def test_settings_are_kept_and_the_environment_comes_first(plugin, monkeypatch):
    assert plugin.settings.load_settings().model == 'rs2sam2_rrsisd'
    given = plugin.settings.Settings(python='/p', model='demo', address='', token='t')
    plugin.settings.save_settings(given)
    assert plugin.settings.load_settings() == given
    monkeypatch.setenv('RS2SAM2_MODEL', 'other')
    assert plugin.settings.load_settings().model == 'other'


def test_without_a_python_it_says_what_to_do(plugin):
    with pytest.raises(plugin.service.NotSetUpError, match='Say once which Python'):
        plugin.service.find_service(tell=lambda text: None)


@pytest.mark.parametrize(
    ('lines', 'said'),
    [
        (['echo "ModuleNotFoundError: No module named \'rs2sam2\'" >&2', 'exit 1'], 'install it there, or name'),
        (['echo first', 'echo "error: no such model" >&2', 'exit 2'], r'error: no such model \(all of it is in'),
        (['exit 1'], 'it said nothing'),
    ],
)
def test_a_service_that_does_not_start_says_why(plugin, python, lines, said):
    python(*lines)
    with pytest.raises(plugin.service.NotSetUpError, match=said):
        plugin.service.find_service(tell=lambda text: None)


def test_a_python_that_is_none(plugin, tmp_path):
    plugin.kept['rs2sam2/python'] = str(tmp_path / 'nothing')
    with pytest.raises(plugin.service.NotSetUpError, match='cannot be run'):
        plugin.service.find_service(tell=lambda text: None)


def test_it_starts_one_service_that_only_it_can_use_and_that_ends_with_it(plugin, python, tmp_path, monkeypatch):
    monkeypatch.setenv('PYTHONHOME', '/of/qgis')
    with answering(body=HEALTH) as (address, _):
        python(
            f'env > {tmp_path}/environment; echo "$@" > {tmp_path}/words',
            f'echo "The service is at {address} (Ctrl+C ends it)"',
            f'cat > {tmp_path}/ended',
        )
        client, by_path = plugin.service.find_service(tell=lambda text: None)
        assert by_path
        process = plugin.service._Own.process
        again, _ = plugin.service.find_service(tell=lambda text: None)
        assert again is client
        assert plugin.service._Own.process is process
        environment = (tmp_path / 'environment').read_text().splitlines()
        assert not any(line.startswith('PYTHONHOME=') for line in environment)
        assert f'RS2SAM2_TOKEN={client.token}' in environment
        assert client.token not in (tmp_path / 'words').read_text()
        # The system closes the pipe however QGIS ends.
        process.stdin.close()
        assert process.wait(5) == 0
        # One that ended is started again; so is one with another model.
        plugin.service.find_service(tell=lambda text: None)
        other = plugin.service._Own.process
        assert other is not process
        plugin.kept['rs2sam2/model'] = 'demo'
        plugin.service.find_service(tell=lambda text: None)
        assert other.poll() is not None


def test_the_service_of_another_qgis_is_left_alone(plugin, python):
    with answering(token='of another QGIS') as (first, _), answering(body=HEALTH) as (second, _):
        python(f'echo "The service is at {first}"', f'echo "The service is at {second}"', 'cat')
        client, _ = plugin.service.find_service(tell=lambda text: None)
    assert client.address == second


def test_waiting_for_the_start_can_be_cancelled(plugin, python):
    python('exec sleep 60')
    begin = time.monotonic()
    with pytest.raises(plugin.service.NotSetUpError, match='cancelled'):
        plugin.service.find_service(tell=lambda text: None, cancelled=lambda: time.monotonic() > begin + 0.3)
    assert plugin.service._Own.process is None


def test_a_service_of_another_version_is_told(plugin, python):
    with answering(body=b'{"version": "9.0", "api": 99}') as (address, _):
        python(f'echo "The service is at {address}"', 'cat')
        with pytest.raises(plugin.service.NotSetUpError, match='install both of the same version'):
            plugin.service.find_service(tell=lambda text: None)
        assert plugin.service._Own.process is None
        plugin.kept['rs2sam2/address'] = address
        with pytest.raises(plugin.service.NotSetUpError, match='install both of the same version'):
            plugin.service.find_service(tell=lambda text: None)


def test_a_service_elsewhere_is_sent_the_part(plugin):
    with answering(body=HEALTH, token='t' * 16) as (address, _):
        plugin.kept |= {'rs2sam2/address': address, 'rs2sam2/token': 't' * 16}
        client, by_path = plugin.service.find_service()
        assert (client.address, by_path) == (address, False)
        plugin.kept['rs2sam2/token'] = 'wrong'
        with pytest.raises(plugin.service.NotSetUpError, match='the token right'):
            plugin.service.find_service()
    plugin.kept['rs2sam2/address'] = 'gpu:8000'
    with pytest.raises(plugin.service.NotSetUpError, match='is no address'):
        plugin.service.find_service()


def test_a_long_log_begins_anew(plugin, python):
    plugin.folder.mkdir(parents=True)
    (plugin.folder / 'service.log').write_bytes(bytes(2_000_000))
    with answering(body=HEALTH) as (address, _):
        python(f'echo "The service is at {address}"', 'cat')
        plugin.service.find_service(tell=lambda text: None)
    assert (plugin.folder / 'service.log').stat().st_size < 1000


def dataset(transform=None, points=0):
    """A raster of 80 x 60 pixels, as GDAL opens it."""
    return SimpleNamespace(
        RasterXSize=80,
        RasterYSize=60,
        GetGCPCount=lambda: points,
        GetGeoTransform=lambda can_return_null: None if transform is None else transform.to_gdal(),
    )


NORTH_UP = Affine(0.5, 0, 100, 0, -0.5, 200)


@pytest.mark.parametrize(
    ('transform', 'box', 'expected'),
    [
        (NORTH_UP, (110, 170, 120, 190), [20, 20, 20, 40]),
        # What a pixel is touched by is in; rounding alone is not.
        (NORTH_UP, (110.1, 170.1, 119.9, 189.9), [20, 20, 20, 40]),
        (Affine(0.1, 0, 100, 0, -0.1, 200), (100.3, 199.3, 100.7, 199.9), [3, 1, 4, 6]),
        # More than there is; from the south upwards; turned by a quarter.
        (NORTH_UP, (0, 0, 999, 999), [0, 0, 80, 60]),
        (Affine(0.5, 0, 100, 0, 0.5, 200), (110, 210, 120, 215), [20, 20, 20, 10]),
        (Affine(0, 0.5, 100, 0.5, 0, 200), (110, 220, 120, 230), [40, 20, 20, 20]),
    ],
)
def test_what_is_cut_out(plugin, tmp_path, transform, box, expected):
    plugin.gdal.Open = lambda source: dataset(transform)
    part = plugin.raster.Part('somewhere.vrt', box)
    assert plugin.raster.as_file(part, tmp_path, True) == str(tmp_path / 'part.tif')
    assert plugin.cut[0]['srcWin'] == expected
    assert 'outputBounds' not in plugin.cut[0]


@pytest.mark.parametrize(
    ('box', 'window', 'bounds'),
    [
        (None, [0, 0, 80, 60], [0, 0, 80, -60]),
        ((10, -50, 30, -20), [10, 20, 20, 30], [10, -20, 30, -50]),
    ],
)
def test_a_picture_without_a_place_lies_where_qgis_lays_it(plugin, tmp_path, box, window, bounds):
    (path := tmp_path / 'a.png').touch()
    plugin.gdal.Open = lambda source: dataset()
    plugin.raster.as_file(plugin.raster.Part(str(path), box), tmp_path, True)
    assert (plugin.cut[0]['srcWin'], plugin.cut[0]['outputBounds']) == (window, bounds)


def test_what_cannot_be_cut_out(plugin, tmp_path):
    plugin.gdal.Open = lambda source: dataset(NORTH_UP)
    with pytest.raises(plugin.raster.RasterError, match='does not meet the layer'):
        plugin.raster.as_file(plugin.raster.Part('a.tif', (0, 0, 1, 1)), tmp_path, True)
    plugin.gdal.Open = lambda source: dataset(points=4)
    with pytest.raises(plugin.raster.RasterError, match='leave the extent empty'):
        plugin.raster.as_file(plugin.raster.Part('a.tif', (0, 0, 1, 1)), tmp_path, True)
    plugin.gdal.Open = lambda source: None
    with pytest.raises(plugin.raster.RasterError, match='cannot be read by GDAL'):
        plugin.raster.as_file(plugin.raster.Part('a.tif', None), tmp_path, True)


def test_a_file_that_is_there_is_sent_as_it_is(plugin, tmp_path):
    (path := tmp_path / 'a.TIF').touch()
    (png := tmp_path / 'a.png').touch()
    plugin.gdal.Open = lambda source: dataset(NORTH_UP)
    assert plugin.raster.as_file(plugin.raster.Part(str(path), None), tmp_path, False) == str(path)
    assert plugin.raster.as_file(plugin.raster.Part(str(png), None), tmp_path, True) == str(png)
    assert Path(plugin.raster.as_file(plugin.raster.Part(str(png), None), tmp_path, False)).name == 'part.tif'
    plugin.gdal.Open = lambda source: dataset(points=4)
    assert plugin.raster.as_file(plugin.raster.Part(str(path), None), tmp_path, False) == str(path)
