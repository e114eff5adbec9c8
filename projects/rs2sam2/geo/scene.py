"""A scene of any size segmented by a referring expression, into files that a GIS opens."""

import math
import os
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Literal

import numpy as np
import rasterio
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from rs2sam2.errors import ConfigError
from rs2sam2.geo.blend import WindowGrid, blend_windows, predict_checked
from rs2sam2.geo.clock import StageClock
from rs2sam2.geo.coarse import CoarseMap
from rs2sam2.geo.export import SceneExport
from rs2sam2.geo.outputs import StagedFiles
from rs2sam2.geo.predictor import WindowPredictor, predictor_tags, score_kind, window_scores
from rs2sam2.geo.reader import SceneReader
from rs2sam2.geo.sources import RasterSource, gdal_env
from rs2sam2.geo.storage import DiskRaster
from rs2sam2.geo.vectors import vector_driver
from rs2sam2.geo.windows import tile_axis
from rs2sam2.text.position import uses_position

_CACHE = 64 * 2**20  # bytes of decoded blocks that GDAL keeps
_STRIP_CACHE = 512 * 2**20  # the most it keeps where rows are stored whole, so that no strip is decoded twice


@dataclass(frozen=True)
class SceneResult:
    """What was done, and where it is.

    Attributes:
        scene: path of the scene.
        expression: what was segmented.
        scope: 'window': each window alone; 'scene': the whole scene said where (or is one window).
        mask: path of the mask raster, or None.
        probability: path of the probability raster, or None.
        polygons: path of the polygons, or None.
        shape: (rows, columns) of the scene.
        grid_shape: (rows, columns) at the model's ground resolution.
        window: (height, width) of a window, in pixels of that grid.
        windows_run: windows that the model saw, without the pass over the whole scene.
        windows_skipped: windows without data, or where the whole scene said that nothing is.
        foreground_pixels: of the mask.
        valid_pixels: pixels of the scene that hold data.
        objects: number of polygons, or None when none were asked for.
        score: 0 to 1: of the whole scene where that decided, else the best window's; None: nothing is foreground.
        score_kind: 'presence' from the model, or 'mean foreground probability' where it has none.
        rejected: the score is below `min_score`, so the mask was left empty.
        seconds: wall-clock by stage. 'read' runs beside the others; 'wait' is what they waited for it.
        notes: what the user should know, one sentence each.
    """

    scene: str
    expression: str
    scope: Literal['scene', 'window']
    mask: Path | None
    probability: Path | None
    polygons: Path | None
    shape: tuple[int, int]
    grid_shape: tuple[int, int]
    window: tuple[int, int]
    windows_run: int
    windows_skipped: int
    foreground_pixels: int
    valid_pixels: int
    objects: int | None
    score: float | None
    score_kind: str
    rejected: bool
    seconds: dict[str, float]
    notes: tuple[str, ...]


