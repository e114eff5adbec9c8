"""The objects of a scene as a file of polygons."""

from collections import Counter
from pathlib import Path

import numpy as np
import shapely
from affine import Affine
from rasterio.crs import CRS

from rs2sam2.geo.cleaning import Cleaner, Cleaning
from rs2sam2.geo.ground import AreaMeter, pixel_size, to_crs
from rs2sam2.geo.polygons import TracedObject
from rs2sam2.geo.vector_formats import open_vector, vector_driver

__all__ = ['FIELDS', 'PolygonFile', 'vector_driver']
FIELDS = ['id', 'expression', 'score', 'area', 'area_unit', 'pixels', 'source', 'model']
_BATCH = 5000


class PolygonFile:
    """A file that objects are added to, with the fields `FIELDS`.

    Args:
        path: of the new file, its suffix says the format.
        crs: of the scene, or None.
        transform: pixel to CRS.
        source: the scene's name, written with every object.
        model: the model's name, written with every object.
        cleaning: what is cleaned before objects are written.
        centre: (column, row) where a pixel of the scene is measured, for lengths on the ground.

    Attributes:
        counts: objects that were written, by expression; whole after `close`.

    Raises:
        ConfigError: the format does not know this CRS, or cleaning names metres where nothing is known of the ground.
    """

    def __init__(
        self,
        path: Path,
        crs: CRS | None,
        transform: Affine,
        source: str = 'unnamed',
        model: str = 'unnamed',
        cleaning: Cleaning | None = None,
        centre: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._file = open_vector(path, crs, FIELDS)
        self._transform, self._texts = transform, (source, model)
        self._meter = AreaMeter(crs, transform)
        pixel = None if crs is None else pixel_size(crs, transform, centre)
        self._cleaner = Cleaner(cleaning or Cleaning(), self._meter, pixel)
        self._objects: list[tuple[str, TracedObject]] = []
        self._written = False

    def add(self, expression: str, traced: TracedObject) -> None:
        """One more object, and the expression that means it."""
        self._objects.append((expression, traced))
        if len(self._objects) >= _BATCH and self._file.batched:
            self._flush()

    def close(self) -> None:
        """Writes what is left; a file without objects has its fields all the same."""
        if self._objects or not self._written:
            self._flush()
        self._file.close(self.counts.total())

    def notes(self) -> list[str]:
        """What cleaning changed."""
        return self._cleaner.done.notes(self._cleaner.cleaning, self._meter.unit)

    def _flush(self) -> None:
        waiting, self._objects = self._objects, []
        traced = [one for _, one in waiting]
        objects, places = self._cleaner.clean(traced, self._outlines(traced))
        expressions = [waiting[place][0] for place in places]
        polygons = self._outlines(objects)
        # A simplified outline covers as many pixels as its area in pixels says, not as many as the mask has.
        sizes = [self._meter.measure(p, o.polygon.area) for p, o in zip(polygons, objects, strict=True)]
        self._cleaner.done.after += sum(sizes)
        first, number = self.counts.total() + 1, len(objects)
        columns = [
            np.arange(first, first + number),
            np.array(expressions, dtype=object),
            np.array([o.score for o in objects], dtype=np.float64),
            np.array(sizes, dtype=np.float64),
            np.array([self._meter.unit] * number, dtype=object),
            np.array([o.pixels for o in objects], dtype=np.int64),
            *(np.array([text] * number, dtype=object) for text in self._texts),
        ]
        self._file.write(shapely.to_wkb(polygons), columns)
        self.counts.update(expressions)
        self._written = True

    def _outlines(self, objects: list[TracedObject]) -> np.ndarray:
        """Outlines in the CRS's coordinates."""
        polygons = np.array([one.polygon for one in objects], dtype=object)
        return shapely.transform(polygons, lambda points: np.column_stack(to_crs(self._transform, *points.T)))
