"""Connections that bring nothing, bring it slowly, or do not read: none holds its place."""

import asyncio
import json
from contextlib import asynccontextmanager

import pytest
import uvicorn
from uvicorn.server import ServerState

from rs2sam2.serve import connections
from rs2sam2.serve.connections import Connection

GET = b'GET / HTTP/1.1\r\nHost: x\r\n\r\n'
LARGE = bytes(20_000_000)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(connections, 'PATIENCE', 0.15)


async def answering(scope, receive, send):
    """Answers each path in its way."""
    while (await receive())['more_body']:
        pass
    if scope['path'] == '/long':
        await asyncio.sleep(0.4)
    body = LARGE if scope['path'] == '/large' else b'ok'
    headers = [(b'content-length', str(len(body)).encode())]
    await send({'type': 'http.response.start', 'status': 200, 'headers': headers})
    await send({'type': 'http.response.body', 'body': body})


@asynccontextmanager
async def listening():
    """A server; its state, and what opens a connection to it."""
    config = uvicorn.Config(answering, http=Connection, ws='none', lifespan='off', log_config=None)
    config.load()
    state, loop = ServerState(), asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(config, state, {}), '127.0.0.1', 0)
    port, writers = server.sockets[0].getsockname()[1], []

    async def connect(sent=b''):
        reader, writer = await asyncio.open_connection('127.0.0.1', port)
        writers.append(writer)
        writer.write(sent)
        return reader, writer

    yield state, connect
    for writer in writers:
        writer.transport.abort()
    server.close()


def run(test):
    async def within():
        async with listening() as (state, connect):
            await asyncio.wait_for(test(state, connect), 10)

    asyncio.run(within())


async def drip(writer, text):
    for i in range(1000):
        if writer.is_closing():
            return
        writer.write(text[i % len(text) :][:1])
        await asyncio.sleep(0.02)


def parted(answer):
    head, _, body = answer.partition(b'\r\n\r\n')
    return int(head.split()[1]), json.loads(body)


def test_slow_headers_are_refused():
    async def test(state, connect):
        reader, writer = await connect(GET[:-2])
        dripping = asyncio.ensure_future(drip(writer, b'x: y\r\n'))
        status, body = parted(await reader.readuntil(b'}'))
        assert status == 408
        assert body == {'error': 'the headers came too slowly; send them in one go'}
        dripping.cancel()

    run(test)


@pytest.mark.parametrize('sent', [b'', GET])
def test_who_says_nothing_is_not_waited_for(sent):
    async def test(state, connect):
        reader, _ = await connect(sent)
        assert (await reader.read()).endswith(b'ok' if sent else b'')
        assert not state.connections

    run(test)


def test_slow_headers_after_an_answer_are_refused():
    async def test(state, connect):
        reader, writer = await connect(GET)
        dripping = asyncio.ensure_future(drip(writer, GET[:-2] + b'x: y\r\n' * 99))
        assert b' 408 ' in await reader.readuntil(b'}')
        dripping.cancel()

    run(test)


def test_what_is_answered_late_is_waited_for():
    async def test(state, connect):
        reader, _ = await connect(GET.replace(b'/ ', b'/long '))
        assert (await reader.read()).endswith(b'ok')

    run(test)


def test_who_does_not_read_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(connections, 'SLOWEST', 1e9)

    async def test(state, connect):
        _, writer = await connect(GET.replace(b'/ ', b'/large '))
        writer.transport.pause_reading()
        await asyncio.sleep(0.1)
        assert state.connections
        while state.connections:
            await asyncio.sleep(0.02)

    run(test)


def test_a_slow_reader_has_the_time_that_the_size_needs(monkeypatch):
    monkeypatch.setattr(connections, 'SLOWEST', len(LARGE) / 2)

    async def test(state, connect):
        reader, writer = await connect(GET.replace(b'/ ', b'/large '))
        writer.transport.pause_reading()
        await asyncio.sleep(0.5)
        writer.transport.resume_reading()
        assert len((await reader.read()).partition(b'\r\n\r\n')[2]) == len(LARGE)

    run(test)


def test_a_new_connection_takes_the_place_of_one_that_asks_nothing(monkeypatch):
    monkeypatch.setattr(connections, 'MOST', 2)

    async def test(state, connect):
        (silent, _), (busy, _) = await connect(), await connect(GET.replace(b'/ ', b'/long '))
        await asyncio.sleep(0.05)
        reader, _ = await connect(GET.replace(b'/ ', b'/long '))
        assert await silent.read() == b''
        await asyncio.sleep(0.05)
        refused, _ = await connect()
        status, body = parted(await refused.read())
        assert status == 503
        assert body == {'error': '2 requests are under way already: try again later'}
        for answer in (busy, reader):
            assert (await answer.read()).endswith(b'ok')

    run(test)


def test_what_is_no_http_is_refused_in_json():
    async def test(state, connect):
        reader, _ = await connect(b'\x16\x03\x01 no HTTP\r\n\r\n')
        status, body = parted(await reader.read())
        assert (status, body) == (400, {'error': 'Invalid HTTP request received.'})

    run(test)
