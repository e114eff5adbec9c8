"""Shared fixtures."""

from pathlib import Path

import pytest

from helpers.paths import SHARED


@pytest.fixture(scope='session')
def shared() -> Path:
    """Folder of real data and parity vectors; skips where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f'no shared data at {SHARED} (set RS2SAM2_SHARED)')
    return SHARED
