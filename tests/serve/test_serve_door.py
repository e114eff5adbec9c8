"""Who is let in, with how much, how slowly; and which files of the server may be named."""

import asyncio
import json
import os
from pathlib import Path

import pytest
import rasterio
import typer
from starlette.websockets import WebSocketDisconnect

from helpers.paths import ROOT
from helpers.services import ask, ended, picture, service
from rs2sam2.cli.main import app
from rs2sam2.errors import ConfigError
from rs2sam2.serve import front
from rs2sam2.serve.front import FrontDoor
from rs2sam2.serve.paths import ForbiddenPathError, allowed_scene
from rs2sam2.serve.settings import ServeSettings, find_token

TOKEN = 'a' * 32


@pytest.mark.parametrize('host', ['evil.example', '127.0.0.1.evil.example', '0.0.0.0', ''])
def test_foreign_names_are_refused(client, host):
    answer = client.get('/health', headers={'Host': host})
    assert answer.status_code == 403
    assert 'answers to 127.0.0.1, localhost' in answer.json()['error']


def test_other_pages_are_refused(client):
    assert client.get('/health', headers={'Origin': 'http://127.0.0.1'}).status_code == 200
    for origin in ('http://evil.example', 'null', 'https://127.0.0.1'):
        assert client.post('/segment', headers={'Origin': origin}).status_code == 403
    with pytest.raises(WebSocketDisconnect) as closed, client.websocket_connect('/health'):
        pass
    assert closed.value.code == 1008


def test_a_token_is_needed_for_all_but_health(inferencer, tmp_path):
    with service(inferencer, tmp_path, token=TOKEN, host='0.0.0.0', names=('gpu.example',)) as client:
        client.headers['Host'] = 'gpu.example:80'
        assert client.get('/health').status_code == 200
        for sent in (
            {},
            {'Authorization': 'Bearer wrong'},
            {'Authorization': TOKEN},
            {'Authorization': f'Basic {TOKEN}'},
        ):
            for method, path in (
                ('GET', '/metrics'),
                ('GET', '/openapi.json'),
                ('POST', '/segment'),
                ('GET', '/scenes'),
            ):
                answer = client.request(method, path, headers=sent)
                assert answer.status_code == 401
                assert answer.headers['www-authenticate'] == 'Bearer'
        client.headers['Authorization'] = f'Bearer {TOKEN}'
        assert ask(client, picture(), 'ship').status_code == 200


def test_beyond_this_machine_a_token_is_needed(tmp_path):
    for host in ('0.0.0.0', '192.168.0.7', '::', 'gpu.example'):
        with pytest.raises(ConfigError, match='can be reached from other machines'):
            ServeSettings(jobs=tmp_path, host=host)
    for host in ('127.0.0.1', '127.3.2.1', 'localhost', '::1'):
        ServeSettings(jobs=tmp_path, host=host)
    for token in ('short', 'a b' * 10, 'ä' * 20, ''):
        with pytest.raises(ConfigError, match='16 to 256 visible'):
            ServeSettings(jobs=tmp_path, host='0.0.0.0', token=token)
    (tmp_path / 'token').write_text(f'{TOKEN}\n')
    assert find_token(tmp_path / 'token') == TOKEN
    assert TOKEN not in repr(ServeSettings(jobs=tmp_path, token=TOKEN))


