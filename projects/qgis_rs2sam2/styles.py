"""How results look: outlines and a light fill, so that the image stays to be seen."""

from __future__ import annotations

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsFillSymbol,
    QgsPalettedRasterRenderer,
    QgsProcessingLayerPostProcessorInterface,
    QgsSingleSymbolRenderer,
)
from qgis.PyQt.QtGui import QColor

FOUND = '#06b6d4'


class Styled(QgsProcessingLayerPostProcessorInterface):
    """Styles a layer after it was loaded.

    Args:
        kind: 'mask' or 'polygons'.
        on_ground: whether the layer that was segmented has a CRS.
    """

    # QGIS does not keep them alive.
    _alive: list = []  # noqa: RUF012

    def __init__(self, kind: str, on_ground: bool) -> None:
        super().__init__()
        self.kind, self.on_ground = kind, on_ground

    @classmethod
    def of(cls, kind: str, on_ground: bool) -> Styled:
        """One that lives until the next ones are made."""
        del cls._alive[:-8]
        cls._alive.append(cls(kind, on_ground))
        return cls._alive[-1]

    def postProcessLayer(self, layer, context, feedback) -> None:
        """Set the layer's renderer."""
        if not self.on_ground:  # a GeoPackage says "undefined", which QGIS would take for a CRS that nothing leads to
            layer.setCrs(QgsCoordinateReferenceSystem())
        if self.kind == 'polygons':
            fill = QColor(FOUND)
            fill.setAlpha(70)
            symbol = QgsFillSymbol.createSimple({'outline_color': FOUND, 'outline_width': '0.5'})
            symbol.symbolLayer(0).setFillColor(fill)
            layer.setRenderer(QgsSingleSymbolRenderer(symbol))
        else:
            clear = QColor(0, 0, 0, 0)
            colour = QColor(FOUND)
            colour.setAlpha(120)
            classes = [
                QgsPalettedRasterRenderer.Class(0, clear, 'background'),
                QgsPalettedRasterRenderer.Class(1, colour, 'found'),
            ]
            layer.setRenderer(QgsPalettedRasterRenderer(layer.dataProvider(), 1, classes))
        layer.triggerRepaint()
