"""From blended log-odds on the model's grid to mask, probability and polygons on the scene's own grid."""

import contextlib
import math
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import rasterio
from PIL import Image
from rasterio.errors import NotGeoreferencedWarning
from scipy.special import expit

from rs2sam2.geo.blocks import BlendedLogOdds
from rs2sam2.geo.clock import StageClock
from rs2sam2.geo.coarse import CoarseMap
from rs2sam2.geo.meaning import ChosenObjects
from rs2sam2.geo.outputs import StagedFiles
from rs2sam2.geo.polygons import PolygonTracer, TracedObject
from rs2sam2.geo.rasters import COG_CACHE, NODATA, PROBABILITY_STEPS, quantise, write_cog
from rs2sam2.geo.reader import SceneReader
from rs2sam2.geo.storage import DiskRaster
from rs2sam2.geo.vectors import PolygonFile

_TILE = 1024


class SceneExport:
    """Writes what an expression means in one scene, tile by tile.

    Args:
        reader: of the scene.
        blended: log-odds on the model's grid.
        coarse: what the whole scene said, or None.
        expression: what was segmented.
        tags: written into the rasters.
        files: where they are staged.
        mask: final path, or None.
        probability: final path, or None.
        polygons: where objects go, or None.
        clock: counts 'mask', 'polygons' and 'cog'.

    Attributes:
        objects: how many polygons were written; None when none were asked for.
        foreground_pixels: of the mask.
        valid_pixels: of the scene.
    """

    def __init__(
        self,
        reader: SceneReader,
        blended: BlendedLogOdds,
        coarse: CoarseMap | ChosenObjects | None,
        expression: str,
        tags: dict[str, str],
        files: StagedFiles,
        mask: Path | None,
        probability: Path | None,
        polygons: PolygonFile | None,
        clock: StageClock,
    ) -> None:
        self._reader, self._blended, self._coarse, self._clock = reader, blended, coarse, clock
        self._files, self._expression, self._tags = files, expression, tags
        self._paths = {name: path for name, path in (('mask', mask), ('probability', probability)) if path is not None}
        self._rasters: dict[str, DiskRaster] = {}
        self._polygons = polygons
        self._tracer = None if polygons is None else PolygonTracer(reader.shape[1])
        self.objects: int | None = None
        self.foreground_pixels = self.valid_pixels = 0

    def run(self, rejected: bool) -> None:
        """Writes everything.

        Args:
            rejected: nothing is foreground, whatever the log-odds are.
        """
        with contextlib.ExitStack() as scratch:
            for name in self._paths:
                raster = DiskRaster(self._files.scratch / f'{name}.bin', *self._reader.shape, np.uint8)
                self._rasters[name] = scratch.enter_context(raster)
            self._write_all(rejected)

    def _write_all(self, rejected: bool) -> None:
        found = 0
        for traced in self._trace(rejected):
            if self._polygons is not None:
                self._polygons.add(self._expression, traced)
                found += 1
        self.objects = None if self._polygons is None else found
        # The size of GDAL's cache and Python's warnings are the same for all threads.
        with self._clock('cog'), rasterio.Env(GDAL_CACHEMAX=COG_CACHE), warnings.catch_warnings():
            warnings.simplefilter('ignore', NotGeoreferencedWarning)  # the notes say so
            with ThreadPoolExecutor(2, 'scene-cog') as threads:
                for _ in threads.map(self._write_cog, self._rasters):
                    pass

    def _write_cog(self, name: str) -> None:
        scale, averaged = (1.0, False) if name == 'mask' else (1 / PROBABILITY_STEPS, True)
        staged = self._files.staged(self._paths[name])
        write_cog(self._rasters[name], staged, self._reader.crs, self._reader.transform, self._tags, scale, averaged)

    def _trace(self, rejected: bool) -> Iterator[TracedObject]:
        """Fills the rasters, and yields the objects of the mask as they end.

        A thread makes the next tile while objects of the last are traced.
        """
        with ThreadPoolExecutor(1, 'scene-tiles') as thread:
            places = self._places()
            upcoming = thread.submit(self._export_tile, *places[0], rejected)
            for place, following in zip(places, [*places[1:], None], strict=True):
                foreground, probability = upcoming.result()
                if following is not None:
                    upcoming = thread.submit(self._export_tile, *following, rejected)
                if self._tracer is not None:
                    with self._clock('polygons'):
                        self._tracer.add(*place[:2], foreground, probability)
                        if following is None or following[1] == 0:
                            yield from self._tracer.end_row()
        if self._tracer is not None:
            with self._clock('polygons'):
                yield from self._tracer.end()

    def _places(self) -> list[tuple[int, int, int, int]]:
        """(y, x, height, width) of the tiles, row by row."""
        height, width = self._reader.shape
        # A scene resampled to many more pixels is taken in smaller tiles, so that memory stays the same.
        side = max(16, int(_TILE * min(1.0, *self._reader.scale)))
        return [
            (y, x, min(side, height - y), min(side, width - x))
            for y in range(0, height, side)
            for x in range(0, width, side)
        ]

    def _export_tile(self, y: int, x: int, height: int, width: int, rejected: bool) -> tuple[np.ndarray, np.ndarray]:
        """Writes a tile of the rasters; its foreground and probability."""
        with self._clock('mask'):
            log_odds = self._log_odds(y, x, height, width)
            if self._coarse is not None:
                log_odds = self._coarse.gate(log_odds, y, x, self._reader.shape)
            valid = self._reader.valid(y, x, height, width)
            foreground = log_odds > 0 if not rejected else np.zeros(log_odds.shape, bool)
            if valid is not None:
                foreground &= valid
            self.foreground_pixels += int(np.count_nonzero(foreground))
            self.valid_pixels += height * width if valid is None else int(np.count_nonzero(valid))
            probability = expit(log_odds)
            if 'mask' in self._rasters:
                self._write('mask', y, x, foreground.astype(np.uint8), valid)
            if 'probability' in self._rasters:
                self._write('probability', y, x, quantise(probability), valid)
        return foreground, probability

    def _write(self, name: str, y: int, x: int, pixels: np.ndarray, valid: np.ndarray | None) -> None:
        if valid is not None:
            pixels[~valid] = NODATA
        self._rasters[name].write(y, x, pixels)

    def _log_odds(self, y: int, x: int, height: int, width: int) -> np.ndarray:
        """Blended log-odds of a tile of the scene, interpolated linearly where the grids differ."""
        if self._reader.grid_shape == self._reader.shape:
            return self._blended.read(y, x, height, width)
        spans = [
            _source_span(first, count, scale, length)
            for first, count, scale, length in zip(
                (y, x), (height, width), self._reader.scale, self._reader.grid_shape, strict=True
            )
        ]
        (top, rows, upper, lower), (left, columns, west, east) = spans
        source = Image.fromarray(self._blended.read(top, left, rows, columns))
        return np.array(source.resize((width, height), Image.Resampling.BILINEAR, (west, upper, east, lower)))


def _source_span(first: int, count: int, scale: float, length: int) -> tuple[int, int, float, float]:
    """Pixels of the model's grid that an interpolation over pixels of the scene needs along one axis.

    Returns:
        First pixel, number of pixels, and where the scene's pixels begin and end within them.
    """
    begin, end = first / scale, (first + count) / scale
    reach = math.ceil(max(1.0, 1 / scale)) + 1
    start, stop = max(0, math.floor(begin) - reach), min(length, math.ceil(end) + reach)
    return start, stop - start, begin - start, min(end - start, stop - start)
