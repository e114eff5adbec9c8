"""The algorithm "Segment by expression"."""

from __future__ import annotations

import shutil
from pathlib import Path

from qgis.core import (
    QgsProcessing,
    QgsProcessingAlgorithm,
    QgsProcessingException,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterEnum,
    QgsProcessingParameterExtent,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
    QgsProcessingParameterVectorDestination,
    QgsProcessingUtils,
    QgsProviderRegistry,
)
from qgis.PyQt.QtGui import QIcon

from .client import ServiceError
from .polygons import write_polygons
from .raster import Part, RasterError, as_file
from .service import NotSetUpError, find_service
from .styles import Styled

SCOPES = ('auto', 'window', 'scene', 'meaning')
SCOPE_TEXTS = (
    'by the words',
    'each window by itself',
    'the whole scene, reduced, says where',
    'words of place decide among the objects of the whole scene',
)
HELP = """
<p>Segments what an expression means in a raster layer: <i>the storage tanks</i>, <i>the gray ship on the left</i>,
<i>houses north of the road</i>.</p>
<p><b>Extent</b>: only this part; empty: the whole layer. <b>Scope</b>: "on the left" of each window, or of the whole
scene. <b>Least score</b>: below it nothing is found. <b>Least area</b>: smaller polygons are left out, in m².
<b>Simplify</b>: how far outlines may move, in metres; 0 keeps them on the edges of pixels. Without a CRS these two are
in pixels.</p>
<p>The polygons have the fields <code>id</code>, <code>expression</code>, <code>score</code>, <code>area</code>,
<code>area_unit</code> and <code>pixels</code>. The mask holds 1 on what was found, 0 elsewhere, 255 without data.</p>
<p>The model runs in another Python, which you name once in the dock's settings. What it was trained on is in the
log: in pictures of another kind its masks mean little.</p>
"""


class _CancelledError(Exception):
    """The user has had enough."""


