"""A scene as every process that works on it sees it: planned once, run block by block, exported at the end."""

import math
import os
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import rasterio

from rs2sam2.geo.blend import Blend, blend_windows, predict_checked
from rs2sam2.geo.blocks import BlockFolder, Finding, cut_blocks
from rs2sam2.geo.clock import StageClock
from rs2sam2.geo.coarse import CoarseMap
from rs2sam2.geo.export import SceneExport
from rs2sam2.geo.job import SceneJob, ScenePlan
from rs2sam2.geo.outputs import StagedFiles, check_places
from rs2sam2.geo.predictor import WindowPredictor, predictor_identity, predictor_tags, score_kind, window_scores
from rs2sam2.geo.questions import ask
from rs2sam2.geo.reader import SceneReader
from rs2sam2.geo.result import SceneResult
from rs2sam2.geo.vectors import PolygonFile
from rs2sam2.geo.windows import WindowGrid, tile_axis

CACHE = 64 * 2**20  # bytes of decoded blocks that GDAL keeps
_STRIP_CACHE = 512 * 2**20  # the most it keeps where rows are stored whole, so that no strip is decoded twice


class OpenedScene:
    """A scene with its windows, its blocks and what is asked of them; within `gdal_env`.

    Args:
        job: what is to be done.
        plan: what another process settled; None opens it for the first time.

    Attributes:
        questions: one an expression.
        blocks: of the scene.

    Raises:
        DataError: the scene cannot be read.
        ConfigError: an option does not fit it.
    """

    def __init__(self, job: SceneJob, plan: ScenePlan | None = None) -> None:
        options = job.options
        self.job, self._options = job, options
        self._reader = SceneReader(
            job.scene, options.bands, options.nodata, options.stretch, options.gsd, plan.ends if plan else None
        )
        if plan is not None:
            self._reader.notes[:] = plan.notes
        # Rows stored whole are decoded whole: they must stay in the cache until all windows of a row are read.
        cache = min(_STRIP_CACHE, max(CACHE, self._reader.bytes_for_rows(options.window)))
        rasterio.env.setenv(GDAL_CACHEMAX=cache)
        self._grid = _plan_windows(self._reader, options.window, options.overlap, padded=options.gsd is not None)
        one_image = self._grid.size == self._reader.grid_shape
        asked = [ask(expression, options.scope, one_image) for expression in job.expressions]
        self.questions, self._scopes = zip(*asked, strict=True)
        self.blocks = cut_blocks(self._grid, options.block, self._reader.grid_shape)

    def plan(self, predictor: WindowPredictor) -> ScenePlan:
        """What all processes must go by.

        Raises:
            ConfigError: an output is a file of the scene, or no regular file.
        """
        reader, outputs = self._reader, self.job.outputs
        check_places(outputs.named(), reader.files)
        if outputs.polygons is not None:
            PolygonFile(outputs.polygons, reader.crs, reader.transform)  # says whether the format knows the CRS
        rasters = len(outputs.masks or ()) + len(outputs.probabilities or ())
        pixels = sum(block.height * block.width for block in self.blocks)
        about = {
            'scene': _facts(reader),
            'expressions': self.job.expressions,
            'options': vars(self._options),
            'model': predictor_identity(predictor),
            'rs2sam2': version('rs2sam2'),
        }
        windows = len(self._grid.places())
        # Where the whole scene says where, most windows are not run, and files are empty where nothing was written.
        sums = sum(not question.whole for question in self.questions)
        space = 4 * sums * pixels + 2 * min(rasters, 2) * math.prod(reader.shape)
        return ScenePlan(self.job, reader.ends, tuple(reader.notes), len(self.blocks), windows, space, about)

    def run_block(
        self, number: int, folder: Path, predictor: WindowPredictor, clock: StageClock, seen: Callable[[int], object]
    ) -> None:
        """Runs the windows of a block, and leaves it finished in the folder.

        Args:
            number: of the block.
            folder: where blocks are.
            predictor: the model.
            clock: counts stages.
            seen: is called with the number of windows that were dealt with.
        """
        block, files = self.blocks[number], self._files(folder)
        regions = [self._whole(index, files, predictor, clock)[0] for index in range(len(self.questions))]
        with files.sums(block) as sums:
            blends = []
            for index, (question, region) in enumerate(zip(self.questions, regions, strict=True)):
                places = {place for place in block.places if region is None or self._meets(region, place)}
                blends.append(Blend(question.text, places, sums, index * block.height - block.y, -block.x))
            for count in blend_windows(self._reader, self._grid, blends, predictor, self._options.batch_size, clock):
                seen(count)
        files.finish(block, [_finding(blend, predictor) for blend in blends])

    def export(
        self, folder: Path, predictor: WindowPredictor, clock: StageClock, tick: Callable[[float], object]
    ) -> list[SceneResult]:
        """Writes the outputs from finished blocks.

        Args:
            folder: where blocks are.
            predictor: the model.
            clock: counts stages.
            tick: is called with the finished share.
        """
        files, outputs = self._files(folder), self.job.outputs
        results = []
        with StagedFiles(outputs.named()) as staged:
            polygons = None
            if outputs.polygons is not None:
                polygons = PolygonFile(staged.staged(outputs.polygons), self._reader.crs, self._reader.transform)
            for index, found in enumerate(files.findings()):
                region, whole = self._whole(index, files, predictor, clock)
                found = Finding(found.windows, (whole or found).score, (whole or found).score_kind)
                results.append(self._export_one(index, files, region, found, staged, polygons, predictor, clock, tick))
            if polygons is not None:
                with clock('polygons'):
                    polygons.close()
        return results

    def close(self) -> None:
        """Closes the scene."""
        self._reader.close()

    def _export_one(
        self,
        index: int,
        files: BlockFolder,
        region: CoarseMap | None,
        found: Finding,
        staged: StagedFiles,
        polygons: PolygonFile | None,
        predictor: WindowPredictor,
        clock: StageClock,
        tick: Callable[[float], object],
    ) -> SceneResult:
        reader, outputs, question = self._reader, self.job.outputs, self.questions[index]
        limit = self._options.min_score
        rejected = limit is not None and found.score is not None and found.score < limit
        mask = outputs.masks[index] if outputs.masks else None
        probability = outputs.probabilities[index] if outputs.probabilities else None
        tags = {'expression': question.expression, **predictor_tags(predictor)}
        export = SceneExport(
            reader, files.log_odds(index), region, question.expression, tags, staged, mask, probability, polygons, clock
        )
        export.run(rejected, lambda share: tick((index + share) / len(self.questions)))
        notes = list(reader.notes)
        if self._options.nodata_named() and not reader.nodata_found:
            notes.append(f'nodata {self._options.nodata} was named, and no pixel of {reader.path} has that value')
        if rejected:
            notes.append(f'the score {found.score:.3f} is below {limit:g}: the mask is empty')
        return SceneResult(
            scene=reader.path,
            expression=question.expression,
            scope=self._scopes[index],
            mask=mask,
            probability=probability,
            polygons=outputs.polygons,
            shape=reader.shape,
            grid_shape=reader.grid_shape,
            window=self._grid.size,
            windows_run=found.windows,
            windows_skipped=len(self._grid.places()) - found.windows,
            foreground_pixels=export.foreground_pixels,
            valid_pixels=export.valid_pixels,
            objects=export.objects,
            score=found.score,
            score_kind=found.score_kind or score_kind(predictor),
            rejected=rejected,
            seconds={},
            notes=tuple(notes),
        )

    def _files(self, folder: Path) -> BlockFolder:
        return BlockFolder(folder, self.blocks, len(self.questions))

    def _whole(
        self, index: int, files: BlockFolder, predictor: WindowPredictor, clock: StageClock
    ) -> tuple[CoarseMap, Finding] | tuple[None, None]:
        """What the whole scene says to a question: asked once, by whoever comes first."""
        question = self.questions[index]
        if not question.whole:
            return None, None
        if (known := files.whole(index)) is None:
            with clock('whole scene'):
                log_odds = predict_checked(
                    predictor, [self._reader.read_whole(self._options.window)], question.expression
                )
                (score,) = window_scores(predictor, log_odds)
            files.keep_whole(index, log_odds[0], Finding(0, score, score_kind(predictor)))
            known = files.whole(index)
        return known

    def _meets(self, region: CoarseMap, place: tuple[int, int]) -> bool:
        return region.touches(*self._grid.start(place), self._grid.size, self._reader.grid_shape)


def _finding(blend: Blend, predictor: WindowPredictor) -> Finding:
    score = max((one for one in blend.scores if one is not None), default=None)
    return Finding(len(blend.scores), score, score_kind(predictor) if blend.scores else None)


def _facts(reader: SceneReader) -> dict:
    """What tells the scene from another that took its name."""
    known = [os.stat(file) for file in reader.files if os.path.isfile(file)]
    return {
        'name': os.path.abspath(reader.path) if os.path.exists(reader.path) else reader.path,
        'shape': reader.shape,
        'bytes': sum(one.st_size for one in known),
        'modified': max((one.st_mtime_ns for one in known), default=None),
    }


def _plan_windows(reader: SceneReader, window: int, overlap: float, padded: bool) -> WindowGrid:
    sides = (window, window)
    if not padded and max(reader.grid_shape) <= window:
        sides = reader.grid_shape
    return WindowGrid(*(tile_axis(n, side, overlap) for n, side in zip(reader.grid_shape, sides, strict=True)))
