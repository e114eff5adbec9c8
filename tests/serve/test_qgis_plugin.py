"""The QGIS plugin: its zip anywhere, the rest in a QGIS without a window where there is one."""

import json
import os
import py_compile
import runpy
import shutil
import subprocess
import sys
import time
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest
from PIL import Image

from helpers.geo_scenes import blobs, write_scene
from helpers.paths import ROOT
from helpers.work_dirs import make_work_dir

pyogrio = pytest.importorskip('pyogrio')
PLUGIN = ROOT / 'projects/qgis_rs2sam2'
QGIS = shutil.which('qgis_process.bin') or shutil.which('qgis_process')
needs_qgis = pytest.mark.skipif(QGIS is None, reason='no QGIS (apt-get install qgis)')


@pytest.fixture(scope='module')
def archive(tmp_path_factory):
    tool = runpy.run_path(str(ROOT / 'tools/misc/make_qgis_plugin.py'))
    return tool['make_zip'](tmp_path_factory.mktemp('zip') / 'qgis_rs2sam2.zip')


def test_the_zip_is_a_plugin_without_torch(archive, tmp_path):
    with zipfile.ZipFile(archive) as found:
        assert {name.split('/')[0] for name in found.namelist()} == {'qgis_rs2sam2'}
        found.extractall(tmp_path)
    folder = tmp_path / 'qgis_rs2sam2'
    about = ConfigParser()
    about.read(folder / 'metadata.txt')
    assert about['general']['qgisMinimumVersion'] == '3.22'
    assert (folder / about['general']['icon']).read_text().startswith('<svg')
    assert (folder / 'client.py').read_bytes() == (ROOT / 'projects/rs2sam2/client.py').read_bytes()
    for path in folder.glob('*.py'):
        py_compile.compile(str(path), doraise=True)
        assert 'torch' not in path.read_text().replace('needs torch', ''), path
        assert 'import rs2sam2' not in path.read_text(), path


def test_all_scopes_of_the_service_can_be_chosen():
    pytest.importorskip('fastapi', reason='the extra [serve] is not installed')
    from rs2sam2.serve.schemas import SceneOptions

    words = (PLUGIN / 'algorithm.py').read_text()
    scopes = SceneOptions.model_json_schema()['properties']['scope']['enum']
    assert all(f"'{scope}'" in words for scope in scopes)


@pytest.fixture(scope='module')
def qgis(archive, tmp_path_factory):
    """Runs the algorithm in a profile of its own."""
    home = tmp_path_factory.mktemp('qgis')
    model = make_work_dir(tmp_path_factory.mktemp('model') / 'run')
    with zipfile.ZipFile(archive) as found:
        found.extractall(home / 'plugins')
    (home / 'run').mkdir(mode=0o700)
    environment = os.environ | dict(
        HOME=str(home),
        XDG_RUNTIME_DIR=str(home / 'run'),
        QT_QPA_PLATFORM='offscreen',
        QGIS_PLUGINPATH=str(home / 'plugins'),
        RS2SAM2_PYTHON=sys.executable,
        RS2SAM2_MODEL=str(model),
        OMP_NUM_THREADS='1',
    )

    def run(*words: object, **more: str) -> subprocess.CompletedProcess:
        command = [QGIS, *map(str, words)]
        return subprocess.run(command, env=environment | more, capture_output=True, text=True, timeout=300)

    run('plugins', 'enable', 'qgis_rs2sam2')
    run.model = model
    return run


def segment(qgis, **parameters):
    words = [f'{name}={value}' for name, value in parameters.items()]
    return qgis('run', 'rs2sam2:segmentbyexpression', '--', *words)


@needs_qgis
@pytest.mark.slow
@pytest.mark.ci
def test_qgis_gives_the_polygons_of_the_command(qgis, tmp_path):
    scene = write_scene(tmp_path / 'scene.tif', blobs(100, 150))
    ran = segment(qgis, INPUT=scene, EXPRESSION='the red ship', POLYGONS=tmp_path / 'a.gpkg', MASK=tmp_path / 'a.tif')
    assert ran.returncode == 0, ran.stdout + ran.stderr
    command = [sys.executable, '-m', 'rs2sam2.cli.main', 'scene', scene, '-e', 'the red ship', '--model', qgis.model]
    command += ['--polygons', tmp_path / 'b.gpkg', '--mask', tmp_path / 'b.tif']
    # Another number of threads adds in another order: the last bit of a score.
    one_thread = os.environ | {'OMP_NUM_THREADS': '1'}
    subprocess.run([str(word) for word in command], check=True, capture_output=True, env=one_thread)
    ours, theirs = (pyogrio.raw.read(tmp_path / name) for name in ('a.gpkg', 'b.gpkg'))
    assert ours[0]['crs'] == theirs[0]['crs']
    assert len(ours[2]) > 0
    assert list(ours[2]) == list(theirs[2])
    for one, other in zip(ours[3], theirs[3], strict=True):
        assert list(one) == list(other)
    assert (tmp_path / 'a.tif').read_bytes() == (tmp_path / 'b.tif').read_bytes()

    # Cut out along its own edges, in another format; then what cannot be.
    ran = segment(
        qgis,
        INPUT=scene,
        EXPRESSION='the red ship',
        EXTENT='400000,400075,5299950,5300000',
        POLYGONS=tmp_path / 'part.geojson',
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    part = json.loads((tmp_path / 'part.geojson').read_text())
    assert len(part['features']) == len(ours[2])
    assert {'id', 'expression', 'score', 'area', 'area_unit', 'pixels'} <= set(part['features'][0]['properties'])
    # A picture without a place lies below the x axis in QGIS, and so do its polygons.
    Image.fromarray(blobs(100, 150).transpose(1, 2, 0)).save(tmp_path / 'plain.png')
    places = dict(EXTENT='0,150,-100,0', POLYGONS=tmp_path / 'plain.gpkg')
    ran = segment(qgis, INPUT=tmp_path / 'plain.png', EXPRESSION='the red ship', **places)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    x_min, y_min, x_max, y_max = pyogrio.read_info(tmp_path / 'plain.gpkg')['total_bounds']
    assert 0 <= x_min < x_max <= 150
    assert -100 <= y_min < y_max <= 0
    ran = segment(qgis, INPUT=scene, EXPRESSION='ship', EXTENT='0,1,0,1', POLYGONS=tmp_path / 'none.gpkg')
    assert 'the extent does not meet the layer' in ran.stdout + ran.stderr
    ran = qgis(
        'run', 'rs2sam2:segmentbyexpression', '--', f'INPUT={scene}', 'EXPRESSION=ship', f'POLYGONS={tmp_path}/n.gpkg',
        RS2SAM2_PYTHON='/usr/bin/python3',
    )  # fmt: skip
    assert "No module named 'rs2sam2'" in ran.stdout + ran.stderr
    assert 'name another Python' in ran.stdout + ran.stderr
    # No service outlives its QGIS for long.
    until = time.monotonic() + 30
    while left := [one for one in Path('/proc').glob('[0-9]*/cmdline') if str(qgis.model).encode() in _bytes(one)]:
        assert time.monotonic() < until, left
        time.sleep(0.2)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b''
