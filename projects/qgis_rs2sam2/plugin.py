"""What QGIS loads: the provider always, the dock where there is a window."""

from __future__ import annotations

from pathlib import Path

from qgis.core import QgsApplication
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtGui import QIcon
from qgis.PyQt.QtWidgets import QAction

from .provider import Provider
from .service import end_own

ICON = str(Path(__file__).with_name('icon.svg'))
MENU = 'RS2-SAM2'


class Plugin:
    """The plugin.

    Args:
        iface: QGIS's window; None in qgis_process.
    """

    def __init__(self, iface) -> None:
        self.iface = iface
        self.provider = self.dock = self.action = self.settings = None

    def initProcessing(self) -> None:
        """Add the provider; all that qgis_process asks for."""
        self.provider = Provider()
        QgsApplication.processingRegistry().addProvider(self.provider)

    def initGui(self) -> None:
        """Add provider, dock and the button that shows it."""
        from .dialog import SettingsDialog
        from .dock import Dock

        self.initProcessing()
        self.dock = Dock(self.iface)
        self.iface.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, self.dock)
        self.dock.hide()
        self.action = QAction(QIcon(ICON), 'Segment by expression', self.iface.mainWindow())
        self.action.setCheckable(True)
        self.dock.setToggleVisibilityAction(self.action)
        self.iface.addToolBarIcon(self.action)
        self.settings = QAction('Settings ...', self.iface.mainWindow())
        self.settings.triggered.connect(lambda: SettingsDialog(self.iface.mainWindow()).exec_())
        for action in (self.action, self.settings):
            self.iface.addPluginToRasterMenu(MENU, action)

    def unload(self) -> None:
        """Take all of it away again, and end the service that was started."""
        if self.provider is not None:
            QgsApplication.processingRegistry().removeProvider(self.provider)
        if self.dock is not None:
            for action in (self.action, self.settings):
                self.iface.removePluginRasterMenu(MENU, action)
            self.iface.removeToolBarIcon(self.action)
            self.iface.removeDockWidget(self.dock)
            self.dock.deleteLater()
        end_own()
