"""Shared fixtures."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from mmengine.logging import MMLogger
from mmengine.visualization import Visualizer

from helpers.layout import leave_layout_out
from helpers.paths import SHARED
from helpers.training_site import make_site

leave_layout_out()
# Under nohup, or in a shell's background, these are ignored, and by what the tests start and stop too.
for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, usual)


@pytest.fixture(scope='session')
def shared() -> Path:
    """Folder of real data and parity vectors; skips where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f'no shared data at {SHARED} (set RS2SAM2_SHARED)')
    return SHARED


@pytest.fixture(scope='module')
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to train in (`config.py`, `data/`), one for each test file."""
    return make_site(tmp_path_factory.mktemp('site'))


@pytest.fixture(autouse=True)
def own_names() -> Iterator[None]:
    """Runs of one second share a name, and by it mmengine's logger, whose stream may be closed, and visualizer."""
    yield
    for logger in MMLogger._instance_dict.values():
        for handler in logger.handlers:
            handler.close()
    for kind in (MMLogger, Visualizer, *Visualizer.__subclasses__()):
        kind._instance_dict.clear()