def segment_scene(
    scene: str | os.PathLike | RasterSource,
    expression: str,
    predictor: WindowPredictor,
    *,
    mask: str | os.PathLike | None = None,
    probability: str | os.PathLike | None = None,
    polygons: str | os.PathLike | None = None,
    window: int = 1024,
    overlap: float = 0.25,
    gsd: float | None = None,
    bands: Sequence[int] | None = None,
    nodata: float | None = None,
    stretch: tuple[float, float] = (2.0, 98.0),
    scope: Literal['auto', 'scene', 'window'] = 'auto',
    batch_size: int = 4,
    min_score: float | None = None,
    progress: bool | Callable[[float], None] = True,
) -> SceneResult:
    """Segments a raster of any size by overlapping windows, in bounded memory.

    The outputs lie on the scene's own grid, with its CRS and transform, and appear under their names only when all
    of them are whole.

    Args:
        scene: path of the raster, an address or a part of one; see `geo.sources`.
        expression: what to segment.
        predictor: the model.
        mask: COG to write, uint8: 1 foreground, 0 background, 255 no data.
        probability: COG to write, uint8: 254 times the probability (the file's scale says so), 255 no data.
        polygons: .gpkg, .geojson or .json to write: one polygon an object.
        window: side of a window in pixels of the model's grid. A scene that is smaller on both sides is one window
            of its own size, unless `gsd` is given; other windows that reach beyond the scene are black there.
        overlap: 0 to 0.5, the share of a window that its neighbour also sees.
        gsd: metres a pixel that the model is fed; None: the scene's own.
        bands: three band numbers from 1 on, or one; see `SceneReader`.
        nodata: value of pixels without data, in place of the scene's own.
        stretch: percentiles that become 0 and 255 unless the bands are of 8 bits.
        scope: 'window': each window alone; 'scene': the whole scene at reduced resolution says where, windows there
            say the outline; 'auto': 'scene' for expressions with words of position or relation.
        batch_size: windows at a time.
        min_score: below this score the mask is left empty.
        progress: whether a bar is shown on stderr, or what is called with the finished share of the windows.

    Raises:
        DataError: the scene cannot be read, or the disk is full.
        ConfigError: an argument does not fit, or an output cannot be written.
        CheckpointError: the model returned no finite numbers.
    """
    outputs = {'mask': mask, 'probability': probability, 'polygons': polygons}
    paths = {name: Path(path) if path is not None else None for name, path in outputs.items()}
    _check(expression, paths, window, overlap, scope, batch_size, min_score)
    named = [path for path in paths.values() if path is not None]
    clock = StageClock()
    with (
        gdal_env(GDAL_CACHEMAX=_CACHE),
        clock('total'),
        closing(SceneReader(scene, bands, nodata, stretch, gsd)) as reader,
        StagedFiles(named, reader.files) as files,
        _progress(progress is True) as bar,
    ):
        # Rows stored whole are decoded whole: they must stay in the cache until all windows of a row are read.
        rasterio.env.setenv(GDAL_CACHEMAX=min(_STRIP_CACHE, max(_CACHE, reader.bytes_for_rows(window))))
        grid = _plan_windows(reader, window, overlap, padded=gsd is not None)
        one_image = grid.size == reader.grid_shape
        by_scene = one_image or scope == 'scene' or (scope == 'auto' and uses_position(expression))
        coarse = None
        scores: list[float | None] = []
        places = grid.places()
        if by_scene and not one_image:
            with clock('whole scene'):
                whole = predict_checked(predictor, [reader.read_whole(window)], expression)
                scores += window_scores(predictor, whole)
                coarse = CoarseMap(whole[0])
            places = [p for p in places if coarse.touches(*grid.start(p), grid.size, reader.grid_shape)]
        files.require_space(_working_space(reader, grid, len(places)))
        windows_run = 0
        with DiskRaster(files.scratch / 'log_odds.bin', *reader.grid_shape, np.float32) as blended:
            task = bar.add_task('windows', total=len(places))
            for seen, found in blend_windows(reader, grid, places, predictor, expression, batch_size, blended, clock):
                bar.advance(task, seen)
                if callable(progress):
                    progress(bar.tasks[task].completed / len(places))
                windows_run += len(found)
                scores += found if coarse is None else []
            score = max((s for s in scores if s is not None), default=None)
            rejected = min_score is not None and score is not None and score < min_score
            export = SceneExport(reader, blended, coarse, expression, predictor_tags(predictor), files, paths, clock)
            task = bar.add_task('outputs', total=1.0)
            for share in export.run(rejected):
                bar.update(task, completed=share)
    if nodata is not None and not math.isnan(nodata) and not reader.nodata_found:
        reader.notes.append(f'nodata {nodata} was named, and no pixel of {reader.path} has that value')
    if rejected:
        reader.notes.append(f'the score {score:.3f} is below {min_score:g}: the mask is empty')
    return SceneResult(
        scene=reader.path,
        expression=expression,
        scope='scene' if by_scene else 'window',
        **paths,
        shape=reader.shape,
        grid_shape=reader.grid_shape,
        window=grid.size,
        windows_run=windows_run,
        windows_skipped=len(grid.places()) - windows_run,
        foreground_pixels=export.foreground_pixels,
        valid_pixels=export.valid_pixels,
        objects=export.objects,
        score=score,
        score_kind=score_kind(predictor),
        rejected=rejected,
        seconds=dict(clock.seconds),
        notes=tuple(reader.notes),
    )


def _plan_windows(reader: SceneReader, window: int, overlap: float, padded: bool) -> WindowGrid:
    sides = (window, window)
    if not padded and max(reader.grid_shape) <= window:
        sides = reader.grid_shape
    return WindowGrid(*(tile_axis(n, side, overlap) for n, side in zip(reader.grid_shape, sides, strict=True)))


def _working_space(reader: SceneReader, grid: WindowGrid, windows: int) -> int:
    """Bytes on disk while the scene runs: log-odds where windows are run, two rasters of 8 bits, a COG of each."""
    pixels = min(math.prod(reader.grid_shape), windows * math.prod(grid.size))
    return 4 * pixels + 2 * math.prod(reader.shape)


def _progress(shown: bool) -> Progress:
    columns = (TextColumn('{task.description}'), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), disable=not shown)


def _check(
    expression: str,
    outputs: dict[str, Path | None],
    window: int,
    overlap: float,
    scope: str,
    batch_size: int,
    min_score: float | None,
) -> None:
    if not isinstance(expression, str) or not expression.strip():
        what = 'empty' if isinstance(expression, str) else f'{expression!r}, not text'
        raise ConfigError(f'the expression is {what}; say what to segment')
    named = [path for path in outputs.values() if path is not None]
    if not named:
        raise ConfigError('no output is named; give at least one of mask, probability, polygons')
    if outputs['polygons'] is not None:
        vector_driver(outputs['polygons'])
    if len({path.resolve() for path in named}) < len(named):
        raise ConfigError('two outputs are the same file; name different ones')
    if not isinstance(window, Integral) or window < 32:
        raise ConfigError(f'window is {window!r}; give at least 32 pixels')
    if not isinstance(overlap, Real) or not 0 <= overlap <= 0.5:
        raise ConfigError(f'overlap is {overlap!r}; give a share from 0 to 0.5')
    if not isinstance(batch_size, Integral) or batch_size < 1:
        raise ConfigError(f'batch_size is {batch_size!r}; give a whole number from 1 on')
    if min_score is not None and not (isinstance(min_score, Real) and 0 <= min_score <= 1):
        raise ConfigError(f'min_score is {min_score!r}; give a number from 0 to 1')
    if scope not in ('auto', 'scene', 'window'):
        raise ConfigError(f"scope is {scope!r}; give 'auto', 'scene' or 'window'")
