"""Scenes as jobs: the files of the command, on disk before they are promised, none lost."""

import json
import threading

import numpy as np
import pytest

from helpers.services import ask, ended, picture, service
from rs2sam2.errors import OutputError
from rs2sam2.geo.scene import segment_scene
from rs2sam2.inference import InferencerWindowPredictor
from rs2sam2.serve.jobs import STATE, JobStore
from rs2sam2.serve.metrics import Metrics
from rs2sam2.serve.model import SharedModel
from rs2sam2.serve.runner import JobRunner
from rs2sam2.serve.schemas import SceneFound, SceneOptions

rasterio = pytest.importorskip('rasterio')
pyogrio = pytest.importorskip('pyogrio')

FOUND = dict(objects=1, score=0.5, score_kind='presence', rejected=False, scope='window', shape=(2, 3), window=(2, 3))
FOUND |= dict(windows_run=1, windows_skipped=0, foreground_pixels=1, valid_pixels=6, notes=[], trained_on=None)
OPTIONS = SceneOptions(expression='ship')


def post(client, files=None, **fields):
    answer = client.post('/scenes', files=files, data={'expression': 'the red ship', **fields})
    assert answer.status_code == 202, answer.text
    return answer.json()


def read(client, address, tmp_path):
    answer = client.get(address)
    assert answer.status_code == 200
    path = tmp_path / address.replace('/', '_')
    path.write_bytes(answer.content)
    return path


@pytest.mark.parametrize('sent', ['path', 'upload'])
def test_a_job_gives_the_files_of_the_command(client, inferencer, scenes, tmp_path, sent):
    scene = scenes / 'scene.tif'
    files = {'scene': ('my scene.tif', scene.read_bytes())} if sent == 'upload' else None
    fields = {} if sent == 'upload' else {'path': 'scene.tif'}
    cleaned = dict(min_area='0.5m2', simplify='1')
    job = post(client, files, window=64, probability=True, polygons='geojson', **cleaned, **fields)
    assert job['scene'] == ('my scene.tif' if sent == 'upload' else 'scene.tif')
    job = ended(client, job['id'])
    assert job['state'] == 'done', job
    assert job['progress'] == 1
    outputs = {name: tmp_path / f'cli.{suffix}' for name, suffix in dict(mask='tif', polygons='geojson').items()}
    predictor = InferencerWindowPredictor(inferencer)
    result = segment_scene(scene, 'the red ship', predictor, **outputs, **cleaned, window=64, progress=False)
    assert job['result']['objects'] == result.objects > 0
    assert job['result']['windows_run'] == result.windows_run == 6
    with rasterio.open(read(client, job['files']['mask'], tmp_path)) as ours, rasterio.open(outputs['mask']) as theirs:
        np.testing.assert_array_equal(ours.read(), theirs.read())
        assert ours.crs == theirs.crs
    ours, theirs = (
        json.loads(path.read_text())['features']
        for path in (read(client, job['files']['polygons'], tmp_path), outputs['polygons'])
    )
    for feature in theirs:
        feature['properties']['source'] = job['scene']  # a client does not learn where the server keeps it
    assert ours == theirs
    assert client.get(job['files']['probability']).headers['content-type'] == 'image/tiff; application=geotiff'
    assert not (client.service.jobs.store.folder / job['id'] / 'scene.tif').exists()
    assert client.delete(f'/scenes/{job["id"]}').status_code == 200
    assert client.get(f'/scenes/{job["id"]}').status_code == 404


@pytest.mark.parametrize(
    ('fields', 'said'),
    [
        (dict(), 'give path, or upload scene'),
        (dict(path='scene.tif', window=3), 'window'),
        (dict(path='scene.tif', overlap=0.9), 'overlap'),
        (dict(path='scene.tif', bands='1,2'), 'bands'),
        (dict(path='scene.tif', gsd='inf'), 'gsd'),
        (dict(path='scene.tif', min_area='2 acres'), 'min_area'),
        (dict(path='scene.tif', tta='x'), 'tta'),
        (dict(path='scene.tif', expression='  '), 'the expression is empty'),
        (dict(path='scene.tif', colour='x'), 'colour'),
        (dict(path=['scene.tif', 'other.tif']), 'path is given 2 times: send it once'),
        (dict(path='scene.tif', expression=['ship', 'red']), 'expression is given 2 times: send it once'),
    ],
)
def test_what_cannot_be_done_is_said_before_a_job_is_made(client, fields, said):
    before = client.get('/scenes').json()
    answer = client.post('/scenes', data={'expression': 'ship', **fields})
    assert answer.status_code == 422
    assert said in answer.json()['error']
    assert client.get('/scenes').json() == before


