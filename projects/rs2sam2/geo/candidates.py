"""Every object that was found where the words' meaning decided, as a file: its score, and why it was taken or not."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import shapely
from affine import Affine
from rasterio.crs import CRS

from rs2sam2.geo.ground import AreaMeter, to_crs
from rs2sam2.geo.meaning import Candidate, Choice
from rs2sam2.geo.vector_formats import open_vector
from rs2sam2.text.reading import Reading

FIELDS = ['id', 'expression', 'part', 'asked', 'taken', 'score', 'why', 'area', 'area_unit', 'pixels', 'source']
FIELDS += ['model']
LAYER = 'candidates'
_BATCH = 5000


class CandidateFile:
    """A file of candidates, with the fields `FIELDS`.

    Args:
        path: of the new file, its suffix says the format.
        crs: of the scene, or None.
        transform: pixel of the scene to CRS.
        scale: (rows, columns) pixels of the scene that a pixel of the model's grid spans.
        source: the scene's name, written with every object.
        model: the model's name, written with every object.

    Raises:
        ConfigError: the format does not know this CRS.
    """

    def __init__(
        self, path: Path, crs: CRS | None, transform: Affine, scale: tuple[float, float], source: str, model: str
    ) -> None:
        self._file = open_vector(path, crs, FIELDS, LAYER)
        self._transform, self._scale, self._texts = transform, scale, (source, model)
        self._meter = AreaMeter(crs, transform)
        self._rows: list[tuple[str, str, str, Candidate]] = []

    def add(self, expression: str, reading: Reading, choice: Choice) -> None:
        """The objects that an expression was decided among: those for what it is, and those for its landmark."""
        self._rows += [(expression, 'target', reading.target.asked, one) for one in choice.candidates]
        if reading.landmark is not None:
            self._rows += [(expression, 'landmark', reading.landmark.asked, one) for one in choice.landmarks]

    def close(self) -> None:
        """Writes the file; without candidates it has its fields all the same."""
        count = len(self._rows)
        step = _BATCH if self._file.batched else max(1, count)
        for first in range(0, max(1, count), step):
            self._write(first, self._rows[first : first + step])
        self._file.close(count)

    def _write(self, first: int, rows: Sequence[tuple[str, str, str, Candidate]]) -> None:
        objects = [one for *_, one in rows]
        polygons = shapely.transform(
            np.array([one.polygon for one in objects], dtype=object),
            lambda xy: np.column_stack(to_crs(self._transform, *(xy * self._scale[::-1]).T)),
        )
        pixels = [one.pixels * self._scale[0] * self._scale[1] for one in objects]
        columns = [
            np.arange(first + 1, first + len(rows) + 1),
            *(np.array([row[place] for row in rows], dtype=object) for place in range(3)),
            np.array([one.taken for one in objects], dtype=np.int32),
            np.array([one.score for one in objects], dtype=np.float64),
            np.array([one.why for one in objects], dtype=object),
            np.array([self._meter.measure(*pair) for pair in zip(polygons, pixels, strict=True)], dtype=np.float64),
            np.array([self._meter.unit] * len(rows), dtype=object),
            np.round(pixels).astype(np.int64),
            *(np.array([text] * len(rows), dtype=object) for text in self._texts),
        ]
        self._file.write(shapely.to_wkb(polygons), columns)
