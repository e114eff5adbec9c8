"""A scene of any size segmented by a referring expression, into files that a GIS opens."""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from rs2sam2.errors import RefSegError
from rs2sam2.geo.board import Board
from rs2sam2.geo.cleaning import parse_cleaning
from rs2sam2.geo.job import SceneJob, make_job
from rs2sam2.geo.options import BLOCK, SceneOptions
from rs2sam2.geo.predictor import WindowPredictor
from rs2sam2.geo.questions import Scope
from rs2sam2.geo.result import SceneResult
from rs2sam2.geo.run import SceneRun
from rs2sam2.geo.sources import RasterSource
from rs2sam2.geo.units import SceneWorker
from rs2sam2.workers import Workers
from rs2sam2.workers.local import LocalWorker


def segment_scene(
    scene: str | os.PathLike | RasterSource,
    expression: str,
    predictor: WindowPredictor,
    *,
    mask: str | os.PathLike | None = None,
    probability: str | os.PathLike | None = None,
    polygons: str | os.PathLike | None = None,
    candidates: str | os.PathLike | None = None,
    window: int = 1024,
    overlap: float = 0.25,
    gsd: float | None = None,
    bands: Sequence[int] | None = None,
    nodata: float | None = None,
    stretch: tuple[float, float] = (2.0, 98.0),
    scope: Scope = 'auto',
    batch_size: int = 4,
    min_score: float | None = None,
    block: int = BLOCK,
    min_area: str | float | None = None,
    simplify: str | float | None = None,
    aoi: str | os.PathLike | None = None,
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
        polygons: .gpkg, .geojson, .json, .shp or .parquet to write: one polygon an object.
        candidates: the same formats: where meaning decides, every object that was found, its score, and why it was
            taken or not.
        window: side of a window in pixels of the model's grid. A scene that is smaller on both sides is one window
            of its own size, unless `gsd` is given; other windows that reach beyond the scene are black there.
        overlap: 0 to 0.5, the share of a window that its neighbour also sees.
        gsd: metres a pixel that the model is fed; None: the scene's own.
        bands: three band numbers from 1 on, or one; see `SceneReader`.
        nodata: value of pixels without data, in place of the scene's own.
        stretch: percentiles that become 0 and 255 unless the bands are of 8 bits.
        scope: 'window': each window alone; 'scene': the whole scene at reduced resolution says where, windows there
            say the outline; 'meaning': windows are asked what it is, and the words of place, relation and choice are
            decided among the objects of the whole scene; 'auto': 'meaning' where the expression can be split so,
            'scene' for others with words of position or relation, else 'window'.
        batch_size: windows at a time.
        min_score: below this score the mask is left empty.
        block: side of a block in pixels of the model's grid: the unit that is finished or not there. A predictor that
            has an `identity` goes on where a stopped run of the same ended, and does only the missing blocks.
        min_area: polygons that are smaller are left out: pixels, or '50m2' on the ground. The mask keeps them.
        simplify: corners of polygons are left out where the outline moves by about so much: pixels, or '2m'.
        aoi: file of polygons; what is outside is not run and has no data in the outputs.
        progress: whether a bar is shown on stderr, or what is called with the finished share of the windows.

    Raises:
        DataError: the scene cannot be read, or the disk is full.
        ConfigError: an argument does not fit, or an output cannot be written.
        CheckpointError: the model returned no finite numbers.
    """
    options = SceneOptions(
        window, overlap, gsd, bands, nodata, stretch, scope, batch_size, min_score, block,
        parse_cleaning(min_area, simplify), None if aoi is None else os.fspath(aoi),
        bool(getattr(predictor, 'several', False)),
    )  # fmt: skip
    job = make_job(scene, [expression], options, mask, probability, polygons, candidates)
    worker = LocalWorker()
    board = Board(progress is True, progress if callable(progress) else None)
    with closing(worker.start(lambda: SceneWorker(predictor))) as own:
        own.seen = board.window
        return run_one(job, worker, board)[0]


def run_one(job: SceneJob, workers: Workers, board: Board) -> list[SceneResult]:
    """Segments one scene by one or several expressions, in one pass: its windows are read once.

    Args:
        job: scene, expressions and outputs; see `make_job`.
        workers: who works; they are started, with a `SceneWorker` each.
        board: what is shown.

    Returns:
        One result an expression.

    Raises:
        RefSegError: as `segment_scene`.
    """
    ended: list[list[SceneResult] | RefSegError] = []
    begun = time.perf_counter()
    with board:
        SceneRun(workers, board, blocks_beside, lambda index, outcome: ended.append(outcome))([job])
    (outcome,) = ended
    if isinstance(outcome, RefSegError):
        raise outcome
    total = time.perf_counter() - begun
    return [replace(result, seconds={**result.seconds, 'total': total}) for result in outcome]


def blocks_beside(job: SceneJob) -> Path:
    """Where the blocks of a scene lie: beside its first output."""
    output = job.outputs.named()[0]
    return output.parent / f'.rs2sam2-{output.name}.blocks'
