"""What the user says once: a Python, a model, or the address of a service."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from qgis.core import QgsApplication, QgsSettings

_GROUP = 'rs2sam2'


class Settings(NamedTuple):
    """Where the model runs.

    Attributes:
        python: the Python in which `rs2sam2` is installed.
        model: name of a published model, work dir or bundle, as `rs2sam2 serve --model` takes it.
        address: of a service that runs already, such as http://gpu.example:8000; empty: one is started with `python`.
        token: of that service.
    """

    python: str = ''
    model: str = 'rs2sam2_rrsisd'
    address: str = ''
    token: str = ''


def load_settings() -> Settings:
    """The user's; environment variables such as RS2SAM2_PYTHON come first."""
    store = QgsSettings()
    values = {}
    for name, default in Settings()._asdict().items():
        values[name] = os.environ.get(f'RS2SAM2_{name.upper()}') or store.value(f'{_GROUP}/{name}', default)
    return Settings(**values)


def save_settings(settings: Settings) -> None:
    """Keep them for this user."""
    store = QgsSettings()
    for name, value in settings._asdict().items():
        store.setValue(f'{_GROUP}/{name}', value)


def own_folder() -> Path:
    """Where the plugin keeps the jobs of a service that it starts, and that service's log."""
    folder = Path(QgsApplication.qgisSettingsDirPath()) / 'rs2sam2'
    folder.mkdir(parents=True, exist_ok=True)
    return folder
