"""The polygons that were found, in the format of the output, filtered and simplified."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from qgis.core import QgsFeature, QgsFields, QgsProcessingException, QgsVectorFileWriter, QgsVectorLayer


def write_polygons(found: Path, output: str, least_area: float, tolerance: float, context) -> tuple[int, int]:
    """Write the objects that are large enough; all fields are kept.

    Args:
        found: GeoPackage with a field `area`.
        output: file to write.
        least_area: in the unit of that field.
        tolerance: how far outlines may move, in units of the CRS.
        context: of the algorithm.

    Returns:
        How many were written, of how many.
    """
    layer = QgsVectorLayer(str(found), 'objects', 'ogr')
    if not layer.isValid():
        raise QgsProcessingException(f'{found} cannot be read')
    count = layer.featureCount()
    suffix = os.path.splitext(output)[1].lower()
    if suffix == '.gpkg' and not least_area and not tolerance:
        shutil.copyfile(str(found), output)
        return count, count
    fields = QgsFields()
    for field in layer.fields():
        if field.name() != 'fid' or suffix == '.gpkg':  # a GeoPackage's own number of a feature is no field elsewhere
            fields.append(field)
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.driverName = QgsVectorFileWriter.driverForExtension(suffix)
    options.layerName = 'objects'
    transform = context.transformContext()
    writer = QgsVectorFileWriter.create(output, fields, layer.wkbType(), layer.crs(), transform, options)
    if writer.hasError() != QgsVectorFileWriter.NoError:
        raise QgsProcessingException(f'{output} cannot be written ({writer.errorMessage()})')
    written = 0
    for feature in layer.getFeatures():
        if feature['area'] >= least_area:
            kept = QgsFeature(fields)
            kept.setAttributes([feature[field.name()] for field in fields])
            kept.setGeometry(feature.geometry().simplify(tolerance) if tolerance else feature.geometry())
            writer.addFeature(kept)
            written += 1
    del writer
    return written, count
