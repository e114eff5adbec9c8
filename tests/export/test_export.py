"""The embedded model exported for real, and run by onnxruntime: here, and in a virtual environment without torch."""

import io
import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from helpers.paths import ROOT
from helpers.without_torch import environment_without_torch
from rs2sam2 import RefSegInferencer
from rs2sam2.client import Client
from rs2sam2.errors import ConfigError
from rs2sam2.export.run import export_model
from rs2sam2.geo.scene import segment_scene
from rs2sam2.inference import InferencerWindowPredictor
from rs2sam2.inference.onnx_inferencer import OnnxInferencer
from rs2sam2.synthetic.scene import draw_scene

pytestmark = pytest.mark.slow
EXPRESSIONS = ['the ship', 'the left one of the two storage tanks', 'vehicle on the road in the middle of the picture']


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    path = tmp_path_factory.mktemp('exported') / 'demo.onnx'
    report = export_model('demo', path).check
    assert max(report['largest_difference_over_spread'].values()) < 1e-4
    assert os.listdir(path.parent) == ['demo.onnx']
    return path


@pytest.fixture(scope='module')
def eager():
    return RefSegInferencer('demo')


@pytest.fixture(scope='module')
def images():
    rng = np.random.default_rng(5)
    return [draw_scene(rng, size).image for size in (96, 160, 256)]


@pytest.mark.ci
def test_masks_scores_and_notes_are_those_of_pytorch(exported, eager, images):
    onnx = RefSegInferencer(exported)
    assert isinstance(onnx, OnnxInferencer)
    assert onnx.trained_on == eager.trained_on
    pairs = [(image, text) for image in images for text in EXPRESSIONS]
    for batch_size in (1, 4):
        found = onnx(pairs=pairs, batch_size=batch_size)
        for one, other in zip(eager(pairs=pairs), found, strict=True):
            assert (one.mask != other.mask).mean() < 1e-3
            assert np.abs(one.logits - other.logits).max() < 1e-4 * one.logits.std() + 1e-4
            np.testing.assert_allclose(one.pseudo_mask, other.pseudo_mask, atol=1e-5)
            for name in ('score', 'presence', 'predicted_iou'):
                assert getattr(one, name) == pytest.approx(getattr(other, name), abs=1e-4)
            assert (one.score_kind, one.notes, one.size) == (other.score_kind, other.notes, other.size)


@pytest.mark.ci
def test_turned_copies_and_windows_agree_too(exported, eager, images):
    onnx = RefSegInferencer(exported, tta='rot90, flip_vertical')
    one, other = (model(images[1], EXPRESSIONS[1])[0] for model in (eager.with_tta('rot90,flip_vertical'), onnx))
    assert one.averaged_over == other.averaged_over
    np.testing.assert_allclose(one.logits, other.logits, atol=1e-3)
    windows = [InferencerWindowPredictor(model) for model in (eager, onnx.with_tta(None))]
    one, other = (predictor.predict([images[0]] * 2, EXPRESSIONS[0]) for predictor in windows)
    np.testing.assert_allclose(one, other, atol=1e-3)
    with pytest.raises(ConfigError, match='takes no points and boxes'):
        onnx(images[0], EXPRESSIONS[0], point=(3, 3))


def test_int8_says_what_it_changes(exported):
    path = exported.with_name('int8.onnx')
    report = export_model('demo', path, dtype='int8').check
    assert 0 < report['changed_pixels'] < 0.01
    assert path.stat().st_size < 0.7 * exported.stat().st_size
    onnx = RefSegInferencer(path)
    assert (onnx.precision, onnx.exported.check) == ('int8', report)


