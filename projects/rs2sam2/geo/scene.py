"""A scene of any size segmented by a referring expression, into files that a GIS opens."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from rs2sam2.geo.blocks import BlockFolder, any_finished, begin_folder, remove_folder
from rs2sam2.geo.cleaning import parse_cleaning
from rs2sam2.geo.clock import StageClock
from rs2sam2.geo.job import SceneJob, ScenePlan, make_job
from rs2sam2.geo.opened import CACHE, OpenedScene
from rs2sam2.geo.options import BLOCK, SceneOptions
from rs2sam2.geo.outputs import require_space, writing_to
from rs2sam2.geo.predictor import WindowPredictor
from rs2sam2.geo.questions import Scope
from rs2sam2.geo.result import SceneResult
from rs2sam2.geo.sources import RasterSource, gdal_env
from rs2sam2.locks import hold_folder, scratch_folder


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
    )  # fmt: skip
    job = make_job(scene, [expression], options, mask, probability, polygons)
    return run_job(job, predictor, progress)[0]


def run_job(
    job: SceneJob, predictor: WindowPredictor, progress: bool | Callable[[float], None] = True
) -> list[SceneResult]:
    """Segments a scene by several expressions in one pass: its windows are read once.

    Args:
        job: scene, expressions and outputs; see `make_job`.
        predictor: the model.
        progress: whether a bar is shown on stderr, or what is called with the finished share of the windows.

    Returns:
        One result an expression.
    """
    job = replace(job, options=replace(job.options, several=bool(getattr(predictor, 'several', False))))
    clock = StageClock()
    begun = time.perf_counter()
    with gdal_env(GDAL_CACHEMAX=CACHE), closing(OpenedScene(job)) as scene, _progress(progress is True) as bar:
        plan = scene.plan(predictor)
        with _block_folder(plan) as folder:
            missing = BlockFolder(folder, scene.blocks, len(scene.questions)).missing()
            require_space(folder.parent, plan.space * len(missing) // plan.blocks)
            total = sum(len(scene.blocks[number].places) for number in missing)
            task = bar.add_task('windows', total=total)

            def seen(count: int) -> None:
                bar.advance(task, count)
                if callable(progress):
                    progress(bar.tasks[task].completed / total)

            for number in missing:
                scene.run_block(number, folder, predictor, clock, seen)
            task = bar.add_task('outputs', total=1.0)
            results = scene.export(folder, predictor, clock, lambda share: bar.update(task, completed=share))
    clock.seconds['total'] = time.perf_counter() - begun
    return [replace(result, seconds=dict(clock.seconds)) for result in results]


@contextmanager
def _block_folder(plan: ScenePlan) -> Iterator[Path]:
    """Where the blocks of a scene lie: beside its first output, and gone when that is there.

    Where the predictor does not say what it is, nobody can go on with its blocks, and they are gone in any case.
    """
    output = plan.job.outputs.named()[0]
    with writing_to(output.parent):
        output.parent.mkdir(parents=True, exist_ok=True)
        if plan.about['model'] is None:
            with scratch_folder(output.parent, '.rs2sam2-', '.partial') as folder:
                yield folder
            return
        folder = output.parent / f'.rs2sam2-{output.name}.blocks'
        folder.mkdir(exist_ok=True)
        with hold_folder(folder, 'name another output'):
            begin_folder(folder, plan.about)
            try:
                yield folder
            except BaseException:
                if not any_finished(folder):
                    remove_folder(folder)
                raise
            remove_folder(folder)


def _progress(shown: bool) -> Progress:
    columns = (TextColumn('{task.description}'), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), disable=not shown)