@pytest.mark.parametrize(
    'wrong',
    [
        dict(batch_size=0),
        dict(time_limit=float('nan')),
        dict(time_limit=1e300),
        dict(grace=-1),
        dict(grace=1e300),
        dict(max_jobs=0),
        dict(keep_days=1e300),
    ],
)
def test_limits_that_mean_nothing_are_refused(tmp_path, wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        ServeSettings(jobs=tmp_path, **wrong)


def test_a_large_body_is_refused(inferencer, tmp_path):
    with service(inferencer, tmp_path, max_upload=1000) as client:
        assert ask(client, picture((9, 9)), 'ship').status_code == 200
        answer = ask(client, bytes(2000), 'ship')
        assert (answer.status_code, answer.json()['error'][:36]) == (413, 'the body has more than 1,000 bytes: ')
        # Without a length it is counted.
        form = {'Content-Type': 'multipart/form-data; boundary=x'}
        chunks = (part for part in [b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n', *[bytes(300)] * 9])
        assert client.post('/segment', content=chunks, headers=form).status_code == 413
        for length in ('-5', '9' * 5000, '\u00b2'.encode('latin-1')):
            assert client.get('/health', headers={'Content-Length': length}).status_code == 413


def test_a_slow_body_is_refused(inferencer, tmp_path, monkeypatch):
    monkeypatch.setattr(front, 'PATIENCE', 0.05)

    start = [b'--x\r\nContent-Disposition: form-data; name="expression"\r\n\r\n']

    async def drip():
        await asyncio.sleep(0.02)
        return {'type': 'http.request', 'body': start.pop() if start else b'a', 'more_body': True}

    async def slow(app):
        sent = []
        headers = [(b'host', b'127.0.0.1'), (b'content-type', b'multipart/form-data; boundary=x')]
        scope = dict(type='http', method='POST', path='/segment', headers=headers, query_string=b'', root_path='')
        scope |= dict(http_version='1.1', scheme='http', raw_path=b'/segment')

        async def send(message):
            sent.append(message)

        await asyncio.wait_for(app(scope, drip, send), 5)
        return sent

    with service(inferencer, tmp_path) as client:
        sent = client.portal.call(slow, client.app)
    assert sent[0]['status'] == 408
    assert b'too slowly' in sent[1]['body']


def test_the_door_lets_nothing_through_that_it_refuses():
    async def never(scope, receive, send):
        raise AssertionError

    sent = []

    async def send(message):
        sent.append(message)

    door = FrontDoor(never, ServeSettings(jobs=None, token=TOKEN))
    asyncio.run(door(dict(type='http', path='/scenes', headers=[(b'host', b'localhost')]), None, send))
    assert sent[0]['status'] == 401


@pytest.fixture
def tree(tmp_path, scenes):
    """A folder to serve, beside one with a secret, with links from one to the other."""
    (root := tmp_path / 'root').mkdir()
    (tmp_path / 'root-and-more').mkdir()
    content = (scenes / 'scene.tif').read_bytes()
    for place in (root / 'scene.tif', tmp_path / 'secret.tif', tmp_path / 'root-and-more/secret.tif'):
        place.write_bytes(content)
    (root / 'link.tif').symlink_to(tmp_path / 'secret.tif')
    (root / 'folder').symlink_to(tmp_path)
    (root / 'inside.tif').symlink_to(root / 'scene.tif')
    os.mkfifo(root / 'pipe.tif')
    secret = (
        f'<VRTDataset rasterXSize="9" rasterYSize="9"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        f'<SourceFilename>{tmp_path}/secret.tif</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>'
    )
    for name in ('evil.vrt', 'evil.tif', 'evil.xml', 'evil.png'):
        (root / name).write_text(secret)
    return root


@pytest.mark.parametrize(
    'given',
    [
        '../secret.tif', 'folder/secret.tif', 'link.tif', '../root-and-more/secret.tif',
        'folder/root-and-more/secret.tif', '../../../../../../etc/passwd', '../nothing.tif', 'a\0b',
    ],
)  # fmt: skip
def test_paths_that_leave_the_folder_are_refused_whether_they_are_there_or_not(tree, given):
    with pytest.raises(ForbiddenPathError):
        allowed_scene(given, [tree])
    with pytest.raises(ForbiddenPathError):
        allowed_scene(f'{tree}/{given}', [tree])


def test_paths_below_the_folder(tree):
    with pytest.raises(ForbiddenPathError):
        allowed_scene('/etc/passwd', [tree])
    for given in ('scene.tif', 'inside.tif', f'{tree}/scene.tif', './folder/root/scene.tif'):
        source = allowed_scene(given, [tree.parent / 'root-and-more', tree])
        assert source.name == str(tree / 'scene.tif')
        assert source.given == given
    with pytest.raises(ForbiddenPathError, match='reads no paths'):
        allowed_scene('scene.tif', [])


@pytest.mark.parametrize(
    ('given', 'status'),
    [
        ('evil.vrt', 422), ('evil.tif', 422), ('evil.xml', 422), ('evil.png', 422), ('pipe.tif', 422), ('', 422),
        ('.', 422), ('nothing.tif', 422), ('link.tif', 403), ('/vsicurl/http://127.0.0.1:9/a.tif', 403),
        ('http://127.0.0.1:9/a.tif', 422), ('NETCDF:/etc/passwd:x', 422), ('/vsizip//etc/passwd', 403),
        ('GTIFF_DIR:1:scene.tif', 422), ('<VRTDataset/>', 422), ('scene.tif?x', 422),
        ('x' * 4000, 422), ('file:///etc/passwd', 422),
    ],
)  # fmt: skip
def test_no_virtual_raster_address_or_prefix_reads_another_file(inferencer, tmp_path, tree, given, status):
    with service(inferencer, tmp_path / 'work', roots=(tree,)) as client:
        answer = client.post('/scenes', data={'path': given, 'expression': 'ship'})
        assert answer.status_code == status, answer.text
        assert 'secret' not in answer.json()['error']
        assert client.get('/scenes').json() == {'jobs': []}


def test_a_virtual_raster_that_is_sent_is_refused(client, tree):
    for name in ('evil.vrt', 'evil.tif'):
        files = {'scene': (name, (tree / name).read_bytes())}
        answer = client.post('/scenes', files=files, data={'expression': 'ship'})
        assert answer.status_code == 422
        assert answer.json()['error'].startswith(f'{name} cannot be read as a raster')
    assert not list(client.service.jobs.store.folder.glob('.new-*'))


def test_a_block_that_would_fill_the_memory_is_refused(client, tmp_path):
    profile = dict(driver='GTiff', count=3, height=20_000, width=20_000, dtype='uint8', SPARSE_OK=True)
    with rasterio.open(tmp_path / 'a.tif', 'w', tiled=True, blockxsize=20_000, blockysize=20_000, **profile):
        pass
    content = (tmp_path / 'a.tif').read_bytes()
    answer = client.post('/scenes', files={'scene': ('a.tif', content)}, data={'expression': 'ship'})
    assert answer.status_code == 422
    assert answer.json()['error'].startswith('a.tif is stored in blocks of 20,000 x 20,000 pixels')


def test_a_link_that_was_changed_after_the_job_was_made_is_not_followed(inferencer, tmp_path, tree):
    with service(inferencer, tmp_path / 'work', roots=(tree,)) as client:
        client.service.jobs.add('inside.tif', _options(), None)
        (tree / 'inside.tif').unlink()
        (tree / 'inside.tif').symlink_to(tmp_path / 'secret.tif')
        job_id = client.service.jobs.add('inside.tif', _options(), None).id
        job = ended(client, job_id)
    assert job['state'] == 'failed'
    assert 'not below a folder' in job['error']


def _options():
    from rs2sam2.serve.schemas import SceneOptions

    return SceneOptions(expression='ship')


def test_the_container_starts_a_command_that_there_is():
    lines = (ROOT / 'Dockerfile').read_text().splitlines()
    words = [
        word for line in lines if line.startswith(('ENTRYPOINT', 'CMD')) for word in json.loads(line.split(' ', 1)[1])
    ]
    command = typer.main.get_command(app).commands[words[1]]
    params = command.make_context('serve', words[2:]).params
    assert (params['host'], params['model'], params['root']) == ('0.0.0.0', 'demo', [Path('/scenes')])