def test_a_job_that_fails_says_why(client):
    job = ended(client, post(client, path='scene.tif', bands='7')['id'])
    assert job['state'] == 'failed'
    assert '7' in job['error']
    assert job['files'] == {}
    assert client.get(f'/scenes/{job["id"]}/files/mask').status_code == 409


def test_jobs_and_files_that_are_none(client):
    assert client.put('/scenes').headers['allow'] == 'GET, POST'
    assert client.get(f'/scenes/{"0" * 32}').status_code == 404
    for path in ('/scenes/..%2f..%2fetc', '/scenes/x', f'/scenes/{"0" * 32}/files/job.json'):
        assert client.get(path).status_code in (404, 422)
    assert client.get('/scenes/x').json()['error'].startswith('job_id: ')
    job = ended(client, post(client, path='scene.tif')['id'])
    assert client.get(f'/scenes/{job["id"]}/files/probability').status_code == 404
    assert client.get(f'/scenes/{job["id"]}/files/..%2f{STATE}').status_code in (404, 422)


def test_a_server_with_other_folders_takes_no_other_file_of_the_same_name(inferencer, scenes, tmp_path):
    for name in ('here', 'there'):
        (tmp_path / name).mkdir()
        (tmp_path / name / 'scene.tif').write_bytes((scenes / 'scene.tif').read_bytes())
    kept = JobStore(tmp_path / 'jobs')
    with service(inferencer, tmp_path, roots=(tmp_path / 'here',)) as client:
        job = post(client, path='scene.tif')
        assert ended(client, job['id'])['state'] == 'done'
        assert str(tmp_path) not in client.get('/scenes').text
    (before,) = kept.load()
    before.state = 'running'
    kept.save(before)
    with service(inferencer, tmp_path, roots=(tmp_path / 'there',)) as client:
        job = ended(client, job['id'])
    assert job['state'] == 'failed'
    assert job['error'] == 'scene.tif is not below a folder that this server may read'


def test_a_scene_that_is_gone_is_told(inferencer, tmp_path, scenes):
    (tmp_path / 'scene.tif').write_bytes((scenes / 'scene.tif').read_bytes())
    with service(inferencer, tmp_path / 'work', roots=(tmp_path,)) as client:
        place = str((tmp_path / 'scene.tif').resolve())
        (tmp_path / 'scene.tif').unlink()
        job = ended(client, client.service.jobs.add('scene.tif', OPTIONS, None, place).id)
    assert (job['state'], job['error']) == ('failed', 'scene.tif is no file')


def test_parts_of_files(client):
    address = ended(client, post(client, path='scene.tif')['id'])['files']['mask']
    whole = client.get(address).content
    for asked, status, content in (
        ('bytes=2-9', 206, whole[2:10]), ('bytes=-5', 206, whole[-5:]), ('bytes=9-99999999', 206, whole[9:]),
    ):  # fmt: skip
        answer = client.get(address, headers={'Range': asked})
        assert (answer.status_code, answer.content) == (status, content)
    for asked, status, said in (
        ('bytes=a-b', 400, 'Range'), ('lines=1-2', 400, 'bytes'), ('bytes=99999999-', 416, 'Requested'),
    ):  # fmt: skip
        answer = client.get(address, headers={'Range': asked})
        assert answer.status_code == status
        assert said in answer.json()['error']
    assert answer.headers['content-range'] == f'bytes */{len(whole)}'


def test_cancel_and_images_in_between(inferencer, scenes, tmp_path, monkeypatch):
    reached, go_on = threading.Event(), threading.Event()
    run = SharedModel.run

    def slowly(self, *arguments):
        reached.set()
        go_on.wait(60)
        return run(self, *arguments)

    monkeypatch.setattr(SharedModel, 'run', slowly)
    with service(inferencer, tmp_path, roots=(scenes,), max_jobs=1) as client:
        first = post(client, path='scene.tif', window=64)['id']
        reached.wait(60)
        second = post(client, path='scene.tif')['id']
        full = client.post('/scenes', data={'expression': 'ship', 'path': 'scene.tif'})
        assert full.status_code == 429
        assert full.headers['Retry-After']
        assert client.get(f'/scenes/{first}').json()['state'] == 'running'
        # The model is free for images while the scene waits for its windows.
        assert ask(client, picture(), 'ship').status_code == 200
        assert client.delete(f'/scenes/{second}').json()['state'] == 'cancelled'
        client.delete(f'/scenes/{first}')
        go_on.set()
        assert ended(client, first)['state'] == 'cancelled'
        assert not (tmp_path / 'jobs' / first / 'results').exists()
        assert 'rs2sam2_jobs_total{state="cancelled"} 2.0' in client.get('/metrics').text
        assert [job['id'] for job in client.get('/scenes').json()['jobs']] == [second, first]


