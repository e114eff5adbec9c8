"""Whom the page answers."""

import asyncio

import pytest

from rs2sam2.serve.guard import LoopbackOnly


async def _echo(scope, receive, send):
    await send({'type': 'http.response.start', 'status': 200, 'headers': []})


def _status(*headers, kind='http'):
    """Status of a request with these headers; for a websocket the close code, None where it is let through."""
    sent = []

    async def send(message):
        sent.append(message)

    scope = {'type': kind, 'headers': [(name.encode(), value.encode()) for name, value in headers]}
    asyncio.run(LoopbackOnly(_echo)(scope, None, send))
    return sent[0].get('status', sent[0].get('code'))


@pytest.mark.parametrize('host', ['127.0.0.1:7860', 'localhost:7860', 'LOCALHOST:7860', 'localhost', '127.0.0.1'])
def test_loopback_names_are_answered(host):
    assert _status(('host', host)) == 200
    # The page's own requests, also through a tunnel that ends at another port.
    assert _status(('host', host), ('origin', f'http://{host}')) == 200


@pytest.mark.parametrize(
    'host',
    [
        'evil.example:7860',
        '127.0.0.1.evil.example',
        'localhost.evil.example:7860',
        'evil.example@127.0.0.1',
        '127.0.0.1@evil.example',
        '192.168.0.7:7860',
        '0.0.0.0:7860',
        '127.0.0.1/evil.example',
        '127.0.0.1:80:80',
        '127.0.0.1:x',
        '[::1',
        '',
    ],
)
def test_foreign_hosts_are_not_answered(host):
    assert _status(('host', host)) == 403
    assert _status(('host', host), kind='websocket') == 1008


@pytest.mark.parametrize(
    'origin', ['http://evil.example', 'null', 'https://localhost:7860', 'http://localhost:9000', 'http://127.0.0.1']
)
def test_other_pages_are_not_answered(origin):
    assert _status(('host', 'localhost:7860'), ('origin', origin)) == 403


def test_no_host_or_several_are_not_answered():
    assert _status() == 403
    assert _status(('host', 'localhost'), ('host', 'evil.example')) == 403
    assert _status(('host', 'localhost'), ('origin', 'http://localhost'), ('origin', 'null')) == 403