class SegmentByExpression(QgsProcessingAlgorithm):
    """A raster layer and a sentence in, a mask and polygons out."""

    INPUT, EXPRESSION, EXTENT, SCOPE = 'INPUT', 'EXPRESSION', 'EXTENT', 'SCOPE'
    MIN_SCORE, MIN_AREA, SIMPLIFY, GSD = 'MIN_SCORE', 'MIN_AREA', 'SIMPLIFY', 'GSD'
    MASK, POLYGONS = 'MASK', 'POLYGONS'

    def createInstance(self) -> SegmentByExpression:
        """A new one, as QGIS wants it for each run."""
        return SegmentByExpression()

    def name(self) -> str:
        """Second part of its id."""
        return 'segmentbyexpression'

    def displayName(self) -> str:
        """As the toolbox shows it."""
        return 'Segment by expression'

    def icon(self) -> QIcon:
        """As the toolbox shows it."""
        return QIcon(str(Path(__file__).with_name('icon.svg')))

    def shortHelpString(self) -> str:
        """The help beside the form."""
        return ' '.join(HELP.split())  # QGIS begins a new paragraph where a line ends

    def helpUrl(self) -> str:
        """The page that the button Help opens."""
        return Path(__file__).with_name('help.html').as_uri()

    def initAlgorithm(self, configuration=None) -> None:
        """Its parameters."""
        number = QgsProcessingParameterNumber
        gsd = number(
            self.GSD, "Metres a pixel for the model (else the model's own)", number.Double, None, True, 0.001, 1000
        )
        gsd.setFlags(gsd.flags() | QgsProcessingParameterDefinition.FlagAdvanced)
        for parameter in (
            QgsProcessingParameterRasterLayer(self.INPUT, 'Raster layer'),
            QgsProcessingParameterString(self.EXPRESSION, 'What to segment', 'the building'),
            QgsProcessingParameterExtent(self.EXTENT, 'Extent (else the whole layer)', optional=True),
            QgsProcessingParameterEnum(self.SCOPE, 'Scope', SCOPE_TEXTS, defaultValue=0),
            number(self.MIN_SCORE, 'Least score', number.Double, 0, False, 0, 1),
            number(self.MIN_AREA, 'Least area of a polygon (m²)', number.Double, 0, False, 0),
            number(self.SIMPLIFY, 'Simplify outlines by (m)', number.Double, 0, False, 0),
            gsd,
            QgsProcessingParameterVectorDestination(
                self.POLYGONS, 'Polygons', QgsProcessing.TypeVectorPolygon, optional=True
            ),
            QgsProcessingParameterRasterDestination(self.MASK, 'Mask', optional=True, createByDefault=False),
        ):
            self.addParameter(parameter)

    def prepareAlgorithm(self, parameters, context, feedback) -> bool:
        """Take from the layer what is needed of it: this runs where layers may be touched."""
        layer = self.parameterAsRasterLayer(parameters, self.INPUT, context)
        if layer is None:
            raise QgsProcessingException(self.invalidRasterError(parameters, self.INPUT))
        if layer.providerType() != 'gdal':
            raise QgsProcessingException(
                f'{layer.name()} is a layer of {layer.providerType()}, not a raster that GDAL reads: export it first '
                '(Layer > Save As, rendered image, the extent that you need)'
            )
        source = QgsProviderRegistry.instance().decodeUri('gdal', layer.source()).get('path') or layer.source()
        box = None
        if parameters.get(self.EXTENT):
            extent = self.parameterAsExtent(parameters, self.EXTENT, context, layer.crs())
            if not extent.isNull():
                box = (extent.xMinimum(), extent.yMinimum(), extent.xMaximum(), extent.yMaximum())
        self.part, self.on_ground = Part(source, box), layer.crs().isValid()
        return True

    def processAlgorithm(self, parameters, context, feedback) -> dict:
        """Have the service do it, and fetch what it found."""
        expression = self.parameterAsString(parameters, self.EXPRESSION, context).strip()
        if not expression:
            raise QgsProcessingException('Say what to segment')
        mask = self.parameterAsOutputLayer(parameters, self.MASK, context)
        polygons = self.parameterAsOutputLayer(parameters, self.POLYGONS, context)
        if not mask and not polygons:
            raise QgsProcessingException('Name at least one of mask and polygons')
        options = {'scope': SCOPES[self.parameterAsEnum(parameters, self.SCOPE, context)]}
        if min_score := self.parameterAsDouble(parameters, self.MIN_SCORE, context):
            options['min_score'] = min_score
        for name, unit in ((self.MIN_AREA, 'm2'), (self.SIMPLIFY, 'm')):
            if measure := self.parameterAsDouble(parameters, name, context):
                options[name.lower()] = f'{measure:.9f}'.rstrip('0').rstrip('.') + (unit if self.on_ground else '')
        if parameters.get(self.GSD) is not None:
            options['gsd'] = self.parameterAsDouble(parameters, self.GSD, context)
        folder = Path(QgsProcessingUtils.generateTempFilename('rs2sam2'))
        folder.mkdir(parents=True)
        try:
            files = self._segment(expression, options, folder, feedback)
            if files is None:
                return {}
            results = {}
            if mask:
                shutil.copyfile(files['mask'], mask)
                results[self.MASK] = mask
            if polygons:
                write_polygons(files['polygons'], polygons, context)
                results[self.POLYGONS] = polygons
        finally:
            shutil.rmtree(str(folder), ignore_errors=True)
        for name, path in results.items():
            if context.willLoadLayerOnCompletion(path):
                details = context.layerToLoadOnCompletionDetails(path)
                details.name = expression if name == self.POLYGONS else f'{expression} (mask)'
                details.setPostProcessor(Styled.of('mask' if name == self.MASK else 'polygons', self.on_ground))
        return results

    def _segment(self, expression: str, options: dict, folder: Path, feedback) -> dict[str, Path] | None:
        """The result files of a job, or None where it was cancelled."""

        def progress(share: float) -> None:
            feedback.setProgress(100 * share)
            if feedback.isCanceled():
                raise _CancelledError

        job = None
        try:
            client, by_path = find_service(feedback.pushInfo, feedback.isCanceled)
            scene = as_file(self.part, folder, by_path)
            where = {'path': scene} if by_path else {'upload': scene}
            progress(0)
            job = client.add_scene(expression, **where, **options)
            job = client.wait(job['id'], progress)
            files = client.save(job, folder / 'found')
        except _CancelledError:
            if job is not None:
                client.cancel(job['id'])
            return None
        except NotSetUpError as error:
            if feedback.isCanceled():
                return None
            raise QgsProcessingException(str(error)) from error
        except (ServiceError, RasterError) as error:
            raise QgsProcessingException(str(error)) from error
        client.cancel(job['id'])  # with its files, which are here now
        found = job['result']
        score = '' if found['score'] is None else f', {found["score_kind"]} {found["score"]:.3f}'
        objects = f'{found["objects"]} object{"" if found["objects"] == 1 else "s"}'
        feedback.pushInfo(f'{objects}{score}, scope {found["scope"]}')
        for note in found['notes']:  # which may name the part that was cut out
            feedback.pushInfo(f'Note: {note.replace(scene, Path(self.part.source).name)}')
        if found['trained_on']:
            feedback.pushInfo(
                f'This model was trained on {found["trained_on"]}; on pictures of another kind its masks mean little.'
            )
        return files
