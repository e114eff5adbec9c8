"""The polygons that were found, in the format of the output."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from qgis.core import QgsProcessingException, QgsVectorFileWriter, QgsVectorLayer


def write_polygons(found: Path, output: str, context) -> None:
    """Write them to a file; all fields are kept.

    Args:
        found: GeoPackage.
        output: file to write.
        context: of the algorithm.
    """
    suffix = os.path.splitext(output)[1].lower()
    if suffix == '.gpkg':
        shutil.copyfile(str(found), output)
        return
    layer = QgsVectorLayer(str(found), 'objects', 'ogr')
    if not layer.isValid():
        raise QgsProcessingException(f'{found} cannot be read')
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.driverName = QgsVectorFileWriter.driverForExtension(suffix)
    # A GeoPackage's own number of a feature is no field elsewhere.
    options.attributes = [i for i, field in enumerate(layer.fields()) if field.name() != 'fid']
    written = QgsVectorFileWriter.writeAsVectorFormatV3(layer, output, context.transformContext(), options)
    if written[0] != QgsVectorFileWriter.NoError:
        raise QgsProcessingException(f'{output} cannot be written ({written[1]})')
