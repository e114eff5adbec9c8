"""The dialog in which the user says once where the model runs."""

from __future__ import annotations

from qgis.gui import QgsFileWidget
from qgis.PyQt.QtWidgets import QDialog, QDialogButtonBox, QFormLayout, QLabel, QLineEdit

from .settings import Settings, load_settings, save_settings

_TEXT = (
    'The model runs in a Python of its own, outside QGIS: install rs2sam2 in a virtual environment as its README says, '
    'with the extra <code>[serve]</code>.<br>'
    "Then name that environment's <code>bin/python</code> here; or the address of a service that runs already."
)


class SettingsDialog(QDialog):
    """Python and model, or address and token."""

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        self.setWindowTitle('RS2-SAM2: where the model runs')
        self.setMinimumWidth(560)
        known = load_settings()
        self.python = QgsFileWidget(self)
        self.python.setFilePath(known.python)
        self.python.setDialogTitle('The Python that has rs2sam2')
        self.model = QLineEdit(known.model, self)
        self.model.setPlaceholderText('rs2sam2_rrsisd, demo, a work dir or a bundle')
        self.address = QLineEdit(known.address, self)
        self.address.setPlaceholderText('empty: a service is started on this machine')
        self.token = QLineEdit(known.token, self)
        self.token.setEchoMode(QLineEdit.EchoMode.Password)
        text = QLabel(_TEXT, self)
        text.setWordWrap(True)
        form = QFormLayout(self)
        form.addRow(text)
        for label, widget in (
            ('Python', self.python),
            ('Model', self.model),
            ('Address of a service', self.address),
            ('Its token', self.token),
        ):
            form.addRow(label, widget)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel, self)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        form.addRow(buttons)

    def accept(self) -> None:
        """Keep what was said."""
        save_settings(
            Settings(
                self.python.filePath().strip(),
                self.model.text().strip() or Settings().model,
                self.address.text().strip(),
                self.token.text().strip(),
            )
        )
        super().accept()
