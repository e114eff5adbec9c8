"""The service as a process of its own: its client, its end, and kills."""

import os
import shutil
import signal
import socket
import threading
import time
import urllib.parse
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.command import MODULE, start
from helpers.services import own_service, picture
from rs2sam2.client import Client, ServiceError
from rs2sam2.inference import InferencerWindowPredictor

rasterio = pytest.importorskip('rasterio')

pytestmark = pytest.mark.slow


@pytest.mark.ci
def test_the_client_and_the_end(served_model, inferencer, scenes, tmp_path):
    (tmp_path / 'a "photo".png').write_bytes(picture())
    with own_service(served_model, tmp_path / 'jobs', '--root', scenes) as (address, process):
        client = Client(address)
        assert client.health()['status'] == 'ok'
        assert client.model()['takes_points'] is True
        found = client.segment(tmp_path / 'a "photo".png', 'ship', 'red', point=['5,6', '9,9,0'])
        assert [one['expression'] for one in found['results']] == ['ship', 'red']
        (tmp_path / 'mask.png').write_bytes(client.segment(picture(), 'ship', format='png'))
        expected = inferencer(np.array(Image.open(tmp_path / 'a "photo".png')), 'ship')[0].mask
        np.testing.assert_array_equal(np.array(Image.open(tmp_path / 'mask.png')) == 255, expected)
        with pytest.raises(ServiceError, match='is not an image') as refused:
            client.segment(b'no image', 'ship')
        assert refused.value.status == 422
        shares: list[float] = []
        job = client.wait(client.add_scene('ship', upload=scenes / 'scene.tif', window=64)['id'], shares.append)
        files = client.save(job, tmp_path / 'found')
        assert set(files) == {'mask', 'polygons'}
        assert all(0 <= share <= 1 for share in shares)
        client.cancel(job['id'])
        with pytest.raises(ServiceError, match='there is no job'):
            client.scene(job['id'])
        # A second server does not take the jobs of the first.
        second = start(*MODULE, 'serve', '--model', served_model, '--jobs', tmp_path / 'jobs', '--port', 0)
        assert 'is in use by process' in second.communicate()[0]
        assert second.returncode == 2
        # What a client sends without end, or never ends to send, stops nothing.
        place = urllib.parse.urlsplit(address)
        silent = socket.create_connection((place.hostname, place.port))
        silent.sendall(b'POST /segment HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99\r\n')
        answers: list[dict] = []
        asking = threading.Thread(target=lambda: answers.append(client.segment(picture(), *['ship'] * 32, tta='all')))
        asking.start()
        until = time.monotonic() + 20
        while f'rs2sam2_waiting {32.0}' not in client._ask('GET', '/metrics').decode() and time.monotonic() < until:
            pass
        process.send_signal(signal.SIGTERM)
        asking.join(60)
        assert len(answers[0]['results']) == 32
        silent.close()
        said = process.communicate(timeout=60)[0]
    assert process.returncode == 128 + signal.SIGTERM
    assert said.splitlines()[-1].startswith('stopped by SIGTERM')
    assert 'Traceback' not in said


def test_no_scene_is_lost_when_the_server_is_killed(served_model, inferencer, scenes, tmp_path):
    """Twenty scenes; kill -9 again and again."""
    from rs2sam2.geo.scene import segment_scene

    sent = []
    options = ('--root', scenes, '--max-jobs', 20)
    with own_service(served_model, tmp_path / 'jobs', *options) as (address, process):
        client = Client(address)
        for i in range(20):
            named = dict(path='scene.tif') if i % 2 else dict(upload=scenes / 'scene.tif')
            sent.append(client.add_scene(f'ship {"red " * (i % 3)}', window=64, **named)['id'])
        os.kill(process.pid, signal.SIGKILL)
    for _ in range(3):
        with own_service(served_model, tmp_path / 'jobs', *options) as (address, process):
            client = Client(address)
            states = [client.scene(job_id)['state'] for job_id in sent]
            assert set(states) <= {'queued', 'running', 'done'}
            time.sleep(0.2)
            os.kill(process.pid, signal.SIGKILL)
    with own_service(served_model, tmp_path / 'jobs', *options) as (address, process):
        client = Client(address)
        expected = {}
        for i, job_id in enumerate(sent):
            mask = client.save(client.wait(job_id), tmp_path / job_id)['mask']
            if i < 3:
                out = tmp_path / f'{i}.tif'
                text = f'ship {"red " * i}'
                predictor = InferencerWindowPredictor(inferencer)
                segment_scene(scenes / 'scene.tif', text, predictor, mask=out, window=64, progress=False)
                expected[i] = rasterio.open(out).read()
            np.testing.assert_array_equal(rasterio.open(mask).read(), expected[i % 3])
        process.send_signal(signal.SIGINT)
        assert 'stopped by SIGINT' in process.communicate(timeout=30)[0]
    assert not list((tmp_path / 'jobs').glob('*/results/.*'))


def test_a_server_whose_port_is_taken_or_that_is_open_to_all_does_not_start(served_model, tmp_path):
    with socket.create_server(('127.0.0.1', 0)) as taken:
        port = taken.getsockname()[1]
        words = ('serve', '--model', served_model, '--jobs', tmp_path, '--port', port)
        process = start(*MODULE, *words)
        assert f'port {port} of 127.0.0.1 cannot be used' in process.communicate()[0]
        assert process.returncode == 2
    process = start(*MODULE, *words, '--host', '0.0.0.0')
    assert 'can be reached from other machines' in process.communicate()[0]
    assert process.returncode == 2


@pytest.mark.skipif(shutil.which('schemathesis') is None, reason='no schemathesis (pipx install schemathesis)')
def test_schemathesis_finds_nothing(served_model, scenes, tmp_path):
    config = Path(__file__).with_name('schemathesis.toml')
    with own_service(served_model, tmp_path / 'jobs', '--root', scenes, '--max-jobs', 5) as (address, process):
        words = ['--config-file', config, 'run', f'{address}/openapi.json', '--max-examples', 20, '--no-color']
        ran = start('schemathesis', *words, cwd=tmp_path)
        assert 'FAILURES' not in (said := ran.communicate()[0]), said
        assert ran.returncode == 0, said
        process.terminate()
        assert 'Traceback' not in process.communicate(timeout=60)[0]
