"""The Processing provider."""

from __future__ import annotations

from pathlib import Path

from qgis.core import QgsProcessingProvider
from qgis.PyQt.QtGui import QIcon

from .algorithm import SegmentByExpression


class Provider(QgsProcessingProvider):
    """RS2-SAM2's algorithms."""

    def loadAlgorithms(self) -> None:
        """The one there is."""
        self.addAlgorithm(SegmentByExpression())

    def id(self) -> str:
        """First part of an algorithm's id."""
        return 'rs2sam2'

    def name(self) -> str:
        """As the toolbox shows it."""
        return 'RS2-SAM2'

    def icon(self) -> QIcon:
        """As the toolbox shows it."""
        return QIcon(str(Path(__file__).with_name('icon.svg')))
