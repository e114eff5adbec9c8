"""Finds the service, or starts one in the Python that the user named; it ends when QGIS does."""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import secrets
import subprocess
import threading
import time

from .client import Client, ServiceError
from .settings import Settings, load_settings, own_folder

START_SECONDS = 900.0
"""A published model may have to be fetched first."""
LOG = 'service.log'
# QGIS brings a Python, a GDAL and a PROJ of its own: another Python must not find them.
_OF_QGIS = ('PYTHONHOME', 'PYTHONPATH', 'GDAL_DATA', 'GDAL_DRIVER_PATH', 'PROJ_LIB', 'PROJ_DATA', 'QT_PLUGIN_PATH')
# Ends when the pipe to QGIS is closed: by the system, however QGIS ends.
_CODE = """
import os, runpy, signal, sys, threading
from pathlib import Path
from rs2sam2.locks import scratch_folder
def watch():
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
threading.Thread(target=watch, daemon=True).start()
with scratch_folder(Path(sys.argv.pop()), 'jobs-') as folder:
    sys.argv += ['--jobs', str(folder / 'jobs')]
    runpy.run_module('rs2sam2.cli.main', run_name='__main__')
"""
_LONGEST_LOG = 1_000_000


class NotSetUpError(Exception):
    """The user has not said yet where the model runs, or that does not work; the text says what to do."""


class _Own:
    """The service that this QGIS started."""

    process: subprocess.Popen | None = None
    client: Client | None = None
    settings: Settings | None = None
    starting = threading.Lock()


def find_service(tell=print, cancelled=lambda: False) -> tuple[Client, bool]:
    """A service that answers, started where there is none.

    Args:
        tell: is called with lines for the user.
        cancelled: whether the user has had enough of waiting.

    Returns:
        Its client, and whether it reads the files of this machine by their path.

    Raises:
        NotSetUpError: there is none, and none can be started.
    """
    settings = load_settings()
    if settings.address:
        try:
            client = Client(settings.address, settings.token or None)
            client.health()
            client.model()
        except ServiceError as error:
            raise NotSetUpError(f'{error}. Is the service running there, and the token right?') from error
        return client, False
    with _Own.starting:
        if not _runs(settings):
            end_own()
            _start(settings, tell, cancelled)
        return _Own.client, True


def _command(settings: Settings) -> list[str]:
    """The words that begin a command of rs2sam2.

    Raises:
        NotSetUpError: no Python was named.
    """
    if not settings.python:
        raise NotSetUpError(
            'Say once which Python has rs2sam2 (Raster > RS2-SAM2 > Settings ..., or the variable RS2SAM2_PYTHON): '
            'it is bin/python of the environment in which rs2sam2 was installed with its extra [serve]'
        )
    return [settings.python, '-c', _CODE]


def end_own() -> None:
    """End the service that was started here."""
    process, _Own.process, _Own.client = _Own.process, None, None
    if process is None:
        return
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        if process.poll() is None:
            process.kill()
            process.wait()
    process.stdin.close()


atexit.register(end_own)


def _runs(settings: Settings) -> bool:
    if _Own.process is None or _Own.process.poll() is not None or _Own.settings != settings:
        return False
    try:
        return _Own.client.health()['status'] == 'ok'
    except ServiceError:
        return False


def _start(settings: Settings, tell, cancelled) -> None:
    token = secrets.token_hex(32)
    log = own_folder() / LOG
    if log.exists() and log.stat().st_size > _LONGEST_LOG:
        log.unlink()
    # Only who knows the token may name files; the port is one that is free.
    words = ['serve', '--model', settings.model, '--port', '0', '--root', '/', '--grace', '0', str(own_folder())]
    tell(f'Starting the service with {settings.python} and the model {settings.model} (log: {log})')
    environment = {name: value for name, value in os.environ.items() if name not in _OF_QGIS}
    until = time.monotonic() + START_SECONDS
    with log.open('ab+') as sink:
        begin = sink.seek(0, os.SEEK_END)
        try:
            _Own.process = subprocess.Popen(
                [*_command(settings), *words], stdin=subprocess.PIPE, stdout=sink, stderr=sink,
                env={**environment, 'RS2SAM2_TOKEN': token, 'PYTHONUNBUFFERED': '1'},
            )  # fmt: skip
        except OSError as error:
            raise NotSetUpError(f'{settings.python} cannot be run ({error.strerror}): name another Python') from error
        while time.monotonic() < until and not cancelled():
            sink.seek(begin)
            said = sink.read().decode(errors='replace')
            if (client := _answering(said, token)) is not None:
                _Own.client, _Own.settings = client, settings
                return
            if _Own.process.poll() is not None:
                lines = [line for line in said.strip().splitlines() if line.strip()] or ['it said nothing']
                missing = 'No module named' in lines[-1]
                way = ': install it there, or name another Python' if missing else f' (all of it is in {log})'
                raise NotSetUpError(f'The service did not start: {lines[-1]}{way}')
            time.sleep(0.2)
    end_own()
    raise NotSetUpError('The service was not started: cancelled' if cancelled() else f'It took too long; see {log}')


def _answering(said: str, token: str) -> Client | None:
    """The service that takes this token, of those whose start is in the log: another QGIS may write there, too.

    Raises:
        NotSetUpError: it takes other requests than this plugin sends.
    """
    for address in re.findall(r'The service is at (http://\S+)', said):
        client = Client(address, token)
        with contextlib.suppress(ServiceError):
            client.model()
            return _understood(client)
    return None


def _understood(client: Client) -> Client:
    try:
        client.health()
    except ServiceError as error:
        end_own()
        raise NotSetUpError(str(error)) from error
    return client
