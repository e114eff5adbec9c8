"""Fixtures of the tests of the service."""

import pytest

for _name in ('fastapi', 'uvicorn', 'batched', 'prometheus_client', 'python_multipart', 'rasterio', 'pyogrio'):
    pytest.importorskip(_name, reason=f'the extra [serve] is not installed: {_name}')

from helpers.geo_scenes import blobs, write_scene  # noqa: E402
from helpers.services import service  # noqa: E402
from helpers.work_dirs import make_work_dir  # noqa: E402
from rs2sam2.inference import RefSegInferencer  # noqa: E402


@pytest.fixture(scope='session')
def served_model(tmp_path_factory):
    return make_work_dir(tmp_path_factory.mktemp('served') / 'run', point_prompts=True)


@pytest.fixture(scope='session')
def inferencer(served_model):
    return RefSegInferencer(served_model)


@pytest.fixture(scope='session')
def scenes(tmp_path_factory):
    """A folder with a scene of two by three windows of the tiny model."""
    folder = tmp_path_factory.mktemp('scenes')
    write_scene(folder / 'scene.tif', blobs(100, 150))
    return folder


@pytest.fixture(scope='module')
def client(inferencer, scenes, tmp_path_factory):
    with service(inferencer, tmp_path_factory.mktemp('service'), roots=(scenes,)) as client:
        yield client
