"""The client, against services that are none, are of another version, break off or mean harm."""

import json

import pytest

from helpers.http_answers import answering
from rs2sam2.client import API, Client, ServiceError

TOKEN = 'a' * 32


@pytest.mark.parametrize(
    'address',
    ['gpu.example:8000', 'file:///etc/passwd', '', 'http://', 'http://gpu:port', 'http://gp\u00fc:8000', 'ftp://x'],
)
def test_what_is_no_address_is_refused(address):
    with pytest.raises(ServiceError, match='is no address of a service'):
        Client(address)


@pytest.mark.parametrize('token', ['a\nX-Other: b', 'tok\u00ebn'])
def test_what_is_no_token_is_refused(token):
    with pytest.raises(ServiceError, match='copy it anew'):
        Client(token=token)


@pytest.mark.parametrize('body', [b'<html>', b'[1]', b'\xff', b''])
def test_another_server_is_named_as_one(body):
    with answering(body=body) as (address, _), pytest.raises(ServiceError, match='not as rs2sam2 serve does'):
        Client(address).health()


def test_nothing_there_is_one_line():
    with answering() as (address, _):
        pass
    with pytest.raises(ServiceError, match=r'does not answer .*refused'):
        Client(address).health()


def test_a_service_of_another_version_is_told():
    told = json.dumps({'status': 'ok', 'version': '9.0', 'api': API + 1}).encode()
    with (
        answering(body=told) as (address, _),
        pytest.raises(ServiceError, match='takes other requests'),
    ):
        Client(address).health()


def test_the_token_goes_nowhere_else():
    with answering() as (other, came):
        for status in (301, 302, 307):
            there = answering(status, headers={'Location': f'{other}/health'})
            with there as (address, _), pytest.raises(ServiceError, match=rf'answered {status} .*{other}/health'):
                Client(address, TOKEN).health()
    assert came == []


def test_files_are_those_that_were_asked_for_and_lie_in_the_folder(tmp_path):
    files = {'mask': '@other.example/x', '../../evil': '/evil', 'polygons': 'http://other.example/'}
    job = {'id': '0' * 32, 'files': files, 'options': {'polygons': '/../../evil'}}
    with answering(body=b'content') as (address, came):
        saved = Client(address).save(job, tmp_path / 'a')
    assert [path for path, *_ in came] == [f'/scenes/{"0" * 32}/files/{name}' for name in ('mask', 'polygons')]
    assert {path.name for path in saved.values()} == {'mask.tif', 'polygons.gpkg'}
    assert {path.name for path in tmp_path.rglob('*')} == {'a', 'mask.tif', 'polygons.gpkg'}


def test_a_file_that_broke_off_is_no_result(tmp_path):
    job = {'id': '0' * 32, 'files': {'mask': ''}, 'options': {}}
    with answering(body=b'half', headers={'Content-Length': '9'}) as (address, _):
        with pytest.raises(ServiceError, match='broke off'):
            Client(address).save(job, tmp_path)
        with pytest.raises(ServiceError, match='does not answer'):
            Client(address).health()
    assert not (tmp_path / 'mask.tif').exists()


def test_an_answer_that_came_before_the_body_was_sent_is_read(tmp_path):
    (tmp_path / 'large.tif').write_bytes(bytes(60_000_000))
    refusing = answering(413, b'{"error": "the body is too large"}', {'Connection': 'close'}, take=False)
    with refusing as (address, _), pytest.raises(ServiceError, match='the body is too large'):
        Client(address).add_scene('ship', upload=tmp_path / 'large.tif')


def test_a_scene_is_sent_as_it_is(tmp_path):
    (tmp_path / 'a "b".tif').write_bytes(b'\0\r\n--' * 1000)
    with answering() as (address, came):
        Client(address).add_scene('ship', upload=tmp_path / 'a "b".tif', probability=True)
    (_, headers, body), (start, _, rest) = came[0], came[0][2].partition(b'\0\r\n--')
    assert len(body) == int(headers['Content-Length'])
    assert b'name="scene"; filename="a %22b%22.tif"' in start
    assert b'name="probability"\r\n\r\ntrue' in start
    assert rest.startswith(b'\0\r\n--' * 999 + b'\r\n--')


@pytest.mark.parametrize('after', ['Thu, 26 Nov 2026 06:00:00 GMT', 'nan', '-1', None])
def test_a_busy_service_that_does_not_say_when_is_told(after):
    headers = {} if after is None else {'Retry-After': after}
    with answering(429, b'{"error": "busy"}', headers) as (address, _), pytest.raises(ServiceError, match='busy'):
        Client(address).model()