def test_a_scene_without_data_can_be_cancelled(inferencer, tmp_path):
    """Its windows never come to the model."""
    profile = dict(driver='GTiff', count=3, height=4_000, width=4_000, dtype='uint8', nodata=0, SPARSE_OK=True)
    with rasterio.open(tmp_path / 'empty.tif', 'w', tiled=True, blockxsize=512, blockysize=512, **profile):
        pass
    with service(inferencer, tmp_path, roots=(tmp_path,)) as client:
        job = post(client, path='empty.tif', window=64)
        while client.get(f'/scenes/{job["id"]}').json()['progress'] == 0:
            threading.Event().wait(0.01)
        client.delete(f'/scenes/{job["id"]}')
        assert ended(client, job['id'])['state'] == 'cancelled'


def test_what_a_killed_server_left_goes_on(inferencer, scenes, tmp_path):
    store = JobStore(tmp_path / 'jobs')
    store.folder.mkdir()
    running, queued, tired, done = (store.add('scene.tif', OPTIONS, None) for _ in range(4))
    running.state, running.attempts = 'running', 1
    tired.state, tired.attempts = 'running', 10
    done.state, done.ended = 'done', '2020-01-01T00:00:00+00:00'
    for job in (running, tired, done):
        store.save(job)
    (store.folder / '.new-half').mkdir()
    with service(inferencer, tmp_path, roots=(scenes,)) as client:
        assert ended(client, running.id)['state'] == 'done'
        assert ended(client, queued.id)['state'] == 'done'
        assert ended(client, tired.id)['error'] == 'the server ended 10 times while this scene ran'
        assert client.get(f'/scenes/{done.id}').status_code == 404  # older than is kept
    assert not (store.folder / '.new-half').exists()


def runner(folder, work):
    folder.mkdir(exist_ok=True)
    return JobRunner(JobStore(folder), work, Metrics(), most=5, keep_days=1)


def test_a_clean_end_finishes_the_scene_or_puts_it_back(tmp_path):
    begun, finish = threading.Event(), threading.Event()

    def work(job, report, check):
        begun.set()
        while not finish.is_set():
            check()
            finish.wait(0.01)
        return SceneFound(**FOUND)

    one = runner(tmp_path / 'one', work)
    job = one.add('a.tif', OPTIONS, None)
    waits = one.add('b.tif', OPTIONS, None)
    one.start()
    begun.wait(5)
    threading.Timer(0.05, finish.set).start()
    one.end(5)
    assert (job.state, waits.state) == ('done', 'queued')

    finish.clear()
    begun.clear()
    two = runner(tmp_path / 'one', work)
    two.start()
    begun.wait(5)
    two.end(0)
    (again,) = [other for other in JobStore(tmp_path / 'one').load() if other.id == waits.id]
    assert (again.state, again.attempts) == ('queued', 0)


def test_a_job_is_there_whole_or_not_at_all(tmp_path):
    jobs = runner(tmp_path / 'jobs', None)

    def torn(path):
        path.write_bytes(b'half')
        raise OSError(28, 'No space left on device')

    with pytest.raises(OutputError, match='No space left'):
        jobs.add('a.tif', OPTIONS, torn)
    assert list(jobs.store.folder.iterdir()) == []
    job = jobs.add('a.tif', OPTIONS, lambda path: path.write_bytes(b'whole'))
    (jobs.store.folder / job.id / STATE).write_text('{')
    with pytest.raises(OutputError, match='remove the folder'):
        JobStore(jobs.store.folder).load()


def test_an_error_of_the_server_ends_one_job_and_no_other(tmp_path):
    def work(job, report, check):
        if job.scene == 'bad.tif':
            raise ZeroDivisionError
        return SceneFound(**FOUND)

    jobs = runner(tmp_path / 'jobs', work)
    bad, good = jobs.add('bad.tif', OPTIONS, None), jobs.add('good.tif', OPTIONS, None)
    jobs.start()
    while not good.over:
        threading.Event().wait(0.01)
    jobs.end(5)
    assert (bad.state, good.state) == ('failed', 'done')
    assert bad.error == 'ZeroDivisionError: an error of the server, told in its log'
