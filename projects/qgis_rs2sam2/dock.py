"""The dock: type, press Enter, see it."""

from __future__ import annotations

from qgis.core import (
    QgsApplication,
    QgsMapLayerProxyModel,
    QgsProcessingAlgRunnerTask,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputLayerDefinition,
    QgsProcessingUtils,
    QgsProject,
    QgsReferencedRectangle,
)
from qgis.gui import QgsDockWidget, QgsMapLayerComboBox
from qgis.PyQt.QtWidgets import (
    QCheckBox,
    QDoubleSpinBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from .algorithm import SegmentByExpression
from .dialog import SettingsDialog
from .settings import load_settings

TITLE = 'Segment by expression'


class _Feedback(QgsProcessingFeedback):
    """Keeps the lines for the user; errors are shown, too."""

    def __init__(self) -> None:
        super().__init__(False)
        self.lines: list[str] = []

    def pushInfo(self, info: str) -> None:
        self.lines.append(info)
        super().pushInfo(info)

    def reportError(self, error: str, fatalError: bool = False) -> None:
        self.lines.append(error)
        super().reportError(error, fatalError)


class Dock(QgsDockWidget):
    """A layer, a sentence, a button.

    Args:
        iface: QGIS's window, for its map.
    """

    def __init__(self, iface) -> None:
        super().__init__(TITLE, iface.mainWindow())
        self.setObjectName('Rs2Sam2Dock')
        self.iface = iface
        self.task = self.context = self.feedback = None
        self.layer = QgsMapLayerComboBox()
        self.layer.setFilters(QgsMapLayerProxyModel.RasterLayer)
        self.expression = QLineEdit()
        self.expression.setPlaceholderText('the storage tanks north of the road')
        self.expression.setClearButtonEnabled(True)
        self.part = QCheckBox('Only what the map shows')
        self.part.setChecked(True)
        self.mask = QCheckBox('Add the mask, too')
        self.least = QDoubleSpinBox()
        self.least.setRange(0, 1)
        self.least.setSingleStep(0.05)
        self.run = QPushButton('Segment')
        self.run.setDefault(True)
        self.cancel = QPushButton('Cancel')
        self.cancel.setEnabled(False)
        self.bar = QProgressBar()
        self.bar.setVisible(False)
        self.said = QLabel('Say what to segment and press Enter.')
        self.said.setWordWrap(True)
        self.options = QPushButton('Settings ...')
        self._lay_out()
        self.run.clicked.connect(self.segment)
        self.expression.returnPressed.connect(self.segment)
        self.cancel.clicked.connect(self.stop)
        self.options.clicked.connect(self.open_settings)

    def _lay_out(self) -> None:
        form = QFormLayout()
        form.addRow('Layer', self.layer)
        form.addRow('What', self.expression)
        form.addRow('', self.part)
        form.addRow('', self.mask)
        form.addRow('Least score', self.least)
        row = QHBoxLayout()
        for button in (self.run, self.cancel):
            row.addWidget(button)
        row.addStretch()
        row.addWidget(self.options)
        box = QVBoxLayout()
        for part in (form, row):
            box.addLayout(part)
        for widget in (self.bar, self.said):
            box.addWidget(widget)
        box.addStretch()
        inside = QWidget()
        inside.setLayout(box)
        self.setWidget(inside)

    def open_settings(self) -> bool:
        """Ask where the model runs; whether the user said it."""
        return bool(SettingsDialog(self).exec_())

    def segment(self) -> None:
        """Run the algorithm in the background on what the map shows, or on the whole layer."""
        if self.task is not None:
            return
        layer, expression = self.layer.currentLayer(), self.expression.text().strip()
        if layer is None or not expression:
            self.said.setText('Choose a raster layer.' if layer is None else 'Say what to segment.')
            return
        settings = load_settings()
        if not settings.python and not settings.address and not self.open_settings():
            return
        parameters = {
            SegmentByExpression.INPUT: layer,
            SegmentByExpression.EXPRESSION: expression,
            SegmentByExpression.MIN_SCORE: self.least.value(),
            SegmentByExpression.POLYGONS: self._new_layer(),
        }
        if self.mask.isChecked():
            parameters[SegmentByExpression.MASK] = self._new_layer()
        if self.part.isChecked():
            canvas = self.iface.mapCanvas()
            crs = canvas.mapSettings().destinationCrs()
            parameters[SegmentByExpression.EXTENT] = QgsReferencedRectangle(canvas.extent(), crs)
        self.feedback, self.context = _Feedback(), QgsProcessingContext()
        self.context.setProject(QgsProject.instance())
        algorithm = SegmentByExpression().create()
        self.task = QgsProcessingAlgRunnerTask(algorithm, parameters, self.context, self.feedback)
        self.feedback.progressChanged.connect(self._progressed)
        self.task.executed.connect(self._executed)
        self._busy(True)
        self.said.setText('Looking for the service; its first start takes some seconds ...')
        QgsApplication.taskManager().addTask(self.task)

    @staticmethod
    def _new_layer() -> QgsProcessingOutputLayerDefinition:
        return QgsProcessingOutputLayerDefinition('TEMPORARY_OUTPUT', QgsProject.instance())

    def stop(self) -> None:
        """Cancel what runs, before its next windows."""
        if self.feedback is not None:
            self.feedback.cancel()
            self.said.setText('Stopping ...')

    def _progressed(self, percent: float) -> None:
        self.said.setText('Segmenting ...')
        self.bar.setRange(0, 100)
        self.bar.setValue(int(percent))

    def _executed(self, good: bool, results: dict) -> None:
        cancelled = self.feedback.isCanceled()
        if good and results:
            self._add_layers()
        self.said.setText('Cancelled.' if cancelled else '\n'.join(self.feedback.lines[-4:]) or 'It failed.')
        self._busy(False)
        self.task = self.context = None

    def _add_layers(self) -> None:
        """Add the results to the project, the polygons above the mask."""
        details = self.context.layersToLoadOnCompletion()
        for path in sorted(details, key=lambda one: details[one].outputName != SegmentByExpression.MASK):
            layer = QgsProcessingUtils.mapLayerFromString(path, self.context)
            layer = self.context.takeResultLayer(layer.id())
            layer.setName(details[path].name)
            if details[path].postProcessor() is not None:
                details[path].postProcessor().postProcessLayer(layer, self.context, self.feedback)
            QgsProject.instance().addMapLayer(layer)

    def _busy(self, busy: bool) -> None:
        self.run.setEnabled(not busy)
        self.cancel.setEnabled(busy)
        self.bar.setVisible(busy)
        self.bar.setRange(0, 0)