@pytest.mark.ci
def test_in_an_environment_without_torch(exported, eager, images, tmp_path, record_property):
    """`pip install` of the wheel and requirements/without_torch.txt alone; masks equal those of PyTorch."""
    env = {key: value for key, value in os.environ.items() if key not in ('PYTHONPATH', 'PYTHONHOME')}

    def run(*command, **options):
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=env, cwd=tmp_path, **options)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout + done.stderr

    source = tmp_path / 'source'
    for name in ('projects', 'configs', 'tools', 'requirements'):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns('__pycache__', '.mim', '*.egg-info'))
    for name in ('setup.py', 'pyproject.toml', 'MANIFEST.in', 'README.md', 'LICENSE', 'model-index.yml'):
        shutil.copy(ROOT / name, source)
    run(sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '--no-build-isolation', '-w', tmp_path, source)
    run(sys.executable, '-m', 'venv', tmp_path / 'venv')
    bin = tmp_path / 'venv/bin'
    run(bin / 'pip', 'install', '-q', '-r', ROOT / 'requirements/without_torch.txt')
    run(bin / 'pip', 'install', '-q', '--no-deps', next(tmp_path.glob('*.whl')))
    packages = run(bin / 'pip', 'list')
    assert not {'torch', 'mmengine', 'onedl-mmcv'} & {line.split()[0] for line in packages.splitlines() if line}
    size = sum(path.stat().st_size for path in (tmp_path / 'venv').rglob('*') if path.is_file()) / 1e6
    record_property('venv_MB', round(size))
    print(f'the environment without torch has {size:.0f} MB')
    assert size < 400

    Image.fromarray(images[1]).save(tmp_path / 'scene.png')
    texts = [part for text in EXPRESSIONS for part in ('-e', text)]
    run(bin / 'rs2sam2', 'segment', 'scene.png', *texts, '--model', exported, '--out', 'found', '--tta', 'rot180')
    rows = [json.loads(line) for line in (tmp_path / 'found/results.jsonl').read_text().splitlines()]
    for row, result in zip(rows, eager.with_tta('rot180')(images[1], EXPRESSIONS), strict=True):
        assert row['expression'] == result.expression
        mask = np.asarray(Image.open(tmp_path / 'found' / row['mask'])) > 0
        assert (mask != result.mask).mean() < 1e-3
    code = "from rs2sam2 import RefSegInferencer as R; r = R('{}')('scene.png', 'ship')[0]; r.save('m.jpg'); print(r)"
    assert 'score' in run(bin / 'python', '-c', code.format(exported))
    refused = subprocess.run(
        [bin / 'rs2sam2', 'segment', 'scene.png', '-e', 'ship', '--model', 'demo', '--out', 'x'],
        capture_output=True, text=True, cwd=tmp_path, env=env,
    )  # fmt: skip
    assert refused.returncode == 2
    assert refused.stderr.startswith('error: demo needs torch, which is not installed here')
    assert len(refused.stderr.splitlines()) == 1


@pytest.mark.ci
def test_scenes_and_the_service_without_torch(exported, eager, images, tmp_path):
    """The packages of this environment but torch's: rasters as PyTorch writes them, answers as it gives them."""
    rasterio, text = pytest.importorskip('rasterio'), EXPRESSIONS[0]
    env = environment_without_torch(tmp_path / 'packages', ROOT / 'projects')
    python = [sys.executable, '-S']
    assert subprocess.run([*python, '-c', 'import torch'], env=env, capture_output=True).returncode
    place = rasterio.Affine(0.5, 0, 500000, 0, -0.5, 5400000)
    with rasterio.open(tmp_path / 'scene.tif', 'w', 'GTiff', 256, 256, 3, 'EPSG:32633', place, 'uint8') as raster:
        raster.write(images[2].transpose(2, 0, 1))
    command = [*python, '-m', 'rs2sam2.cli.main']
    outputs = ['--mask', 'mask.tif', '--polygons', 'found.gpkg']
    scene = [*command, 'scene', 'scene.tif', '-e', text, '--model', str(exported), '--window', '160', *outputs]
    done = subprocess.run(scene, env=env, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    predictor = InferencerWindowPredictor(eager)
    segment_scene(tmp_path / 'scene.tif', text, predictor, mask=tmp_path / 'eager.tif', window=160, progress=False)
    with rasterio.open(tmp_path / 'mask.tif') as one, rasterio.open(tmp_path / 'eager.tif') as other:
        assert (one.crs, one.transform) == (other.crs, other.transform)
        assert (one.read() != other.read()).mean() < 1e-3
    assert (tmp_path / 'found.gpkg').stat().st_size

    serve = [*command, 'serve', '--model', str(exported), '--port', '0', '--jobs', str(tmp_path / 'jobs')]
    with subprocess.Popen(serve, env=env, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as server:
        try:
            address = re.search(r'http://[\d.:]+', server.stdout.readline())[0]
            file = io.BytesIO()
            Image.fromarray(images[1]).save(file, 'PNG')
            answer = Client(address).segment(file.getvalue(), *EXPRESSIONS)
        finally:
            server.terminate()
    for row, result in zip(answer['results'], eager(images[1], EXPRESSIONS), strict=True):
        assert row['area'] == pytest.approx(result.area, abs=1e-3 * result.mask.size)
        assert row['score'] == pytest.approx(result.score, abs=1e-3)
